"""The architectures: where each keeps its vision tower, how text is fed to it, how it generates.

BLIP, GIT and encoder-decoder models (ViT-GPT2) differ in just this; everything else is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType, SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Family:
    """How one architecture is used.

    encode(model, pixels [n, 3, h, w]) -> features [n, patches, width]
    logits(model, features, ids [n, length], mask [n, length]) -> [n, length, vocabulary]
    generate(model, features, ids, mask, **options) -> token ids, the prompt included
    vision(model) -> the module frozen by the methods that keep features
    ends(model, tokenizer) -> (start token id, end token id)
    """

    name: str
    encode: Callable
    logits: Callable
    generate: Callable
    vision: Callable
    ends: Callable


def _ones(features: torch.Tensor) -> torch.Tensor:
    return torch.ones(features.shape[:2], dtype=torch.long, device=features.device)


def _blip_generate(model, features, ids, mask, **options):
    return model.text_decoder.generate(
        input_ids=ids, attention_mask=mask, encoder_hidden_states=features, encoder_attention_mask=_ones(features), **options
    )


BLIP = Family(
    name="blip",
    encode=lambda model, pixels: model.vision_model(pixels)[0],
    logits=lambda model, features, ids, mask: model.text_decoder(ids, attention_mask=mask, encoder_hidden_states=features).logits,
    generate=_blip_generate,
    vision=lambda model: model.vision_model,
    ends=lambda model, tokenizer: (model.config.text_config.bos_token_id, model.config.text_config.sep_token_id),
)


def _git_tower(model) -> nn.Module:
    """GIT's vision tower, made to pass features [n, 1, patches, width] through untouched.

    The model has no argument for features; pictures have three channels, so one channel means features.
    """
    tower = model.git.image_encoder
    if "forward" not in tower.__dict__:
        see = tower.forward

        def forward(self, pixel_values, **kwargs):
            if pixel_values.shape[1] == 1:
                return SimpleNamespace(last_hidden_state=pixel_values[:, 0])
            return see(pixel_values, **kwargs)

        tower.forward = MethodType(forward, tower)
    return tower


def _git_logits(model, features, ids, mask):
    _git_tower(model)
    return model(ids, attention_mask=mask, pixel_values=features[:, None]).logits[:, features.shape[1] :]


def _git_generate(model, features, ids, mask, **options):
    _git_tower(model)
    return model.generate(input_ids=ids, attention_mask=mask, pixel_values=features[:, None], **options)


GIT = Family(
    name="git",
    encode=lambda model, pixels: _git_tower(model)(pixels).last_hidden_state,
    logits=_git_logits,
    generate=_git_generate,
    vision=_git_tower,
    ends=lambda model, tokenizer: (tokenizer.cls_token_id, tokenizer.sep_token_id),
)


def _pair_outputs(features):
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=features)


def _pair_ends(model, tokenizer) -> tuple[int, int]:
    settings = (model.generation_config, model.config, model.config.decoder)

    def first(*names):
        return next((v for s in settings for n in names if (v := getattr(s, n, None)) is not None), None)

    end = first("eos_token_id")
    end = end[0] if isinstance(end, list) else end
    return first("decoder_start_token_id", "bos_token_id"), tokenizer.eos_token_id if end is None else end


PAIR = Family(
    name="vision-encoder-decoder",
    encode=lambda model, pixels: model.encoder(pixels)[0],
    logits=lambda model, features, ids, mask: (
        model(encoder_outputs=_pair_outputs(features), decoder_input_ids=ids, decoder_attention_mask=mask).logits
    ),
    generate=lambda model, features, ids, mask, **options: model.generate(
        encoder_outputs=_pair_outputs(features),
        attention_mask=_ones(features),
        decoder_input_ids=ids,
        decoder_attention_mask=mask,
        **options,
    ),
    vision=lambda model: model.encoder,
    ends=_pair_ends,
)

FAMILIES = {family.name: family for family in (BLIP, GIT, PAIR)}


def text_limit(config) -> int:
    """The most tokens a caption may have by a model's config, start and end included."""
    for part in (getattr(config, "text_config", None), getattr(config, "decoder", None), config):
        for name in ("max_position_embeddings", "n_positions"):
            if getattr(part, name, None):
                return getattr(part, name)
    return 64


def use_fast_attention(model):
    """BLIP's vision attention by `scaled_dot_product_attention`; transformers has only the slow one for it."""
    from transformers.models.blip.modeling_blip import BlipAttention

    def attend(self, hidden_states, **kwargs):
        n, length, width = hidden_states.shape
        qkv = self.qkv(hidden_states).reshape(n, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.projection(mixed.transpose(1, 2).reshape(n, length, width)), None

    for module in model.modules():
        if isinstance(module, BlipAttention):
            module.forward = MethodType(attend, module)
    return model
