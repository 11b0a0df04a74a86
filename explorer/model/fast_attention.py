"""BLIP's attention made fast: fused in the vision tower, and an image's keys and values shared by all that is said of it.

transformers computes the cross-attention's keys and values anew for every row of text. They are most of a short
caption's work (577 patches against a dozen words), and they depend on the image alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import MethodType

import torch
from torch import nn
from torch.nn import functional as F

from explorer.model.mixture import LowRank, mixture_of


def make_fast(model: nn.Module, half: torch.dtype | None = None) -> nn.Module:
    """Fused attention in the vision tower, and cross-attention that can share images; of other models nothing changes.

    ``half``: the precision to compute an image's keys and values in, whatever the words about it are computed in.
    """
    from transformers.models.blip.modeling_blip import BlipAttention

    for module in model.modules():
        if isinstance(module, BlipAttention):
            module.forward = MethodType(_see, module)
    for layer in _layers(model):
        module = layer.crossattention.self
        module.shared, module.apart, module.image_type = None, module.forward, half
        module.forward = partial(_cross, module)
        layer.fed_whole, layer.feed_forward_chunk = layer.feed_forward_chunk, MethodType(_feed, layer)
    return model


def _see(self, hidden_states, **kwargs):
    n, length, width = hidden_states.shape
    qkv = self.qkv(hidden_states).reshape(n, length, 3, self.num_heads, width // self.num_heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
    return self.projection(mixed.transpose(1, 2).reshape(n, length, width)), None


def _layers(model: nn.Module) -> list[nn.Module]:
    from transformers.models.blip.modeling_blip_text import BlipTextLayer

    return [module for module in model.modules() if isinstance(module, BlipTextLayer)]


def _cross(self, hidden_states, *rest, **kwargs):
    if self.shared is None:
        return self.apart(hidden_states, *rest, **kwargs)
    query = self.query(hidden_states).unflatten(-1, (self.num_attention_heads, self.attention_head_size))
    return self.shared.attend(self, query), None


def _feed(self, hidden):
    """The feed-forward part, more than half of a layer's work, for words alone: what becomes of pads is never read."""
    shared = self.crossattention.self.shared
    # A mixture counts on rows in equal parts, one an adapter: without the pads they would be of other lengths.
    if shared is None or shared.words is None or any(mixture_of(part) is not None for part in self.modules()):
        return self.fed_whole(hidden)
    fed = self.fed_whole(hidden[shared.words])
    return fed.new_zeros(hidden.shape).masked_scatter(shared.words[..., None], fed)


@contextmanager
def looking_at(model: nn.Module, features: torch.Tensor, owner: torch.Tensor, mask: torch.Tensor | None = None) -> Iterator[None]:
    """Inside, row r of text sees ``features[owner[r]]``, whatever encoder states it is given.

    features [images, patches, width]; owner [rows]. Rows repeated in place, as beams are, see what their first one saw.
    ``mask`` [rows, length], given for a single pass over whole rows: where it is 0 stand pads.
    """
    shared, crossings = Shared(features, owner, mask), [layer.crossattention.self for layer in _layers(model)]
    try:
        for module in crossings:
            module.shared = shared
        yield
    finally:
        for module in crossings:
            module.shared = None


