"""The scorecard of a comparison: accuracy, relevance, coherence and hallucination of every column, with intervals.

A column is called better than the one to its left only when the interval of their difference, over the same
resampled images, leaves out zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.compare.comparison import Comparison
from explorer.compare.relevance import Relevance, sample
from explorer.model.captions import Caption
from explorer.scoring import bootstrap, metrics, nouns
from explorer.scoring.bootstrap import Interval

LIMIT = 1000
"""Images scored, at most: the same ones for all columns, drawn by their ids."""


@dataclass(frozen=True)
class Measure:
    """One score. ``better``: 1 when more is better, -1 when less is, 0 when neither; ``meaning`` and ``doubt`` are
    sentences: what it says, and when not to trust it."""

    name: str
    group: str
    meaning: str
    doubt: str
    better: int = 1
    share: bool = False

    def text(self, value: float) -> str:
        return "-" if np.isnan(value) else f"{value:.1%}" if self.share else f"{value:.3f}"

    def change(self, value: float) -> str:
        return f"{100 * value:+.1f}" if self.share else f"{value:+.3f}"


MEASURES = {
    each.name: each
    for each in (
        Measure(
            "CIDEr",
            "accuracy",
            "How much the caption shares with its references, rare words counting more.",
            "Do not compare it between sets: its word weights come from this set, and it moves with the number of references.",
        ),
        Measure(
            "BLEU-4",
            "accuracy",
            "How many stretches of up to four words some reference has as well.",
            "It is blind to meaning: a true caption in other words scores near nought, and short sets make it jump.",
        ),
        Measure(
            "ROUGE-L",
            "accuracy",
            "How long a run of words, in order, the caption shares with its nearest reference.",
            "It rewards the usual frame of a sentence (a ... is ... on the ...) though the things in it are wrong.",
        ),
        Measure(
            "gain",
            "relevance",
            "How much likelier the base finds the caption for its own image than for others, in nats a token.",
            "It is the base's opinion: it favours its own captions, and of things it never learned to see it says nothing.",
        ),
        Measure(
            "own image first",
            "relevance",
            "How often the caption is likelier for its own image than for each of the others it was tried on.",
            "With look-alike images the right one cannot win; compare columns, not datasets.",
            share=True,
        ),
        Measure(
            "repeats words",
            "coherence",
            "How many captions say a word or a pair of words twice in a row.",
            "It finds stutter only; a caption that says one thing twice in other words passes.",
            -1,
            True,
        ),
        Measure(
            "unfinished",
            "coherence",
            "How many captions stop in the middle: no end token, or a last word that few sentences end in.",
            "Some whole sentences end in such a word; of human captions one in 140 is counted.",
            -1,
            True,
        ),
        Measure(
            "distinct words",
            "coherence",
            "Different words as a share of all words of all captions (distinct-1).",
            "It falls as more images are captioned and a narrow subject needs few words: compare columns of one set only.",
            0,
            True,
        ),
        Measure(
            "distinct pairs",
            "coherence",
            "Different pairs of words as a share of all pairs (distinct-2).",
            "As distinct words; gibberish scores highest of all.",
            0,
            True,
        ),
        Measure(
            "log-probability",
            "coherence",
            "How sure the column itself was of its words, as the mean logarithm of their probabilities.",
            "A model is surest of what it says of everything; it rises as a model overfits.",
            0,
        ),
        Measure(
            "unsupported nouns",
            "hallucination",
            "The share of the captions' nouns that no reference of the image uses.",
            "Nouns are learned from these captions, not from a dictionary: synonyms count as unsupported, and so does a true thing that nobody mentioned.",
            -1,
            True,
        ),
        Measure(
            "captions with one",
            "hallucination",
            "The share of captions with at least one such noun.",
            "As above; fewer references make it rise.",
            -1,
            True,
        ),
    )
}


@dataclass(frozen=True)
class Score:
    """One measure of every column; ``steps``: the paired difference of each column to the one on its left."""

    measure: Measure
    values: tuple[Interval, ...]
    steps: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Card:
    labels: tuple[str, ...]
    images: int
    of: int
    references: float
    scores: tuple[Score, ...]

    def verdicts(self) -> list[str]:
        """A sentence for each measure and pair of neighbours: better, worse, or that these images cannot tell."""
        found = []
        for score in self.scores:
            for at, step in enumerate(score.steps):
                if score.measure.better and step is not None and not np.isnan(step.low):
                    found.append(self._verdict(score.measure, at, step))
        return found

    def _verdict(self, measure: Measure, at: int, step: Interval) -> str:
        now, before = self.labels[at], self.labels[at - 1]
        by = f"{measure.change(step.value)} (95 % {measure.change(step.low)} to {measure.change(step.high)})"
        if not step.is_clear:
            return f"{measure.name}: {self.images} images cannot tell {now} from {before}, {by}"
        word = "better" if step.value * measure.better > 0 else "worse"
        return f"{measure.name}: {now} is {word} than {before}, {by}"


Statistic = Callable[[np.ndarray], np.ndarray]
"""From weights [rows, images] to the score of each row."""


def scored(comparison: Comparison) -> list[int]:
    """Places of the images that are scored: those that every column has captioned, `LIMIT` of them at most."""
    columns = [comparison.captions[column.key] for column in comparison.columns]
    whole = [place for place in range(len(comparison)) if columns and all(column[place] for column in columns)]
    if len(whole) <= LIMIT:
        return whole
    chosen = {image["image_id"] for image in sample([comparison.images[place] for place in whole], LIMIT)}
    return [place for place in whole if comparison.images[place]["image_id"] in chosen]


def card(comparison: Comparison, relevance: dict[tuple[str, str], Relevance] | None = None) -> Card:
    """The scorecard. ``relevance`` by (image id, caption): what of `relevance.known` is there."""
    places = scored(comparison)
    images = [comparison.images[place] for place in places]
    columns = [[comparison.captions[column.key][place] for place in places] for column in comparison.columns]
    said = [[caption.text for caption in column] for column in columns]
    known = nouns.learned([text for column in said for text in column] + [text for image in images for text in image["references"]])
    by_column = [statistics(images, column, known, relevance or {}) for column in columns]
    weights = bootstrap.draws(len(images))
    ones = np.ones((1, len(images)))
    scores = []
    for name, measure in MEASURES.items():
        if any(name in statistic for statistic in by_column):
            scores.append(_score(measure, [statistic.get(name, _unknown) for statistic in by_column], ones, weights))
    referenced = [len(image["references"]) for image in images]
    scores = [_without_steps_from_base(score, comparison) for score in scores]
    labels = tuple(comparison.label(column) for column in comparison.columns)
    return Card(labels, len(images), len(comparison), float(np.mean(referenced)) if referenced else 0.0, tuple(scores))


def _without_steps_from_base(score: Score, comparison: Comparison) -> Score:
    """Relevance is the base's opinion: nothing is made of a column having less of it than the base itself."""
    if score.measure.group != "relevance":
        return score
    steps = [None if at and not comparison.columns[at - 1].epoch else step for at, step in enumerate(score.steps)]
    return replace(score, steps=tuple(steps))


