"""Mixture: several LoRA adapters of one model answer side by side, each its own rows of one batch.

With k adapters and n images, rows come adapter by adapter: row a * n + i is adapter a on image i. Each layer's
base product is made once for all rows, and the low-rank parts follow as one batched product (as in S-LoRA, Sheng et al., 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType

import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class LowRank:
    """One layer's matrices under each adapter: down [adapters, rank, in], up [adapters, out, rank], scaled; zeros where it has none."""

    down: torch.Tensor
    up: torch.Tensor


@contextmanager
def mixture(peft: nn.Module, adapters: Sequence[str | None]) -> Iterator[None]:
    """Inside, a batch's rows are answered by ``adapters`` in equal parts, in order; None is the bare base."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in peft.modules() if isinstance(module, LoraLayer)]
    try:
        for layer in layers:
            layer.mixture = _stacked(layer, adapters)
            layer.forward = MethodType(_answer, layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("mixture", None)
            layer.__dict__.pop("forward", None)


def mixture_of(layer: nn.Module) -> LowRank | None:
    """What adapters add to ``layer``; None outside a mixture, and where no adapter touches it."""
    return getattr(layer, "mixture", None)


def _stacked(layer: nn.Module, adapters: Sequence[str | None]) -> LowRank | None:
    held = [name for name in adapters if name in layer.lora_A]
    if not held:
        return None
    first = layer.lora_A[held[0]].weight
    rank = max(layer.lora_A[name].weight.shape[0] for name in held)
    down = first.new_zeros(len(adapters), rank, first.shape[1])
    up = first.new_zeros(len(adapters), layer.lora_B[held[0]].weight.shape[0], rank)
    for place, name in enumerate(adapters):
        if name in held:
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            down[place, : len(a)] = a.detach()
            up[place, :, : len(a)] = b.detach() * layer.scaling[name]
    return LowRank(down, up)


def _answer(self, x: torch.Tensor, *rest, **kwargs) -> torch.Tensor:
    found = self.base_layer(x)
    if self.mixture is None:
        return found
    parts = x.reshape(len(self.mixture.down), -1, x.shape[-1])
    added = (parts @ self.mixture.down.transpose(1, 2)) @ self.mixture.up.transpose(1, 2)
    return found + added.view(found.shape)
