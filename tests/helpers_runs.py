"""Runs on disk without training: the files a fine-tune leaves behind, written by the explorer's own writers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from explorer import files
from explorer.data.images import image_id
from explorer.model import captions
from explorer.model.captions import Caption, Decoding
from explorer.train import run as runs
from explorer.train.run import Run, RunConfig

COLORS = ("red", "green", "blue", "orange", "purple", "brown", "black", "white")


def make_images(folder: Path, count: int) -> list[Path]:
    """Small pictures, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"photo-{number:03}.png"
        Image.new("RGB", (24 + number % 7, 18 + number // 7), COLORS[number % len(COLORS)]).save(path)
        paths.append(path)
    return paths


def example(path: Path, references: Sequence[str], split: str = "validation") -> dict:
    return {"image_id": image_id(path), "file": path.name, "path": str(path), "references": list(references), "split": split}


def make_run(
    home: Path,
    examples: list[dict],
    columns: Sequence[Sequence[str | Caption | None]],
    name: str = "pets",
    log: Sequence[dict] = (),
    decoding: Decoding | None = None,
    base: str = "blip-mini",
) -> Run:
    """A run whose base and epochs say ``columns`` of the validation examples, in order; None: nothing said."""
    config = RunConfig(name, base, "drawn", epochs=max(1, len(columns) - 1), decoding=decoding or Decoding())
    run = runs.create(home / name, config, examples)
    shown = run.examples("validation")
    for epoch, said in enumerate(columns):
        if epoch:
            folder = run.folder / f"epoch-{epoch}"
            folder.mkdir()
            files.write_json(folder / "checkpoint.json", {"epoch": epoch, "step": 4 * epoch, "adapter": True, "bytes": 1})
        found = {e["image_id"]: as_caption(text) for e, text in zip(shown, said, strict=True) if text is not None}
        captions.write(run.caption_file(epoch), found)
    files.write_jsonl(run.folder / "log.jsonl", log)
    return run


def as_caption(text: str | Caption) -> Caption:
    if isinstance(text, Caption):
        return text
    words = tuple(text.split())
    return Caption(text, words, (0.9,) * len(words))


def step(number: int, loss: float, epoch: int = 1) -> dict:
    return {"kind": "step", "epoch": epoch, "step": number, "loss": loss, "rate": 5e-5, "seconds": number, "images": 8}


def epoch(number: int, validation_loss: float, loss: float | None = None, images: int = 20, distinct: int = 20) -> dict:
    scores = {"CIDEr": 0.5, "BLEU-4": 0.1, "ROUGE-L": 0.4, "references": 5.0, "images": images, "distinct": distinct}
    row = {"kind": "epoch", "epoch": number, "step": 4 * number, "validation_loss": validation_loss, "scores": scores, "seconds": 1.0}
    return row if loss is None else {**row, "loss": loss}
