"""What the embedded base is trained on: photos, and drawings of an endless world, made by other processes than the one that trains."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from explorer.errors import UserError

PHOTO_SIDE = 160
"""Pixels a side photos are kept at."""
REFERENCES = 5
"""Captions of a drawn scene."""


def plain(caption: str) -> str:
    """Lower case, single spaces, no full stop: the way the base writes."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z0-9',\- ]", " ", caption.lower())).strip(" ,-'")


def read_photos(folders: list[Path], side: int = PHOTO_SIDE) -> tuple[torch.Tensor, list[list[str]]]:
    """Pictures [n, side, side, 3] uint8 and their captions, of image folders with references."""
    from explorer.data.dataset import read
    from explorer.data.images import open_image

    examples = [example for folder in folders for example in read(folder).captioned]
    if not examples:
        raise UserError(f"No captioned photos in {', '.join(map(str, folders))}: name a folder with metadata.jsonl.")
    pictures = np.zeros((len(examples), side, side, 3), np.uint8)
    for row, example in enumerate(examples):
        pictures[row] = np.asarray(open_image(example.path).resize((side, side), Image.Resampling.BICUBIC))
    return torch.from_numpy(pictures), [[plain(text) for text in example.references] for example in examples]


class Drawings(IterableDataset):
    """Endless batches (pixels uint8 [count, side, side, 3], captions); the same for the same seed and first step."""

    def __init__(self, count: int, side: int, seed: int, first_step: int):
        self.count, self.side, self.seed, self.first_step = count, side, seed, first_step

    def __iter__(self) -> Iterator:
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        step = self.first_step + (worker.id if worker else 0)
        while True:
            yield self.step(step)
            step += worker.num_workers if worker else 1

    def step(self, step: int) -> tuple[torch.Tensor, list[list[str]]]:
        from explorer.scenes import scene

        rng = random.Random(f"{self.seed}/{step}")
        drawn = [scene(rng.randrange(10**12), "others", self.side) for _ in range(self.count)]
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture, _ in drawn]))
        return pixels, [[plain(text) for text in truth.references] for _, truth in drawn]


def drawn(drawings: Drawings) -> Iterator:
    """The drawings, made by other processes than the one that trains: all cores but one, and one at least."""
    workers = max(1, (os.cpu_count() or 2) - 1)
    return iter(DataLoader(drawings, batch_size=None, num_workers=workers, prefetch_factor=6))
