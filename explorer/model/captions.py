"""Captions of a checkpoint over images, generated once and kept with the way they were decoded."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from explorer import files


@dataclass(frozen=True)
class Decoding:
    """How captions are generated; chosen once for all columns and kept with them.

    ``max_tokens`` counts generated tokens, the prompt left out.
    """

    beams: int = 1
    max_tokens: int = 30
    prompt: str = ""

    @property
    def key(self) -> str:
        """A folder name: the same for the same decoding."""
        prompt = f"-p{hashlib.sha256(self.prompt.encode()).hexdigest()[:8]}" if self.prompt else ""
        return f"beams{self.beams}-tokens{self.max_tokens}{prompt}"


@dataclass(frozen=True)
class Caption:
    """What a model said of an image. ``words`` and ``probabilities`` run in step; a word's probability is the
    product of its tokens' probabilities. ``finished`` is False when the length ran out before the end token."""

    text: str
    words: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    finished: bool = True


def read(path: Path) -> dict[str, Caption]:
    """Captions by image id; {} when there is no such file."""
    return {row["image_id"]: _caption(row) for row in files.read_jsonl(path)}


def write(path: Path, captions: dict[str, Caption]) -> None:
    files.write_jsonl(path, [_row(image_id, caption) for image_id, caption in captions.items()])


def append(path: Path, image_id: str, caption: Caption) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.append_jsonl(path, _row(image_id, caption))


def _row(image_id: str, caption: Caption) -> dict:
    values = asdict(caption)
    return {"image_id": image_id, **values, "probabilities": [round(p, 4) for p in caption.probabilities]}


def _caption(row: dict) -> Caption:
    return Caption(row["text"], tuple(row.get("words", ())), tuple(row.get("probabilities", ())), row.get("finished", True))
