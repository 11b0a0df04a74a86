"""A run over few and over many images: seconds an image and memory must stay flat, since features stream from disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from explorer.bench import Row, at_most
from explorer.bench.setting import Setting

SIDE = 96
PLACES = ("grass", "sand", "street", "floor", "snow")


def blots(folder: Path, count: int) -> Path:
    """An image folder of soft blots, quicker to draw than scenes and no two alike; a part is kept for validation."""
    for split, first, last in (("train", 0, count), ("validation", count, count + 8)):
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(first, last):
            coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / split / f"{number}.png")
            rows.append({"file_name": f"{number}.png", "text": f"a blot of color on the {PLACES[number % len(PLACES)]}"})
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def rows(setting: Setting) -> Iterator[Row]:
    base, first = setting.base or "blip-mini", None
    for count in setting.counts:
        data = blots(setting.home / f"blots-{count}", count)
        found = setting.run("finetune", home=str(setting.home), base=base, data=str(data), epochs=1, name=f"growth-{count}", method="lora")
        first = first or found
        measured = (
            f"{1000 * found['features']:.1f} ms an image once, {1000 * found['step']:.1f} ms a sample, peak {found['peak'] / 1e9:.2f} GB"
        )
        if found is first:
            yield Row("growth", f"{count} images, lora", measured)
            continue
        yield at_most("growth", f"{count} images, lora: time", measured, found["seconds"] / first["seconds"], 1.15, "of the first row's")
        yield at_most("growth", f"{count} images, lora: memory", measured, found["peak"] / first["peak"], 1.15, "of the first row's")
