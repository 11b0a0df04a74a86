"""Frozen vision features on disk: computed once per image and base, shared by every epoch and every run.

One half-precision file an image, named by the image's content, in a folder named by the vision tower's
fingerprint: features of another model can never be taken for this one's, and a damaged file is made anew.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from explorer import files
from explorer.captioner import Captioner
from explorer.images import open_image


class FeatureStore:
    def __init__(self, cache: Path, captioner: Captioner):
        self.captioner = captioner
        self.folder = cache / "features" / captioner.vision_fingerprint()
        self.shape: tuple[int, int] | None = None

    def path(self, image_id: str) -> Path:
        return self.folder / f"{image_id}.npy"

    def fill(self, examples: Sequence[dict], batch_size: int = 16) -> Iterator[tuple[int, int]]:
        """Encode the examples that have no features yet; yields (done, total) after each batch."""
        missing = [example for example in examples if not self.path(example["image_id"]).exists()]
        for start in range(0, len(missing), batch_size):
            self._encode(missing[start : start + batch_size])
            yield min(start + batch_size, len(missing)), len(missing)

    def get(self, examples: Sequence[dict]) -> torch.Tensor:
        """Features [n, patches, width] float32 on the captioner's device; encodes what is missing or damaged."""
        rows = [self._read(example) for example in examples]
        return torch.from_numpy(np.stack(rows)).float().to(self.captioner.device)

    def _read(self, example: dict) -> np.ndarray:
        try:
            row = np.load(self.path(example["image_id"]), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            row = None
        if row is None or row.dtype != np.float16 or row.ndim != 2 or (self.shape and row.shape != self.shape):
            row = self._encode([example])[0]
        self.shape = self.shape or row.shape
        return row

    def _encode(self, examples: Sequence[dict]) -> list[np.ndarray]:
        pictures = [open_image(Path(example["path"])) for example in examples]
        # Features the half format cannot hold would come back as infinities: cut them at its ends.
        rows = list(self.captioner.encode(pictures).clamp(-65504, 65504).half().cpu().numpy())
        for example, row in zip(examples, rows, strict=True):
            buffer = io.BytesIO()
            np.save(buffer, row)
            files.write_bytes(self.path(example["image_id"]), buffer.getvalue())
        return rows
