"""Captions of any checkpoint of any run over any image: read where they are kept, generated where they are not.

Models stay loaded between calls: one base with the adapters of its runs. The columns of one base are captioned together:
each image is looked at once, and all its captions are decoded in one batch. What needs a model is wrapped by `machine.gpu`:
on ZeroGPU each batch is a call of its own, in a process that has the GPU and a shelf of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import files, lazy, machine
from explorer.data.images import open_image
from explorer.model import captions as kept
from explorer.model.captions import Caption, Decoding
from explorer.train.methods import freezes_vision
from explorer.train.run import Run
from explorer.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from explorer.model.captioner import Captioner
    from explorer.model.features import FeatureStore

Column = tuple[Run, int]
"""A run and its epoch; 0 is the base."""

BRIEFLY = 30
"""Seconds of a lent GPU for a batch of captions or a picture's heat maps, loading the model included."""
TOGETHER = 64
"""Captions decoded in one batch: enough that reading the weights for each word is shared, few enough to see them come."""


class Shelf:
    """The models in memory, the least recently used put away when there are more than ``room``."""

    def __init__(self, workspace: Workspace, room: int = 2):
        self.workspace, self.room = workspace, room
        self.models: OrderedDict[tuple[str, int], Captioner] = OrderedDict()
        self.stores: dict[tuple[str, int], FeatureStore] = {}
        self.lock = threading.RLock()  # a captioner is switched between adapters: one caller at a time

    def __reduce__(self):
        """Models do not travel: sent to another process, a shelf is that process's own over the same workspace."""
        return shelf_of_this_process, (self.workspace, self.room)

    def place(self, run: Run, epoch: int) -> tuple[tuple[str, int], Path | None]:
        """(what names the model that answers for a column, its adapter)."""
        if epoch and not (checkpoint := run.checkpoint(epoch)).adapter:
            # A deleted run's name may come back: weights made at another time are another model.
            return (str(checkpoint.folder), (checkpoint.folder / "checkpoint.json").stat().st_mtime_ns), None
        base = run.base(self.workspace)
        link = Path(base) / "1" / "checkpoint.json"  # a run that began from a checkpoint: its name may come back, too
        return (base, link.stat().st_mtime_ns if link.exists() else 0), checkpoint.folder if epoch else None

    def captioner(self, run: Run, epoch: int) -> Captioner:
        """The captioner of ``run`` at ``epoch`` (0: the base), loaded when it is not. Hold ``lock`` while using it."""
        key, adapter = self.place(run, epoch)
        return self._model(key).use(adapter)

    def seen(self, run: Run, example: dict) -> torch.Tensor:
        """What the base of ``run`` sees of an example (image_id, path) [1, patches, width]: kept features where there are any.

        Raises ImageError. Hold ``lock``.
        """
        captioner, store = self.captioner(run, 0), self._store(self.place(run, 0)[0])
        return store.get([example]) if store.has(example["image_id"]) else captioner.encode([open_image(Path(example["path"]))])

    def groups(self, columns: Sequence[Column]) -> list[list[Column]]:
        """The columns by the model that answers for them, in the order given."""
        found: dict[tuple[str, int], list[Column]] = {}
        for column in columns:
            found.setdefault(self.place(*column)[0], []).append(column)
        return list(found.values())

    @machine.gpu(BRIEFLY)
    def captions(self, group: Sequence[Column], examples: Sequence[dict], decoding: Decoding) -> list[list[Caption]]:
        """What the columns of one model say of the examples (image_id, path), a list a column."""
        return self._answers(group, decoding, lambda captioner, plain: self._looked_up(group, plain, examples, captioner))

    @machine.gpu(BRIEFLY)
    def captions_of_picture(self, group: Sequence[Column], picture, decoding: Decoding) -> list[Caption]:
        """What the columns of one model say of an RGB picture."""
        return [row[0] for row in self._answers(group, decoding, lambda captioner, plain: captioner.encode([picture]))]

    def _answers(self, group: Sequence[Column], decoding: Decoding, look) -> list[list[Caption]]:
        with self.lock:
            key, _ = self.place(*group[0])
            captioner = self._model(key)
            adapters = [self.place(*column)[1] for column in group]
            towers = [None if captioner.sees_as_base(adapter) else adapter for adapter in adapters]
            seen = {tower: look(captioner.use(tower), tower is None) for tower in dict.fromkeys(towers)}
            return captioner.caption_each([seen[tower] for tower in towers], adapters, decoding)

    def _looked_up(self, group: Sequence[Column], plain: bool, examples: Sequence[dict], captioner: Captioner) -> torch.Tensor:
        """Features of examples: kept ones where the tower is one that is used again."""
        run, epoch = group[0]
        key, adapter = self.place(run, epoch)
        whole = epoch and adapter is None
        if plain and (not whole or freezes_vision(run.config.method)):
            return self._store(key).get(examples)
        return captioner.encode([open_image(Path(example["path"])) for example in examples])

    def _store(self, key: tuple[str, int]) -> FeatureStore:
        from explorer.model.features import FeatureStore

        if key not in self.stores:
            self.stores[key] = FeatureStore(self.workspace.cache, self.models[key])
        return self.stores[key]

    def _model(self, key: tuple[str, int]) -> Captioner:
        if key not in self.models:
            lazy.transformers()
            from explorer.model.captioner import load  # torch and transformers take seconds: only when first needed

            self.models[key] = load(key[0])
        self.models.move_to_end(key)
        while len(self.models) > self.room:
            old, _ = self.models.popitem(last=False)
            self.stores.pop(old, None)
        return self.models[key]


