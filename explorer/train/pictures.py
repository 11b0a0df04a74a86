"""Pixels of examples for training: decoded once, augmented without making a caption untrue."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageEnhance

from explorer.data.images import open_image
from explorer.model.captioner import Captioner

ROOM = 512 * 1024**2
"""Bytes of decoded pictures kept in memory; beyond that they are decoded again each time."""

Draw = Callable[[dict], torch.Generator]
"""The generator an example's view is drawn with."""

SIDED = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class Pictures:
    def __init__(self, captioner: Captioner, augment: bool):
        self.captioner, self.augment = captioner, augment
        self.kept: dict[str, Image.Image] = {}
        self.bytes = 0

    def picture(self, example: dict) -> Image.Image:
        """The RGB picture, shrunk to twice the side the model sees."""
        found = self.kept.get(example["image_id"])
        if found is None:
            found = open_image(Path(example["path"]))
            side = 2 * self.side()
            if max(found.size) > side:
                found.thumbnail((side, side), Image.Resampling.BICUBIC)
            if self.bytes < ROOM:
                self.kept[example["image_id"]] = found
                self.bytes += found.width * found.height * 3
        return found

    def side(self) -> int:
        size = self.captioner.processor.size
        return max(size[key] for key in ("height", "width", "shortest_edge", "longest_edge") if size.get(key))

    def pixels(self, examples: Sequence[dict], draw: Draw | None = None) -> torch.Tensor:
        """Float [n, 3, h, w]. With ``draw`` and augmentation on, each picture is a fresh view of itself, whoever else is in the batch."""
        views = []
        for example in examples:
            if draw is None or not self.augment:
                # Looking plainly must give what anybody gets who opens the file: no shrinking first.
                views.append(open_image(Path(example["path"])) if draw is None else self.picture(example))
            else:
                views.append(view(self.picture(example), example["references"], draw(example)))
        return self.captioner.pixels(views)


def view(picture: Image.Image, references: Sequence[str], draw: torch.Generator) -> Image.Image:
    """A crop of at least 80 % of the area, other light, and a mirror where no reference says left or right."""
    chance = torch.rand(6, generator=draw).tolist()
    share = (0.8 + 0.2 * chance[0]) ** 0.5
    width, height = picture.size
    w, h = width * share, height * share
    left, top = (width - w) * chance[1], (height - h) * chance[2]
    picture = picture.crop((round(left), round(top), round(left + w), round(top + h)))
    if chance[3] < 0.5 and not any(SIDED.search(text) for text in references):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = ImageEnhance.Brightness(picture).enhance(0.85 + 0.3 * chance[4])
    return ImageEnhance.Contrast(picture).enhance(0.85 + 0.3 * chance[5])
