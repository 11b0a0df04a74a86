"""What the embedded base is trained on: photos and an endless drawn world, in augmented views.

Drawing is done by another process than the one that trains.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from explorer.errors import UserError


def plain(caption: str) -> str:
    """Lower case, single spaces, no full stop: the way the base writes."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z0-9',\- ]", " ", caption.lower())).strip(" ,-'")


def read_photos(folders: list[Path], side: int = 160) -> tuple[np.ndarray, list[list[str]]]:
    """Pictures [n, side, side, 3] uint8 and their captions, of image folders with references."""
    from explorer.data.dataset import read
    from explorer.data.images import open_image

    examples = [example for folder in folders for example in read(folder).captioned]
    if not examples:
        raise UserError(f"No captioned photos in {', '.join(map(str, folders))}: name a folder with metadata.jsonl.")
    pictures = np.zeros((len(examples), side, side, 3), np.uint8)
    for row, example in enumerate(examples):
        pictures[row] = np.asarray(open_image(example.path).resize((side, side), Image.Resampling.BICUBIC))
    return pictures, [[plain(text) for text in example.references] for example in examples]


def augment(picture: Image.Image, captions: list[str], size: int, rng: random.Random, crop: float) -> np.ndarray:
    """One view of ``picture``: a random crop, a mirror where no caption says left or right, other light."""
    width, height = picture.size
    area = rng.uniform(crop, 1.0)
    ratio = rng.uniform(0.85, 1.18)
    w, h = (min(width, width * (area * ratio) ** 0.5), min(height, height * (area / ratio) ** 0.5))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    view = picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    pixels = np.asarray(view, np.float32)
    if rng.random() < 0.5 and not any(re.search(r"\b(left|right)\b", text) for text in captions):
        pixels = pixels[:, ::-1]
    contrast, light = rng.uniform(0.75, 1.25), rng.uniform(-20, 20)
    tint = np.array([rng.uniform(-8, 8) for _ in range(3)], np.float32)
    return np.clip((pixels - 118) * contrast + 118 + light + tint, 0, 255).astype(np.uint8)


class Views(IterableDataset):
    """Endless batches (pixels uint8 [n, size, size, 3], captions), photos before drawings; the same for the same seed and first step.

    ``batch`` pictures of which ``drawn`` are drawings.
    """

    def __init__(self, photos: np.ndarray, captions: list[list[str]], size: int, batch: int, drawn: int, seed: int, first_step: int):
        self.photos, self.captions = photos, captions
        self.size, self.drawn, self.photographed = size, drawn, batch - drawn
        self.seed, self.first_step = seed, first_step

    def __iter__(self) -> Iterator:
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.first_step + offset
        while True:
            yield self.step(step)
            step += stride

    def photo_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.photos))

    def step(self, step: int) -> tuple[torch.Tensor, list[list[str]]]:
        """Photos are walked through in a fresh order each pass; drawings are new every time."""
        from explorer.scenes import scene

        rng = random.Random(f"{self.seed}/{step}")
        pixels, texts = [], []
        for place in range(step * self.photographed, (step + 1) * self.photographed):
            row = self.photo_order(place // len(self.photos))[place % len(self.photos)]
            pixels.append(augment(Image.fromarray(self.photos[row]), self.captions[row], self.size, rng, crop=0.55))
            texts.append(self.captions[row])
        for _ in range(self.drawn):
            picture, truth = scene(rng.randrange(10**12), "others", self.size + 8)
            pixels.append(augment(picture, [], self.size, rng, crop=0.85))
            texts.append([plain(text) for text in truth.references])
        return torch.from_numpy(np.stack(pixels)), texts


def batches(views: Views) -> Iterator:
    """The views, made by another process than the one that trains."""
    return iter(DataLoader(views, batch_size=None, num_workers=1, prefetch_factor=6))
