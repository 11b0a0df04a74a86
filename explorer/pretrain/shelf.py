"""Pictures and their captions where the training reads them, and the augmented views it takes of them.

Everything lies on the device that trains, since a GPU would wait for pictures that are cropped one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F


class Shelf:
    """Up to ``room`` pictures; what is put on a full shelf takes the place of the oldest.

    pixels [room, side, side, 3] uint8; ids [room, captions, length] token ids; counts [room] captions of each; words
    [room, words] targets of the words head; mirrored [room], whether a mirror keeps the captions true.
    """

    def __init__(self, room: int, captions: int, device: torch.device):
        self.room, self.captions, self.device = room, captions, device
        self.filled = self.next = 0

    def put(self, pixels: torch.Tensor, texts: list[list[str]], encode: Callable, words: Callable) -> None:
        """``encode(texts)`` gives token ids [n, longest] of a list of captions, ``words(groups)`` targets [n, words]."""
        groups = [group[: self.captions] for group in texts]
        flat = [text for group in groups for text in group + [""] * (self.captions - len(group))]
        rows = (torch.arange(len(groups)) + self.next) % self.room
        self._keep(
            rows.to(self.device),
            pixels=pixels,
            ids=encode(flat).view(len(groups), self.captions, -1),
            counts=torch.tensor([len(group) for group in groups]),
            words=words(groups),
            mirrored=torch.tensor([not re.search(r"\b(left|right)\b", " ".join(group)) for group in groups]),
        )
        self.next = (self.next + len(groups)) % self.room
        self.filled = min(self.room, self.filled + len(groups))

    def _keep(self, rows: torch.Tensor, **values: torch.Tensor) -> None:
        for name, value in values.items():
            if not hasattr(self, name):
                setattr(self, name, torch.zeros((self.room, *value.shape[1:]), dtype=value.dtype, device=self.device))
            if name == "ids":
                value = self._as_long(value)
            getattr(self, name)[rows] = value.to(self.device, non_blocking=True)

    def _as_long(self, ids: torch.Tensor) -> torch.Tensor:
        """Captions and shelf padded to the same length: pads are 0."""
        longer = ids.shape[-1] - self.ids.shape[-1]
        if longer > 0:
            self.ids = F.pad(self.ids, (0, longer))
        return F.pad(ids, (0, max(0, -longer)))


@dataclass
class Batch:
    """Views of the pictures in ``rows`` [n] of a shelf: a random crop each, mirrored where that is true, in other light.

    ``crop``: the least share of the picture's area that a view shows.
    """

    shelf: Shelf
    rows: torch.Tensor
    crop: float

    def __post_init__(self):
        n, device = len(self.rows), self.rows.device

        def between(low: float, high: float, *shape: int) -> torch.Tensor:
            return low + (high - low) * torch.rand(n, *shape, device=device)

        area, ratio = between(self.crop, 1), between(0.85, 1.18)
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        # In grid_sample's coordinates the picture reaches from -1 to 1.
        x, y = between(-1, 1) * (1 - width), between(-1, 1) * (1 - height)
        width = torch.where((between(0, 1) < 0.5) & self.shelf.mirrored[self.rows], -width, width)
        none = torch.zeros_like(x)
        self.place = torch.stack([torch.stack([width, none, x], -1), torch.stack([none, height, y], -1)], 1)
        self.contrast = between(0.75, 1.25)[:, None, None, None]
        self.light = (between(-20, 20)[:, None] + between(-8, 8, 3))[:, :, None, None]

    @cached_property
    def source(self) -> torch.Tensor:
        return self.shelf.pixels[self.rows].permute(0, 3, 1, 2).float()

    def seen(self, side: int) -> torch.Tensor:
        """The views at ``side`` pixels: float [n, 3, side, side], 0 to 255."""
        grid = F.affine_grid(self.place, [len(self.rows), 3, side, side], align_corners=False)
        view = F.grid_sample(self.source, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return ((view - 118) * self.contrast + 118 + self.light).clamp(0, 255)

    @property
    def words(self) -> torch.Tensor:
        return self.shelf.words[self.rows]

    def some_ids(self, count: int) -> torch.Tensor:
        """Token ids [n * count, longest] of ``count`` captions of each picture, none twice while there are enough."""
        counts = self.shelf.counts[self.rows]
        order = torch.rand(len(self.rows), self.shelf.captions, device=self.rows.device)
        order = order.masked_fill(torch.arange(self.shelf.captions, device=order.device) >= counts[:, None], 2).argsort(-1)
        chosen = order.gather(1, torch.arange(count, device=order.device) % counts[:, None])
        ids = self.shelf.ids[self.rows[:, None], chosen].flatten(0, 1)
        return ids[:, : int((ids != 0).sum(-1).max())]
