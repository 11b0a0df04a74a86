"""What training sees of its examples: kept features or fresh pixels. A picture that cannot be opened is left out.

A file can vanish or be damaged long after it was checked; that must cost the run one image, not its life.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from explorer.data.images import ImageError, open_image
from explorer.model import memory
from explorer.model.captioner import Captioner, as_kept
from explorer.model.features import FeatureStore
from explorer.train.pictures import Draw, Pictures

TOGETHER = 16
"""Images encoded in one pass; also how many are looked through when one of them is bad."""


class Eyes:
    """``features`` is None when the vision tower learns, and then pixels are looked at anew each time."""

    def __init__(self, captioner: Captioner, features: FeatureStore | None, augment: bool):
        self.captioner, self.features = captioner, features
        self.pictures = Pictures(captioner, augment=augment and features is None)
        self.left_out: dict[str, str] = {}

    def usable(self, examples: Sequence[dict]) -> list[dict]:
        return [example for example in examples if example["image_id"] not in self.left_out]

    def input(self, examples: Sequence[dict], draw: Draw | None = None) -> tuple[list[dict], torch.Tensor | None]:
        """(the examples that can be seen, their pixels or kept features); (…, None) when none can. ``draw`` augments pixels."""
        while kept := self.usable(examples):
            try:
                return kept, self.features.get(kept) if self.features is not None else self.pictures.pixels(kept, draw)
            except ImageError:
                self._leave_out_bad(kept)
        return [], None

    def encoded(self, examples: Sequence[dict]) -> tuple[list[dict], torch.Tensor | None]:
        """(the examples that can be seen, their features [n, patches, width]), looked at plainly."""
        kept, seen = self.input(examples)
        if seen is None or self.features is not None:
            return kept, seen
        return kept, as_kept(self.captioner.encode_pixels(seen))

    def fill(self, examples: Sequence[dict]) -> Iterator[tuple[int, int]]:
        """Encode what has no kept features yet; yields (done, total)."""
        missing = self.features.missing(self.usable(examples)) if self.features is not None else []
        for start in range(0, len(missing), TOGETHER):
            part = missing[start : start + TOGETHER]
            while kept := self.usable(part):
                try:
                    memory.halving(kept, lambda some: list(self.features.fill(some, TOGETHER)))
                    break
                except ImageError:
                    self._leave_out_bad(kept)
            yield min(start + TOGETHER, len(missing)), len(missing)

    def _leave_out_bad(self, examples: Sequence[dict]) -> None:
        """Note every example whose picture is needed and cannot be opened; none, when the fault has passed by itself."""
        for example in examples:
            if self.features is not None and self.features.has(example["image_id"]):
                continue
            try:
                open_image(Path(example["path"]))
            except ImageError as reason:
                self.left_out[example["image_id"]] = f"{example['file']} was left out: {reason}"
