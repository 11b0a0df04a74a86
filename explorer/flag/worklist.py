"""Worklist: the captions of a run that are still to be judged, the likeliest mistakes first.

A hint, not a verdict: `triage` (signals that need no reference), plus what references and flags say. A caption is raised
when it says a word that flags elsewhere take back, is far from its references, or an earlier epoch was nearer to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from explorer.compare import columns, review, triage
from explorer.flag.flags import Choice, FlagStore, flag_id
from explorer.flag.mistakes import Confusion, confusions, content
from explorer.model.captions import Caption
from explorer.scoring import metrics
from explorer.scoring.wording import plain
from explorer.train.run import Run
from explorer.workspace import Workspace

IMAGES = ("validation", "training", "all")
UNSURE = 0.3
MARGIN = 0.1


@dataclass(frozen=True)
class Item:
    """One caption to judge. ``why``: what made it rank here, in words."""

    flag_id: str
    run: str
    checkpoint: str
    image: dict
    caption: Caption
    why: tuple[str, ...]
    score: float


@dataclass(frozen=True)
class Queue:
    """The captions not judged yet, worst first, how many are judged, and the images that have no caption yet."""

    items: tuple[Item, ...]
    judged: int
    missing: tuple[dict, ...]

    @property
    def total(self) -> int:
        return self.judged + len(self.items)


def examples(run: Run, images: str) -> list[dict]:
    """A run's images with absolute paths. ``images``: one of IMAGES."""
    split = {"validation": "validation", "training": "train"}.get(images)
    return [{**row, "path": str(run.folder / row["path"])} for row in run.examples(split)]


def queue(workspace: Workspace, store: FlagStore, run: Run, epoch: int, images: str = "validation") -> Queue:
    """What is left to judge of a run's captions at an epoch (0: the base)."""
    known = _looked_at(workspace, run, epoch, images, _stamp(workspace, run, epoch))
    done, patterns = store.judged(), _patterns(store, run, store.version())
    items = [_raised(item, patterns) for item in known.items if item.flag_id not in done]
    items.sort(key=lambda item: -item.score)
    return Queue(tuple(items), len(known.items) - len(items), known.missing)


def fill(shelf: columns.Shelf, run: Run, epoch: int, images: Sequence[dict]) -> Iterator[tuple[int, int]]:
    """Caption images of a run at an epoch that have no caption yet; yields (done, total), and keeps each as it comes."""
    yield from columns.fill(shelf, [(run, epoch)], run.config.decoding, images)


def _stamp(workspace: Workspace, run: Run, epoch: int) -> tuple[int, ...]:
    """What changes when captions of the run are made."""
    how = run.config.decoding
    paths = [p for e in _epochs(run, epoch) for p in (run.caption_file(e, how), columns.cache_file(workspace, run, e, how))]
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def _epochs(run: Run, last: int) -> list[int]:
    return [epoch for epoch in (0, *(checkpoint.epoch for checkpoint in run.checkpoints())) if epoch <= last]


@lru_cache(maxsize=8)
def _looked_at(workspace: Workspace, run: Run, epoch: int, images: str, stamp: tuple[int, ...]) -> Queue:
    """All captions with what can be said of them without flags; kept, since every key asks for it again."""
    rows = examples(run, images)
    said = {e: columns.known(workspace, run, e, run.config.decoding) for e in _epochs(run, epoch)}
    now = said.get(epoch, {})
    common = metrics.common([caption.text for caption in now.values()])
    doubts = _doubts(workspace, run, rows, said, epoch)
    checkpoint = f"epoch-{epoch}" if epoch else "base"
    items = []
    for row in rows:
        if (caption := now.get(row["image_id"])) is not None:
            earlier = [said[e][row["image_id"]].text for e in said if e != epoch and row["image_id"] in said[e]]
            why, weight = judge(row, caption, earlier, common)
            identity = flag_id(run.name, checkpoint, row["image_id"], caption.text)
            items.append(Item(identity, run.name, checkpoint, row, caption, why, weight + doubts[row["image_id"]]))
    return Queue(tuple(items), 0, tuple(row for row in rows if row["image_id"] not in now))


