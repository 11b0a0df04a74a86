"""Scores over strings. Every score is printed with the number of references, which moves it a great deal.

CIDEr, BLEU-4 and ROUGE-L are those of pycocoevalcap's pure-Python scorers over our own word splitting (the
original's needs Java). CIDEr is 1.0 where people write 100.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from explorer.scoring.wording import likeness, plain, tokens

FEW = 10
"""Images below which CIDEr says nothing: its word weights come from the set itself, and are all zero for one image."""

RIGHT = 0.45
"""The `goodness` from which a caption counts as right. On 3,000 photos of Flickr8k a human caption is wrong by it in 27 %
of cases against the image's four others (60 % against one other); the caption of another photo in 97 %."""

_FUNCTION_WORDS = (
    "a an the of in on at to and is are with his her its their by for from as it that be being has have into up down "
    "out over off near through one some there this while very two next beside along across past"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())

# "with a ball next to it", "a man walks by" are whole sentences: of 15,000 human captions of Flickr8k one in 140 ends
# in a word of this list, most of them in "on" ("another man looks on", "with his shoes on").
_CLOSED_ENDS = "down up out over off one there past it her by this two being"
OPEN_ENDS = FUNCTION_WORDS - set(_CLOSED_ENDS.split())


def score(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict:
    """CIDEr, BLEU-4, ROUGE-L over a set; mean references an image, images, distinct captions.

    CIDEr is None below `FEW` images. An image without references counts as nought in all three.
    Sources: Vedantam et al., "CIDEr", 2015 (its CIDEr-D); Papineni et al., "BLEU", 2002; Lin, "ROUGE", 2004.
    """
    rows = _rows(captions, references)
    counts = {
        "references": round(sum(map(len, references)) / max(1, len(references)), 2),
        "images": len(captions),
        "distinct": len({plain(caption) for caption in captions}),
    }
    if not captions:
        return {"CIDEr": None, "BLEU-4": None, "ROUGE-L": None, **counts}
    cider, bleu, rouge = (_run(scorer, rows) for scorer in _scorers())
    return {"CIDEr": float(cider[0]) if len(captions) >= FEW else None, "BLEU-4": float(bleu[0][3]), "ROUGE-L": float(rouge[0]), **counts}


def per_image(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict]:
    """The same scores for each image; an image's CIDEr weighs words by the whole set."""
    if not captions:
        return []
    cider, bleu, rouge = (_run(scorer, _rows(captions, references)) for scorer in _scorers())
    few = len(captions) < FEW
    return [
        {"CIDEr": None if few else float(c), "BLEU-4": float(b), "ROUGE-L": float(r)}
        for c, b, r in zip(cider[1], bleu[1][3], rouge[1], strict=True)
    ]


def _scorers():
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    return Cider(), Bleu(4), Rouge()


def _rows(captions, references) -> tuple[dict, dict]:
    """(references, captions) keyed by place, split into words; an empty text becomes one word nobody uses."""
    gts = {place: [plain(text) or "<empty>" for text in group] or ["<none>"] for place, group in enumerate(references)}
    res = {place: [plain(caption) or "<empty>"] for place, caption in enumerate(captions)}
    return gts, res


def _run(scorer, rows):
    with contextlib.redirect_stdout(io.StringIO()):  # the scorers print their ratios
        return scorer.compute_score(*rows)


# --- one caption ------------------------------------------------------------------------------------------


def repeats_words(caption: str) -> bool:
    """Whether a word or a pair of words comes twice in a row ("a dog dog", "with a with a")."""
    words = tokens(caption)
    if len(set(words)) == len(words):
        return False
    pairs = list(pairwise(words))
    return any(a == b for a, b in pairs) or any(a == b for a, b in zip(pairs, pairs[2:], strict=False))


def is_unfinished(caption: str, finished: bool = True) -> bool:
    """Whether a caption stopped for want of room (``finished`` is False), is empty, or ends in a word few sentences end in."""
    words = tokens(caption)
    return not finished or not words or words[-1] in OPEN_ENDS


def right_words(caption: str, references: Sequence[str]) -> float:
    """The share of a caption's content words that some reference uses, 0 to 1; 0 for a caption without any."""
    words = set(tokens(caption)) - FUNCTION_WORDS
    said = _said(tuple(references))
    return sum(stem(word) in said for word in words) / len(words) if words else 0.0


@lru_cache(maxsize=256)  # one image's references are asked for again by its next column
def _said(references: tuple[str, ...]) -> frozenset[str]:
    return frozenset(stem(word) for text in references for word in tokens(text))


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A rough stem: runs, running and run are one word."""
    for ending in ("ning", "ting", "ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def goodness(caption: str, references: Sequence[str]) -> float:
    """How near a caption is to its references, 0 to 1: half word order (ROUGE-L to the nearest), half content words."""
    if not references:
        return 0.0
    return 0.5 * max(likeness(caption, text) for text in references) + 0.5 * right_words(caption, references)


def common(captions: Sequence[str]) -> set[str]:
    """The captions, as plain words, given to at least five images and a twentieth of all: said of everything."""
    counts = Counter(plain(caption) for caption in captions)
    return {text for text, count in counts.items() if count >= max(5, 0.05 * len(captions))}


# --- counts that add up over images -----------------------------------------------------------------------


def bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """[images, 10] of what BLEU-4 is reckoned from: n-grams guessed (1 to 4), right ones, length, nearest reference length.

    Sums of rows are the counts of a set, so that any resample of images is scored without counting again.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    gts, res = _rows(captions, references)
    scorer = BleuScorer(n=4)
    for place in gts:
        scorer += (res[place][0], gts[place])
    rows = []
    for counts in scorer.ctest:
        nearest = min((abs(length - counts["testlen"]), length) for length in counts["reflen"])[1]
        rows.append([*counts["guess"], *counts["correct"], counts["testlen"], nearest])
    return np.array(rows, float).reshape(-1, 10)


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """[rows] BLEU-4 of summed `bleu_counts` [rows, 10], as pycocoevalcap reckons it."""
    guessed, right, length, wanted = counts[:, :4], counts[:, 4:8], counts[:, 8], counts[:, 9]
    ratio = (length + 1e-15) / (wanted + 1e-9)
    brevity = np.exp(np.minimum(0, 1 - 1 / np.maximum(ratio, 1e-12)))
    return ((right + 1e-15) / (guessed + 1e-9)).prod(1) ** 0.25 * brevity


def distinct(captions: Sequence[str], size: int) -> float:
    """Different n-grams of ``size`` words as a share of all (distinct-n: Li et al., "A diversity-promoting objective
    function", 2016); nan when there is none."""
    grams = [gram for text in captions for gram in zip(*(tokens(text)[at:] for at in range(size)))]
    return len(set(grams)) / len(grams) if grams else float("nan")
