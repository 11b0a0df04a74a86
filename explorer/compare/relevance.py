"""Relevance: how much likelier a caption is for its own image than for others, by the base model.

For a caption c of image i and a sample of other images j: log p(c|i) - log mean_j p(c|j), in nats a token (a
pointwise mutual information, as image-caption retrieval by likelihood has it), and the rank of the own image
among them. A caption that fits any picture has a gain near nought however right it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import files, machine
from explorer.compare import columns
from explorer.data.images import ImageError
from explorer.train.run import Run
from explorer.workspace import Workspace

if TYPE_CHECKING:
    from explorer.model.captioner import Captioner

OTHERS = 24
"""Other images a caption is tried on."""
LENT = 100
"""Captions worked out with a GPU that is lent for a minute."""
SAMPLE = 200
"""Images whose captions are tried, at most: the same ones for every column."""


@dataclass(frozen=True)
class Relevance:
    """``gain``: nats a token; ``rank``: of the own image among ``among``, 1 the likeliest."""

    gain: float
    rank: int
    among: int


def sample(images: Sequence[dict], count: int) -> list[dict]:
    """``count`` of the images, the same ones whatever their order: drawn by their ids."""
    return sorted(images, key=lambda image: hashlib.sha256(image["image_id"].encode()).digest())[:count]


def cache_file(workspace: Workspace, run: Run, others: Sequence[dict]) -> Path:
    """Where what is known is kept: it depends on the base and on the images a caption was tried on."""
    ids = hashlib.sha256("".join(image["image_id"] for image in others).encode()).hexdigest()[:16]
    beside = columns.cache_file(workspace, run, 0, run.config.decoding)
    return workspace.cache / "relevance" / beside.parent.parent.name / f"{ids}.jsonl"


def known(workspace: Workspace, run: Run, images: Sequence[dict]) -> dict[tuple[str, str], Relevance]:
    """By (image id, caption), what needs no model."""
    rows = files.read_jsonl(cache_file(workspace, run, sample(images, OTHERS + 1)))
    return {(row["image_id"], row["text"]): Relevance(row["gain"], row["rank"], row["among"]) for row in rows}


def fill(shelf: columns.Shelf, run: Run, images: Sequence[dict], said: Sequence[tuple[dict, str]]) -> Iterator[tuple[int, int]]:
    """Work out the captions (image, text) not known yet under ``run``'s base; yields (done, total), keeps each.

    Images that cannot be opened any more are passed over.
    """
    have = known(shelf.workspace, run, images)
    missing = list({(image["image_id"], text): (image, text) for image, text in said if text and (image["image_id"], text) not in have}.values())
    size = max(1, len(missing)) if machine.here() != machine.ZEROGPU else LENT
    for start in range(0, len(missing), size):
        for done in _work_out(shelf, run, sample(images, OTHERS + 1), missing[start : start + size]):
            yield start + done, len(missing)


@machine.gpu(60)
def _work_out(shelf: columns.Shelf, run: Run, others: Sequence[dict], missing: Sequence[tuple[dict, str]]) -> Iterator[int]:
    """``missing``: (image, caption), each kept as it is known; yields how many are. What is seen of ``others`` serves them all."""
    path = cache_file(shelf.workspace, run, others)
    features: dict[str, object] = {}
    for done, (image, text) in enumerate(missing, 1):
        with shelf.lock:
            captioner = shelf.captioner(run, 0)
            for each in [image, *others]:
                if each["image_id"] not in features:
                    features[each["image_id"]] = _features(shelf, run, each)
            own = features[image["image_id"]]
            rest = [features[o["image_id"]] for o in others if o["image_id"] != image["image_id"] and features[o["image_id"]] is not None][:OTHERS]
            if own is not None and rest:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.append_jsonl(path, {"image_id": image["image_id"], "text": text, **vars(of(captioner, own, rest, text))})
        if image["image_id"] not in {o["image_id"] for o in others}:
            features.pop(image["image_id"])
        yield done


def _features(shelf: columns.Shelf, run: Run, image: dict):
    try:
        return shelf.seen(run, image)
    except ImageError:
        return None


def of(captioner: Captioner, own, others: Sequence, text: str) -> Relevance:
    """own and each of ``others``: features [1, patches, width]."""
    import torch

    with torch.inference_mode():
        features = torch.cat([own, *others])
        ids, mask = captioner.ids([text])
        chances = captioner.logits(features, ids.expand(len(features), -1), mask.expand(len(features), -1)).log_softmax(-1)
        said = chances[:, :-1].gather(-1, ids[:, 1:, None].expand(len(features), -1, -1))[..., 0].sum(-1)
    tokens = ids.shape[1] - 1
    gain = (said[0] - said[1:].logsumexp(0) + log(len(others))) / tokens
    return Relevance(round(float(gain), 5), 1 + int((said[1:] > said[0]).sum()), len(features))
