"""Pictures and folders drawn for the tests of the data modules."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Coloured blocks that look like no other seed's."""
    draw_from = random.Random(seed)
    image = Image.new("RGB", size, tuple(draw_from.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = draw_from.randrange(size[0]), draw_from.randrange(size[1])
        pen.rectangle((x, y, x + size[0] // 4, y + size[1] // 4), fill=tuple(draw_from.randrange(256) for _ in range(3)))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folder_of(root: Path, count: int = 6, first: int = 0) -> Path:
    """An image folder with metadata.jsonl: good00.png, good01.png ... with two references each."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(first, first + count):
        picture(number).save(root / f"good{number:02d}.png")
        rows.append({"file_name": f"good{number:02d}.png", "captions": [f"picture number {number}", f"blocks of kind {number}"]})
    write_table(root, rows)
    return root


def write_table(root: Path, rows: list[dict]) -> None:
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def add_row(root: Path, line: str | dict) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    with open(root / "metadata.jsonl", "a", encoding="utf-8") as file:
        file.write(text + "\n")
