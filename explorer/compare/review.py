"""What a reviewer sees first, and the scores of a run, for the command line.

python -m explorer triage --run demo      # the queue, and how well it finds the worst captions
python -m explorer scores --run demo      # accuracy, relevance, coherence, hallucination
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from explorer import files
from explorer.compare import comparison as comparisons
from explorer.compare import neighbours, relevance, scorecard, triage
from explorer.compare.columns import Shelf
from explorer.compare.comparison import Comparison
from explorer.errors import UserError
from explorer.model.captions import Caption
from explorer.scoring import metrics
from explorer.train.run import Run
from explorer.workspace import Workspace

WORST = 0.2
"""The share of captions with the lowest CIDEr that counts as worst, and the share of the queue looked at."""


def wanted(comparison: Comparison) -> list[tuple[dict, str]]:
    """(image, caption) whose relevance a scorecard tells: every column's captions of a bounded sample of images."""
    images = relevance.sample(comparison.images, relevance.SAMPLE)
    places = [comparison.places[image["image_id"]] for image in images]
    columns = [comparison.captions[column.key] for column in comparison.columns]
    return [(comparison.images[place], column[place].text) for column in columns for place in places if column[place]]


def last_captions(comparison: Comparison) -> list[tuple[dict, str]]:
    last = comparison.captions[comparison.columns[-1].key]
    return [(image, caption.text) for image, caption in zip(comparison.images, last, strict=True) if caption]


def look(shelf: Shelf, run: Run, images: Sequence[dict], said: Sequence[tuple[dict, str]]) -> Iterator[tuple[str, int, int]]:
    """Work out what the scores and the queue need the base for; yields (what, done, total)."""
    yield from (("relevance", *step) for step in relevance.fill(shelf, run, images, said))
    yield from (("neighbours", *step) for step in neighbours.fill(shelf, run))


def looked(workspace: Workspace, run: Run, images: Sequence[dict], captions: Sequence[Caption | None]) -> dict[str, np.ndarray]:
    """The signals of triage that need the pictures, of one caption an image, as far as they are worked out."""
    known = relevance.known(workspace, run, images)
    keys = [(image["image_id"], caption.text if caption else "") for image, caption in zip(images, captions, strict=True)]
    found = {
        "irrelevant": -np.array([known[key].gain if key in known else np.nan for key in keys], float),
        "unlike neighbours": -neighbours.agreement(run, neighbours.known(workspace, run), images, captions),
    }
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def looked_of_last(workspace: Workspace, run: Run, comparison: Comparison) -> dict[str, np.ndarray]:
    return looked(workspace, run, comparison.images, comparison.captions[comparison.columns[-1].key])


def opened(workspace: Workspace, name: str) -> tuple[Run, Comparison]:
    run = Run(workspace.run_folder(name))
    found = comparisons.build([run], workspace)
    if not len(found) or not any(found.captions[found.columns[-1].key]):
        raise UserError(f"The run {name!r} has no captions of validation images yet: let it finish an epoch first.")
    return run, found


def describe_triage(workspace: Workspace, name: str) -> Iterator[str]:
    """Lines: how many times chance the queue finds the worst captions, signal by signal; then the first of the queue."""
    run, found = opened(workspace, name)
    for _ in look(Shelf(workspace), run, found.images, last_captions(found)):
        pass
    columns = [found.captions[column.key] for column in found.columns]
    signals = triage.signals(columns, looked_of_last(workspace, run, found))
    doubt = triage.doubts(signals)
    yield f"{run.name}, {found.label(found.columns[-1])}: {len(found)} validation images, {len(signals)} signals, none of which reads an image's own references"
    yield from _found_worst(found, signals, doubt)
    yield "first in the queue"
    for place in np.argsort(-doubt, kind="stable")[:10]:
        caption = columns[-1][place]
        yield f"  {doubt[place]:.2f}  {found.images[place]['file']}: {caption.text if caption else '-'}"


def _found_worst(found: Comparison, signals: dict[str, np.ndarray], doubt: np.ndarray) -> Iterator[str]:
    worst = worst_by_cider(found)
    if worst is None:
        yield f"how well it finds the worst cannot be said: CIDEr needs {metrics.FEW} images with references"
        return
    for label, values in (("queue", doubt), *((f"  {name} alone", triage.place_shares(values)) for name, values in signals.items())):
        times, hits, length = triage.gain_over_chance(np.argsort(-values, kind="stable"), worst)
        low, high = _interval(values, worst)
        yield (
            f"{label:<22} first {length} of {len(worst)} hold {hits:>3} of the {int(worst.sum())} worst by CIDEr: "
            f"{times:.2f} times chance (95 % {low:.2f} to {high:.2f})"
        )


def _interval(values: np.ndarray, worst: np.ndarray, count: int = 500) -> tuple[float, float]:
    """Of the times chance, over resampled images."""
    pick = np.random.default_rng(0).integers(0, len(worst), (count, len(worst)))
    drawn = [triage.gain_over_chance(np.argsort(-values[row], kind="stable"), worst[row])[0] for row in pick]
    return tuple(np.quantile(drawn, [0.025, 0.975]))


def worst_by_cider(found: Comparison) -> np.ndarray | None:
    """[images] the `WORST` share of the last column's captions by CIDEr; None when CIDEr says nothing of this set."""
    last = found.captions[found.columns[-1].key]
    texts = [caption.text if caption else "" for caption in last]
    if len(texts) < metrics.FEW or not all(image["references"] for image in found.images):
        return None
    ciders = np.array([row["CIDEr"] for row in metrics.per_image(texts, [image["references"] for image in found.images])])
    out = np.zeros(len(ciders), bool)
    out[np.argsort(ciders, kind="stable")[: round(WORST * len(ciders))]] = True
    return out


def describe_scores(workspace: Workspace, name: str, out: Path | None = None) -> Iterator[str]:
    """Lines: the scorecard with intervals, what each score means, what may be said of neighbours. ``out``: per image, as CSV."""
    run, found = opened(workspace, name)
    for _ in relevance.fill(Shelf(workspace), run, found.images, wanted(found)):
        pass
    known = relevance.known(workspace, run, found.images)
    card = scorecard.card(found, known)
    yield f"{run.name}: {card.images} of {card.of} images, {card.references:.2f} references an image; 95 % intervals over images in brackets"
    yield f"{'':<20}" + "".join(f"{label:>26}" for label in card.labels)
    for score in card.scores:
        yield f"{score.measure.name:<20}" + "".join(f"{_bracketed(score.measure, value):>26}" for value in score.values)
    yield from (f"{score.measure.name}: {score.measure.meaning} {score.measure.doubt}" for score in card.scores)
    yield from card.verdicts()
    if out:
        rows, text = scorecard.per_image(found, known), io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["image_id"], lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(out, text.getvalue())
        yield f"{out}: {len(rows)} rows, one an image and column"


def _bracketed(measure: scorecard.Measure, value) -> str:
    ends = "" if np.isnan(value.low) else f" [{measure.text(value.low)}, {measure.text(value.high)}]"
    return measure.text(value.value) + ends