def _score(measure: Measure, each: list[Statistic], ones: np.ndarray, weights: np.ndarray) -> Score:
    images = ones.shape[1]
    values = [float(statistic(ones)[0]) for statistic in each]
    # How many different words a set has depends on its size: a resample, with its doubles, always has fewer.
    drawn = [np.full(1, np.nan) if measure.name.startswith("distinct") else statistic(weights) for statistic in each]
    intervals = tuple(bootstrap.interval(value, row, images) for value, row in zip(values, drawn, strict=True))
    steps = [
        None if at == 0 else bootstrap.interval(values[at] - values[at - 1], drawn[at] - drawn[at - 1], images) for at in range(len(each))
    ]
    return Score(measure, intervals, tuple(steps))


def statistics(images: list[dict], captions: Sequence[Caption], known: frozenset[str], relevance: dict) -> dict[str, Statistic]:
    """By measure, the statistic of one column; measures that the images give no ground for are left out."""
    found = {**_accuracy(images, captions), **_coherence(captions), **_hallucination(images, captions, known)}
    told = [relevance.get((image["image_id"], caption.text)) for image, caption in zip(images, captions, strict=True)]
    if any(told):
        found["gain"] = _mean([t.gain if t else np.nan for t in told])
        found["own image first"] = _mean([float(t.rank == 1) if t else np.nan for t in told])
    return found


