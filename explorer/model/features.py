"""Frozen vision features on disk: computed once per image and base, shared by every epoch and every run.

One half-precision file an image, named by the image's content, in a folder named by the vision tower's
fingerprint. A checksum over tower, image and numbers ends each file, so that features of another model or image
are never taken for this one's and a damaged file is made anew.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from explorer import files
from explorer.data.images import open_image
from explorer.model.captioner import Captioner


class FeatureStore:
    def __init__(self, cache: Path, captioner: Captioner):
        self.captioner = captioner
        self.folder = cache / "features" / captioner.vision_fingerprint()
        self.mended: set[str] = set()  # images whose kept features were damaged and have been made anew

    def path(self, image_id: str) -> Path:
        return self.folder / f"{image_id}.npy"

    def missing(self, examples: Sequence[dict]) -> list[dict]:
        return [example for example in examples if not self.path(example["image_id"]).exists()]

    def has(self, image_id: str) -> bool:
        """Whether undamaged features are kept, so that the picture itself is not needed."""
        return self._kept(image_id) is not None

    def fill(self, examples: Sequence[dict], batch_size: int = 16) -> Iterator[tuple[int, int]]:
        """Encode the examples that have no features yet; yields (done, total) after each batch."""
        missing = self.missing(examples)
        for start in range(0, len(missing), batch_size):
            self._encode(missing[start : start + batch_size])
            yield min(start + batch_size, len(missing)), len(missing)

    def get(self, examples: Sequence[dict]) -> torch.Tensor:
        """Features [n, patches, width] float32 on the captioner's device; encodes what is missing or damaged."""
        rows = [self._read(example) for example in examples]
        return torch.from_numpy(np.stack(rows)).float().to(self.captioner.device)

    def _read(self, example: dict) -> np.ndarray:
        row = self._kept(example["image_id"])
        if row is not None:
            return row
        damaged = self.path(example["image_id"]).exists()
        made = self._encode([example])[0]
        self.mended |= {example["image_id"]} if damaged else set()
        return made

    def _kept(self, image_id: str) -> np.ndarray | None:
        """The kept features; None when there are none, or when the file is not as it was written."""
        try:
            data = self.path(image_id).read_bytes()
        except OSError:
            return None
        body, check = data[:-4], data[-4:]
        return np.load(io.BytesIO(body), allow_pickle=False) if check == self._checksum(image_id, body) else None

    def _checksum(self, image_id: str, body: bytes) -> bytes:
        return zlib.crc32(body, zlib.crc32(f"{self.folder.name}/{image_id}".encode())).to_bytes(4, "big")

    def _encode(self, examples: Sequence[dict]) -> list[np.ndarray]:
        pictures = [open_image(Path(example["path"])) for example in examples]
        rows = list(self.captioner.encode(pictures).half().cpu().numpy())  # loses nothing: see captioner.as_kept
        for example, row in zip(examples, rows, strict=True):
            buffer = io.BytesIO()
            np.save(buffer, row)
            body = buffer.getvalue()
            files.write_bytes(self.path(example["image_id"]), body + self._checksum(example["image_id"], body))
        return rows