@lru_cache(maxsize=4)
def shelf_of_this_process(workspace: Workspace, room: int) -> Shelf:
    return Shelf(workspace, room)


def cache_file(workspace: Workspace, run: Run, epoch: int, decoding: Decoding) -> Path:
    """Where captions beyond the run's own are kept: apart for a later run of the same name."""
    created = (files.read_json(run.folder / "run.json") or {}).get("created", 0)
    return workspace.cache / "captions" / f"{run.name}@{int(created * 1000)}" / decoding.key / f"epoch-{epoch}.jsonl"


def known(workspace: Workspace, run: Run, epoch: int, decoding: Decoding) -> dict[str, Caption]:
    """Captions by image id that need no model."""
    own = kept.read(run.caption_file(epoch, decoding))
    return own | kept.read(cache_file(workspace, run, epoch, decoding))


def fill(shelf: Shelf, columns: Sequence[Column], decoding: Decoding, examples: Sequence[dict]) -> Iterator[tuple[int, int]]:
    """Caption the examples (image_id, path) in every column that has no caption of them yet; all are kept as they come.

    Yields (done, total) captions after each batch. Columns of one base are captioned together.
    """
    have = {column: set(known(shelf.workspace, *column, decoding)) for column in columns}
    total = sum(example["image_id"] not in have[column] for column in have for example in examples)
    done = 0
    for group in shelf.groups(list(have)):
        wanted = [example for example in examples if any(example["image_id"] not in have[column] for column in group)]
        size = max(1, TOGETHER // len(group))
        for start in range(0, len(wanted), size):
            part = wanted[start : start + size]
            for column, found in zip(group, shelf.captions(group, part, decoding), strict=True):
                new = [(e["image_id"], caption) for e, caption in zip(part, found, strict=True) if e["image_id"] not in have[column]]
                for image_id, caption in new:
                    kept.append(cache_file(shelf.workspace, *column, decoding), image_id, caption)
                done += len(new)
            yield done, total


def caption_picture(shelf: Shelf, columns: Sequence[Column], picture, decoding: Decoding) -> Iterator[tuple[Column, Caption]]:
    """One RGB picture, captioned by every column, kept nowhere; the columns of one model come together."""
    for group in shelf.groups(columns):
        yield from zip(group, shelf.captions_of_picture(group, picture, decoding), strict=True)