def _unknown(weights: np.ndarray) -> np.ndarray:
    """The score of a column that the measure says nothing of."""
    return np.full(len(weights), np.nan)


def _mean(values: Sequence[float]) -> Statistic:
    array = np.array(values, float)
    return lambda weights: bootstrap.means(array, weights)


def _accuracy(images: list[dict], captions: Sequence[Caption]) -> dict[str, Statistic]:
    places = [place for place, image in enumerate(images) if image["references"]]
    if not places:
        return {}
    texts, references = [captions[place].text for place in places], [images[place]["references"] for place in places]
    rows = metrics.per_image(texts, references)
    counts = metrics.bleu_counts(texts, references)

    def over_all(name: str) -> Statistic:
        values = np.full(len(images), np.nan)
        values[places] = [np.nan if row[name] is None else row[name] for row in rows]
        return lambda weights: bootstrap.means(values, weights)

    found = {"BLEU-4": lambda weights: metrics.bleu_of(weights[:, places] @ counts), "ROUGE-L": over_all("ROUGE-L")}
    return found if rows[0]["CIDEr"] is None else {"CIDEr": over_all("CIDEr"), **found}


def _coherence(captions: Sequence[Caption]) -> dict[str, Statistic]:
    texts = [caption.text for caption in captions]
    sure = [float(np.log(np.clip(c.probabilities, 1e-4, 1)).mean()) if c.probabilities else np.nan for c in captions]
    return {
        "repeats words": _mean([float(metrics.repeats_words(text)) for text in texts]),
        "unfinished": _mean([float(metrics.is_unfinished(c.text, c.finished)) for c in captions]),
        "distinct words": lambda weights: np.full(len(weights), metrics.distinct(texts, 1)),
        "distinct pairs": lambda weights: np.full(len(weights), metrics.distinct(texts, 2)),
        "log-probability": _mean(sure),
    }


def _hallucination(images: list[dict], captions: Sequence[Caption], known: frozenset[str]) -> dict[str, Statistic]:
    if not any(image["references"] for image in images):
        return {}
    counts = np.zeros((len(images), 2))
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        if image["references"]:
            wrong = nouns.unsupported(caption.text, image["references"], known)
            counts[place] = len(wrong), sum(word in known for word in metrics.tokens(caption.text))
    has = np.array([bool(image["references"]) for image in images])

    def share(weights: np.ndarray) -> np.ndarray:
        wrong, of = (weights @ counts).T
        return np.where(of > 0, wrong / np.maximum(of, 1e-12), np.nan)

    return {"unsupported nouns": share, "captions with one": _mean(np.where(has, counts[:, 0] > 0, np.nan))}


def per_image(comparison: Comparison, relevance: dict[tuple[str, str], Relevance] | None = None) -> list[dict]:
    """A row an image and column: image_id, file, column, caption, CIDEr, BLEU-4, ROUGE-L, gain, rank, among, nouns in no reference."""
    places = scored(comparison)
    images = [comparison.images[place] for place in places]
    texts = {c.key: [comparison.captions[c.key][place].text for place in places] for c in comparison.columns}
    known = nouns.learned([t for column in texts.values() for t in column] + [t for image in images for t in image["references"]])
    rows = []
    for column in comparison.columns:
        scores = metrics.per_image(texts[column.key], [image["references"] for image in images])
        for image, text, score in zip(images, texts[column.key], scores, strict=True):
            told = (relevance or {}).get((image["image_id"], text))
            row = {"image_id": image["image_id"], "file": image["file"], "column": comparison.label(column), "caption": text}
            row |= score if image["references"] else dict.fromkeys(score)
            row |= {"gain": told.gain, "rank": told.rank, "among": told.among} if told else {"gain": None, "rank": None, "among": None}
            rows.append(
                {**row, "unsupported": " ".join(nouns.unsupported(text, image["references"], known)) if image["references"] else ""}
            )
    return rows
