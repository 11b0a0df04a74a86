"""What training sees of its examples: kept features or fresh pixels. A picture that cannot be opened is left out.

A file can vanish or be damaged long after it was checked; that must cost the run one image, not its life.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from explorer.captioner import Captioner, as_kept
from explorer.features import FeatureStore
from explorer.images import ImageError, open_image
from explorer.pictures import Pictures


class Eyes:
    """``features`` is None when the vision tower learns, and then pixels are looked at anew each time."""

    def __init__(self, captioner: Captioner, features: FeatureStore | None, augment: bool):
        self.captioner, self.features = captioner, features
        self.pictures = Pictures(captioner, augment=augment and features is None)
        self.left_out: dict[str, str] = {}

    def usable(self, examples: Sequence[dict]) -> list[dict]:
        return [example for example in examples if example["image_id"] not in self.left_out]

    def input(self, examples: Sequence[dict], draw: torch.Generator | None = None) -> tuple[list[dict], torch.Tensor | None]:
        """(the examples that can be seen, their pixels or kept features); (…, None) when none can.

        ``draw`` augments pixels and ends in the same state however often a bad picture made it start again.
        """
        state = draw.get_state() if draw is not None else None
        while kept := self.usable(examples):
            try:
                return kept, self.features.get(kept) if self.features is not None else self.pictures.pixels(kept, draw)
            except ImageError as error:
                self._leave_out_bad(kept, error)
                if draw is not None:
                    draw.set_state(state)
        return [], None

    def encoded(self, examples: Sequence[dict]) -> tuple[list[dict], torch.Tensor | None]:
        """(the examples that can be seen, their features [n, patches, width]), looked at plainly."""
        kept, seen = self.input(examples)
        if seen is None or self.features is not None:
            return kept, seen
        return kept, as_kept(self.captioner.encode_pixels(seen))

    def fill(self, examples: Sequence[dict]) -> Iterator[tuple[int, int]]:
        """Encode what has no kept features yet; yields (done, total)."""
        while self.features is not None:
            kept = self.usable(examples)
            try:
                yield from self.features.fill(kept)
                return
            except ImageError as error:
                self._leave_out_bad(kept, error)

    def _leave_out_bad(self, examples: Sequence[dict], error: ImageError) -> None:
        """Note every example whose picture cannot be opened. Raises ``error`` when all of them can."""
        bad = {}
        for example in examples:
            try:
                open_image(Path(example["path"]))
            except ImageError as reason:
                bad[example["image_id"]] = f"{example['file']} was left out: {reason}"
        if not bad:
            raise error
        self.left_out |= bad
