"""Neighbours: what people said of the pictures that look most alike to the base. A caption far from all of it is suspect.

An image's neighbours are the `NEAR` others of its run whose mean patch features are nearest, by the cosine of
standardised values. The caption is held against their references by CIDEr, as a consensus of neighbours chooses captions
(Devlin et al., "Exploring nearest neighbor approaches for image captioning", 2015). The image's own references are never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from explorer import files, machine
from explorer.compare import columns
from explorer.compare.relevance import sample
from explorer.data.images import ImageError
from explorer.model.captions import Caption
from explorer.scoring import metrics
from explorer.train.run import Run
from explorer.workspace import Workspace

NEAR = 5
LEARNED_FROM = 300
"""Training images looked at besides, at most: they take as long as validation images do."""
LENT = 200
"""Images looked at with a GPU that is lent for a minute."""


def pool(run: Run) -> list[dict]:
    """The images of a run that are looked at: those for validation, and a sample of those it learned from."""
    rows = [{**row, "path": str(run.folder / row["path"])} for row in run.examples()]
    learned = [row for row in rows if row["split"] == "train" and row["references"]]
    return [*(row for row in rows if row["split"] == "validation"), *sample(learned, LEARNED_FROM)]


def cache_file(workspace: Workspace, run: Run) -> Path:
    """Where what is known is kept: apart for a later run of the same name."""
    beside = columns.cache_file(workspace, run, 0, run.config.decoding)
    return workspace.cache / "neighbours" / f"{beside.parent.parent.name}.jsonl"


def known(workspace: Workspace, run: Run) -> dict[str, list[str]]:
    """By image id, the ids of its neighbours, the nearest first; {} before they were looked for."""
    return {row["image_id"]: row["near"] for row in files.read_jsonl(cache_file(workspace, run))}


def fill(shelf: columns.Shelf, run: Run) -> Iterator[tuple[int, int]]:
    """Look for the neighbours of the run's images where they are not known; yields (images looked at, all), keeps them at the end.

    Images that cannot be opened any more have no neighbours and are nobody's.
    """
    path = cache_file(shelf.workspace, run)
    if path.exists():
        return
    images, seen = pool(run), []
    size = 16 if machine.here() != machine.ZEROGPU else LENT
    for start in range(0, len(images), size):
        seen += looked_at(shelf, run, images[start : start + size])
        yield len(seen), len(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_jsonl(path, [{"image_id": key, "near": near} for key, near in nearest(images, seen).items()])


@machine.gpu(60)
def looked_at(shelf: columns.Shelf, run: Run, images: Sequence[dict]) -> list[np.ndarray | None]:
    """The mean patch features [width] of each image by the base; None where it cannot be opened."""
    with shelf.lock:
        return [_seen(shelf, run, image) for image in images]


def _seen(shelf: columns.Shelf, run: Run, image: dict) -> np.ndarray | None:
    try:
        return shelf.seen(run, image)[0].mean(0).float().cpu().numpy()
    except ImageError:
        return None


def nearest(images: Sequence[dict], seen: Sequence[np.ndarray | None]) -> dict[str, list[str]]:
    """By image id, the ids of the `NEAR` other images nearest to it among those that were seen and have references."""
    held = [(image, features) for image, features in zip(images, seen, strict=True) if features is not None]
    told = np.array([bool(image["references"]) for image, _ in held])
    if told.sum() <= NEAR:
        return {}
    values = np.stack([features for _, features in held])
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    ids, found = [image["image_id"] for image, _ in held], {}
    for place, row in enumerate(values):
        near = np.where(told, values @ row, -np.inf)
        near[place] = -np.inf
        found[ids[place]] = [ids[other] for other in np.argsort(-near, kind="stable")[:NEAR]]
    return found


def agreement(run: Run, near: dict[str, list[str]], images: Sequence[dict], captions: Sequence[Caption | None]) -> np.ndarray:
    """[images]: CIDEr of each caption against its neighbours' references; nan where there is no caption or no neighbour."""
    told = {row["image_id"]: row["references"] for row in run.examples()} if near else {}
    out = np.full(len(images), np.nan)
    places = [place for place, image in enumerate(images) if captions[place] and image["image_id"] in near]
    references = [[text for other in near[images[place]["image_id"]] for text in told[other]] for place in places]
    scores = metrics.per_image([captions[place].text for place in places], references)
    out[places] = [np.nan if row["CIDEr"] is None else row["CIDEr"] for row in scores]
    return out
