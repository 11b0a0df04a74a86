"""Pictures for the tests of the data, drawn by seed: no two look alike to a hash, and none comes from a camera."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """An RGB picture of soft blots."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def photos(folder: Path, count: int, first: int = 0) -> list[Path]:
    """``count`` pictures as photo-0.png, photo-1.png ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{number}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        picture(number).save(path)
    return paths


def rows(count: int, first: int = 0) -> list[dict]:
    return [{"file_name": f"photo-{n}.png", "text": f"a blot number {n}"} for n in range(first, first + count)]


def table(folder: Path, lines: Iterable[dict]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def captioned(folder: Path, count: int = 3) -> Path:
    """An image folder with nothing wrong."""
    photos(folder, count)
    table(folder, rows(count))
    return folder
