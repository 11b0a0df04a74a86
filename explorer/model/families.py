"""The architectures: where each keeps its vision tower, how text is fed to it, how it generates.

BLIP, GIT and encoder-decoder models (ViT-GPT2) differ in just this; everything else is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType, SimpleNamespace

import torch
from torch import nn

from explorer.model.fast_attention import looking_at


@dataclass(frozen=True)
class Family:
    """How one architecture is used.

    encode(model, pixels [n, 3, h, w]) -> features [n, patches, width]
    logits(model, features, owner, ids [rows, length], mask [rows, length], kept) -> [places, vocabulary]
    generate(model, features, owner, ids, mask, **options) -> what transformers' generate gives
    vision(model) -> the module frozen by the methods that keep features
    ends(model, tokenizer) -> (start token id, end token id)

    owner [rows] names the image of each row of text; kept [rows, length] says at which places scores are wanted.
    """

    name: str
    encode: Callable
    logits: Callable
    generate: Callable
    vision: Callable
    ends: Callable


def _ones(features: torch.Tensor) -> torch.Tensor:
    return torch.ones(features.shape[:2], dtype=torch.long, device=features.device)


def _blip_logits(model, features, owner, ids, mask, kept):
    """The head, a fifth of the decoder's work, is spared where no score is wanted."""
    text = model.text_decoder
    with looking_at(text, features, owner, mask):
        hidden = text.bert(ids, attention_mask=mask, encoder_hidden_states=features, is_decoder=True, use_cache=False).last_hidden_state
    return text.cls(hidden[kept])


def _blip_generate(model, features, owner, ids, mask, **options):
    stand_in = features[owner, :1]  # transformers repeats it for each beam; what is seen comes from `looking_at`
    with looking_at(model.text_decoder, features, owner):
        return model.text_decoder.generate(input_ids=ids, attention_mask=mask, encoder_hidden_states=stand_in, **options)


BLIP = Family(
    name="blip",
    encode=lambda model, pixels: model.vision_model(pixels)[0],
    logits=_blip_logits,
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


def _git_logits(model, features, owner, ids, mask, kept):
    _git_tower(model)
    return model(ids, attention_mask=mask, pixel_values=features[owner, None]).logits[:, features.shape[1] :][kept]


def _git_generate(model, features, owner, ids, mask, **options):
    _git_tower(model)
    return model.generate(input_ids=ids, attention_mask=mask, pixel_values=features[owner, None], **options)


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


def _pair_logits(model, features, owner, ids, mask, kept):
    return model(encoder_outputs=_pair_outputs(features[owner]), decoder_input_ids=ids, decoder_attention_mask=mask).logits[kept]


def _pair_generate(model, features, owner, ids, mask, **options):
    seen = features[owner]
    return model.generate(
        encoder_outputs=_pair_outputs(seen), attention_mask=_ones(seen), decoder_input_ids=ids, decoder_attention_mask=mask, **options
    )


PAIR = Family(
    name="vision-encoder-decoder",
    encode=lambda model, pixels: model.encoder(pixels)[0],
    logits=_pair_logits,
    generate=_pair_generate,
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
