"""Captions of any checkpoint of any run over any image: read where they are kept, generated where they are not.

Models stay loaded between calls: one base with the adapters of its runs, so that switching epochs is instant.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import captions as kept
from explorer import files, lazy
from explorer.captions import Caption, Decoding
from explorer.images import open_image
from explorer.run import Run
from explorer.workspace import Workspace

if TYPE_CHECKING:
    from explorer.captioner import Captioner


class Shelf:
    """The models in memory, the least recently used put away when there are more than ``room``."""

    def __init__(self, workspace: Workspace, room: int = 2):
        self.workspace, self.room = workspace, room
        self.models: OrderedDict[tuple[str, int], Captioner] = OrderedDict()
        self.lock = threading.RLock()  # a captioner is switched between adapters: one caller at a time

    def captioner(self, run: Run, epoch: int) -> Captioner:
        """The captioner of ``run`` at ``epoch`` (0: the base), loaded when it is not. Hold ``lock`` while using it."""
        if epoch == 0:
            return self._base(run).use(None)
        checkpoint = run.checkpoint(epoch)
        if checkpoint.adapter:
            return self._base(run).use(checkpoint.folder)
        # A deleted run's name may come back: weights made at another time are another model.
        return self._model(str(checkpoint.folder), (checkpoint.folder / "checkpoint.json").stat().st_mtime_ns).use(None)

    def _base(self, run: Run) -> Captioner:
        base = run.base(self.workspace)
        link = Path(base) / "1" / "checkpoint.json"  # a run that began from a checkpoint: its name may come back, too
        return self._model(base, link.stat().st_mtime_ns if link.exists() else 0)

    def _model(self, name: str, made: int = 0) -> Captioner:
        key = (name, made)
        if key not in self.models:
            lazy.transformers()
            from explorer.captioner import load  # torch and transformers take seconds: only when first needed

            self.models[key] = load(name)
        self.models.move_to_end(key)
        while len(self.models) > self.room:
            self.models.popitem(last=False)
        return self.models[key]


def cache_file(workspace: Workspace, run: Run, epoch: int, decoding: Decoding) -> Path:
    """Where captions beyond the run's own are kept: apart for a later run of the same name."""
    created = (files.read_json(run.folder / "run.json") or {}).get("created", 0)
    return workspace.cache / "captions" / f"{run.name}@{int(created * 1000)}" / decoding.key / f"epoch-{epoch}.jsonl"


def known(workspace: Workspace, run: Run, epoch: int, decoding: Decoding) -> dict[str, Caption]:
    """Captions by image id that need no model."""
    own = kept.read(run.caption_file(epoch, decoding))
    return own | kept.read(cache_file(workspace, run, epoch, decoding))


def fill(
    shelf: Shelf, run: Run, epoch: int, decoding: Decoding, examples: Sequence[dict], batch_size: int = 8
) -> Iterator[tuple[int, int]]:
    """Caption the examples (image_id, path) that have none yet; yields (done, total) after each batch, keeps them all."""
    have = known(shelf.workspace, run, epoch, decoding)
    missing = [example for example in examples if example["image_id"] not in have]
    for start in range(0, len(missing), batch_size):
        part = missing[start : start + batch_size]
        with shelf.lock:
            captioner = shelf.captioner(run, epoch)
            found = captioner.caption(captioner.encode([open_image(Path(e["path"])) for e in part]), decoding)
        for example, caption in zip(part, found, strict=True):
            kept.append(cache_file(shelf.workspace, run, epoch, decoding), example["image_id"], caption)
        yield min(start + batch_size, len(missing)), len(missing)


def caption_picture(shelf: Shelf, run: Run, epoch: int, picture, decoding: Decoding) -> Caption:
    """One RGB picture, captioned by one column, kept nowhere."""
    with shelf.lock:
        captioner = shelf.captioner(run, epoch)
        return captioner.caption(captioner.encode([picture]), decoding)[0]
