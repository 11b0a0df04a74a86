"""Learning from scores: the last stage of the embedded base's training.

The base says several captions of each photo, drawn from its own probabilities; those that CIDEr-D scores above the
image's others become likelier, the rest less likely. Self-critical sequence training (Rennie et al., 2017) with the
mean of an image's other captions as the baseline (Luo, "A Better Variant of Self-Critical Sequence Training", 2020).
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

LONGEST = 24
"""Tokens a drawn caption may have."""


def advantages(scores: torch.Tensor, count: int) -> torch.Tensor:
    """How far each of an image's ``count`` captions is above the mean of the others; scores [n * count]."""
    groups = scores.view(-1, count)
    others = (groups.sum(1, keepdim=True) - groups) / (count - 1)
    return (groups - others).flatten()


@torch.no_grad()
def draw_captions(model, features: torch.Tensor, count: int, start: int, end: int, pad: int) -> torch.Tensor:
    """``count`` captions of each image drawn from the model: ids [n * count, length], start token first.

    features [n, patches, width].
    """
    features = features.repeat_interleave(count, 0)
    ids = torch.full((len(features), 1), start, device=features.device)
    return model.text_decoder.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        encoder_hidden_states=features,
        encoder_attention_mask=torch.ones(features.shape[:2], dtype=torch.long, device=features.device),
        max_new_tokens=LONGEST,
        do_sample=True,
        top_k=0,
        eos_token_id=end,
        pad_token_id=pad,
    )


def score_loss(model, features: torch.Tensor, ids: torch.Tensor, gain: torch.Tensor, pad: int) -> torch.Tensor:
    """The policy gradient: minus each caption's log-probability times its ``gain`` [n * count], a mean over tokens."""
    features = features.repeat_interleave(len(ids) // len(features), 0)
    scores = model.text_decoder(ids[:, :-1], encoder_hidden_states=features).logits
    targets = ids[:, 1:]
    losses = F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten(), ignore_index=pad, reduction="none")
    return (losses.view_as(targets) * gain[:, None]).sum() / (targets != pad).sum()