class Shared:
    """Images that rows of text share: keys and values are computed once a layer and kept for every later token."""

    def __init__(self, features: torch.Tensor, owner: torch.Tensor, mask: torch.Tensor | None = None):
        self.features, self.owner = features, owner
        self.words = mask == 1 if mask is not None and not bool(mask.all()) else None
        self.seen: dict[nn.Module, tuple] = {}
        self.projected: dict[LowRank, torch.Tensor] = {}
        self.placed: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def attend(self, layer: nn.Module, query: torch.Tensor) -> torch.Tensor:
        """query [rows, length, heads, size] -> what each row's places gather from its image [rows, length, width]."""
        rows, length, heads, size = query.shape
        slots, back = self.places(rows)
        images, most = slots.shape
        if images * most > rows:  # a row of zeros fills the places of images with fewer captions
            query = torch.cat([query, query.new_zeros(1, length, heads, size)])
        packed = query[slots.flatten()].view(images, most * length, heads, size).transpose(1, 2)
        key, value = self.keys_and_values(layer, query.dtype)
        if self.divided(layer.key) is None and self.divided(layer.value) is None:
            chance = layer.dropout.p if layer.training else 0.0
            found = F.scaled_dot_product_attention(packed, key, value, dropout_p=chance)
        else:
            found = self.attend_mixed(layer, packed, key, value)
        return found.transpose(1, 2).reshape(images * most, length, heads * size)[back]

    def places(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(slots [images, most]: the rows of each image, ``rows`` where there is none; back [rows]: each row's slot)."""
        if rows not in self.placed:
            owner = self.owner.repeat_interleave(rows // len(self.owner))
            order = torch.argsort(owner, stable=True)
            counts = torch.bincount(owner, minlength=len(self.features))
            rank = torch.arange(rows, device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
            most = int(counts.max())
            slots = torch.full((len(counts), most), rows, device=owner.device)
            slots[owner[order], rank] = order
            back = torch.empty_like(order)
            back[order] = owner[order] * most + rank
            self.placed[rows] = slots, back
        return self.placed[rows]

    def keys_and_values(self, layer: nn.Module, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Each [images, heads, patches, size]; where adapters share the images, the base's part alone."""
        if layer not in self.seen:
            plain = [part if self.divided(part) is None else part.base_layer for part in (layer.key, layer.value)]
            shape = (layer.num_attention_heads, layer.attention_head_size)
            with torch.autocast(self.features.device.type, layer.image_type) if layer.image_type else nullcontext():
                found = [part(self.features).to(kind) for part in plain]
            self.seen[layer] = tuple(part.unflatten(-1, shape).transpose(1, 2).contiguous() for part in found)
        return self.seen[layer]

    def divided(self, part: nn.Module) -> LowRank | None:
        """What the adapters of a mixture add to ``part`` when they all look at the same images; None when each has its own."""
        low = mixture_of(part)
        if low is None or len(low.down) == 1:
            return None
        return low if self.owner[len(self.owner) // len(low.down)] == self.owner[0] else None

    def attend_mixed(self, layer: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention under the adapters of a mixture, whose rows come adapter by adapter within an image.

        An adapter adds x A'B' to a key or value x W'. Both products are linear in x, so the low-rank part is taken
        over rank-sized projections of the patches, and the large base part is shared by all adapters.
        """
        scores = query @ key.transpose(-1, -2)
        if (low := self.divided(layer.key)) is not None:
            scores = scores + self.low_rank(low, query, ("aihns,ahsr->aihnr", "aihnr,aipr->aihnp"))
        chances = (scores * layer.attention_head_size**-0.5).softmax(-1)
        found = chances @ value
        if (low := self.divided(layer.value)) is not None:
            found = found + self.low_rank(low, chances, ("aihnp,aipr->aihnr", "aihnr,ahsr->aihns"))
        return found

    def low_rank(self, low: LowRank, packed: torch.Tensor, products: tuple[str, str]) -> torch.Tensor:
        """Two ``products`` of packed [images, heads, adapters * n, any] with the adapters' matrices, adapter by adapter.

        In them a is adapters, i images, h heads, n rows, s a head's size, p patches, r the rank.
        """
        count, heads = len(low.down), packed.shape[1]
        found = packed.unflatten(2, (count, -1)).permute(2, 0, 1, 3, 4)
        if low not in self.projected:  # the same for every word
            self.projected[low] = self.features @ low.down[:, None].transpose(-1, -2)
        matrices = {"ahsr": low.up.unflatten(1, (heads, -1)), "aipr": self.projected[low]}
        for product in products:
            found = torch.einsum(product, found, matrices[product[6:10]])
        return found.permute(1, 2, 0, 3, 4).flatten(2, 3)
