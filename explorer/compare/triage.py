"""Triage: which captions deserve a person's eye first, from signals that need no reference.

Each signal ranks the images; a caption's doubt is the weighted mean of its places in those ranks. The weights were
chosen on data apart from what `python -m explorer triage` reports on, see `WEIGHTS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from explorer.model.captions import Caption
from explorer.scoring import metrics, nouns
from explorer.scoring.wording import likeness, tokens

Columns = Sequence[Sequence[Caption | None]]


def unsure(columns: Columns) -> np.ndarray:
    """Minus the log-probability of the last column's whole caption: long and unsure ones come first."""

    def surprise(caption: Caption) -> float:
        return -float(np.log(np.clip(caption.probabilities, 1e-4, 1)).sum()) if caption.probabilities else np.nan

    return _of_last(columns, surprise)


def least_sure(columns: Columns) -> np.ndarray:
    """Minus the log-probability of the last column's least sure word that is no article, preposition or the like."""

    def worst(caption: Caption) -> float:
        pairs = zip(caption.words, caption.probabilities, strict=False)
        content = [chance for word, chance in pairs if not set(tokens(word)) <= metrics.FUNCTION_WORDS]
        return -float(np.log(max(1e-4, min(content)))) if content else np.nan

    return _of_last(columns, worst)


def disagreement(columns: Columns) -> np.ndarray:
    """1 - likeness of the last column's caption to the other columns', the nearer in epochs the weightier."""
    out = np.full(len(columns[-1]), np.nan)
    for place, caption in enumerate(columns[-1]):
        others = [(1 / (len(columns) - 1 - at), column[place]) for at, column in enumerate(columns[:-1]) if column[place] is not None]
        if caption is not None and others:
            out[place] = 1 - sum(w * likeness(caption.text, o.text) for w, o in others) / sum(w for w, _ in others)
    return out


def broken(columns: Columns) -> np.ndarray:
    """1 for a caption that repeats words or stops in the middle, else 0."""
    return _of_last(columns, lambda c: float(metrics.repeats_words(c.text) or metrics.is_unfinished(c.text, c.finished)))


def rare_noun(columns: Columns) -> np.ndarray:
    """How rare the rarest noun of the last column's caption is among all captions: minus its log share of the images."""
    texts = [caption.text for column in columns for caption in column if caption]
    known = nouns.learned(texts)
    rows = [set(tokens(text)) & known for text in texts]
    count = Counter(word for row in rows for word in row)

    def rarest(caption: Caption) -> float:
        said = set(tokens(caption.text)) & known
        return -float(np.log(min(count[word] for word in said) / len(texts))) if said else np.nan

    return _of_last(columns, rarest)


def _of_last(columns: Columns, measure: Callable[[Caption], float]) -> np.ndarray:
    return np.array([np.nan if caption is None else measure(caption) for caption in columns[-1]], float)


SIGNALS = {"unsure": unsure, "least sure": least_sure, "disagreement": disagreement, "broken": broken, "rare noun": rare_noun}
WEIGHTS = {"unsure": 1.0, "least sure": 0.0, "disagreement": 0.5, "broken": 1.0, "rare noun": 0.0, "unlike neighbours": 1.0, "irrelevant": 0.0}
"""Chosen on the demo and on two runs over 205 and 282 photos of Flickr8k, apart from the run reported on. The least sure
word, rare nouns and relevance made the queue no better: they are measured, and weigh nothing."""


def signals(columns: Columns, looked: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Each signal [images], the higher the worse; nan where it says nothing. ``looked``: those that needed the pictures."""
    found = {name: signal(columns) for name, signal in SIGNALS.items()} if columns and len(columns[-1]) else {}
    return {**found, **(looked or {})}


def doubts(found: dict[str, np.ndarray], weights: dict[str, float] = WEIGHTS) -> np.ndarray:
    """[images] 0 to 1: the weighted mean rank of the signals; half where none says anything."""
    if not found:
        return np.zeros(0)
    ranks = np.stack([place_shares(values) for values in found.values()])
    each = np.array([weights.get(name, 0.0) for name in found])
    return each @ ranks / max(each.sum(), 1e-12)


def place_shares(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1, ties in their middle; nan becomes a half."""
    out = np.full(len(values), 0.5)
    known = ~np.isnan(values)
    if known.sum() > 1:
        _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts + 1) / 2
        out[known] = middle[inverse] / (known.sum() - 1)
    return out


def gain_over_chance(order: np.ndarray, worst: np.ndarray, share: float = 0.2) -> tuple[float, int, int]:
    """(how many times more of the worst than chance stand in the first ``share`` of the queue, how many, how long it is).

    order: places of images, first first; worst: [images] bool.
    """
    first = order[: max(1, round(share * len(order)))]
    hits = int(worst[first].sum())
    return hits / max(1e-12, len(first) * worst.mean()), hits, len(first)