@lru_cache(maxsize=8)
def _patterns(store: FlagStore, run: Run, version: int) -> list[Confusion]:
    """The words that flags of this run took back, those of dismissed flags apart."""
    flags = [flag for flag in store.find(Choice(run=run.name), limit=2000, newest_first=True) if flag.status != "dismissed"]
    return [found for found in confusions(flags) if found.wrong]


def _doubts(workspace: Workspace, run: Run, rows: list[dict], said: dict[int, dict[str, Caption]], epoch: int) -> dict[str, float]:
    """`triage.doubts` by image id, 0 to 1, of the images that have a caption at ``epoch``."""
    rows = [row for row in rows if row["image_id"] in said.get(epoch, {})]
    captions = [[said[e].get(row["image_id"]) for row in rows] for e in sorted(said)]
    looked = review.looked(workspace, run, rows, captions[-1]) if rows else {}
    found = triage.doubts(triage.signals(captions, looked)) if rows else []
    return dict(zip((row["image_id"] for row in rows), map(float, found), strict=True))


def judge(row: dict, caption: Caption, earlier: list[str], common: set[str]) -> tuple[tuple[str, ...], float]:
    """(why a caption deserves a look, in words; how much its references raise it above what triage says)."""
    references = row["references"]
    near = metrics.goodness(caption.text, references) if references else 1.0
    nearest = max((metrics.goodness(text, references) for text in earlier), default=0.0) if references else 0.0
    found = (
        (near < metrics.RIGHT, 1.0 - near, "far from its references"),
        (nearest > near + MARGIN, 0.4, "an earlier epoch was nearer"),
        (min(caption.probabilities, default=1.0) < UNSURE, 0.0, "a word was a guess"),
        (metrics.repeats_words(caption.text), 0.3, "a word comes twice"),
        (metrics.is_unfinished(caption.text, caption.finished), 0.3, "stops in the middle"),
        (bool(caption.text) and plain(caption.text) in common, 0.3, "said of many images"),
    )
    told = [(weight, why) for true, weight, why in found if true]
    return tuple(why for _, why in told), sum(weight for weight, _ in told) + 0.5 * (1.0 - near)


def _raised(item: Item, patterns: list[Confusion]) -> Item:
    """``item`` higher up when it says a word that flags of other images took back."""
    found = _pattern(item.caption.text, item.image["references"], patterns) if patterns else None
    return replace(item, why=(found[1], *item.why), score=item.score + found[0]) if found else item


def _pattern(text: str, references: list[str], patterns: Sequence[Confusion]) -> tuple[float, str] | None:
    """A word in ``text`` that flags of other images took back."""
    words = _stems(text)
    for pattern in patterns:
        if metrics.stem(pattern.wrong) in words and not (pattern.right and metrics.stem(pattern.right) in words):
            instead = f" for {pattern.right}" if pattern.right else ""
            # References that say it too may be right, or the very ones that taught the mistake: worth a look, later.
            doubted = not any(metrics.stem(pattern.wrong) in _stems(reference) for reference in references)
            return (1.0 if doubted else 0.35), f"says {pattern.wrong}, flagged{instead} in {pattern.images} images"
    return None


@lru_cache(maxsize=50_000)
def _stems(text: str) -> frozenset[str]:
    return frozenset(metrics.stem(word) for word in content(text))


def best_caption(workspace: Workspace, run: Run, image: str, references: list[str] | tuple[str, ...], said: str) -> str:
    """The caption of another epoch of ``run`` that is nearest to the image's references, when nearer than ``said``; else ""."""
    if not references:
        return ""
    epochs = (0, *(checkpoint.epoch for checkpoint in run.checkpoints()))
    found = (columns.known(workspace, run, epoch, run.config.decoding).get(image) for epoch in epochs)
    texts = [caption.text for caption in found if caption and caption.text != said]
    best = max(texts, key=lambda text: metrics.goodness(text, references), default="")
    return best if metrics.goodness(best, references) > metrics.goodness(said, references) else ""
