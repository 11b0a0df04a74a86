"""Captions as words: what changed between two of them, and which reference is nearest to one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

PUNCTUATION = re.compile(r"[^\w'-]+")


@dataclass(frozen=True)
class Piece:
    """A stretch of words. kind: "same" | "added" | "dropped"."""

    text: str
    kind: str


@lru_cache(maxsize=200_000)
def tokens(text: str) -> tuple[str, ...]:
    """Lower-case words without punctuation, as the Penn Treebank tokenizer of the COCO scores leaves them."""
    return tuple(word for word in PUNCTUATION.sub(" ", text.lower()).split() if word.strip("'-"))


def plain(text: str) -> str:
    return " ".join(tokens(text))


def diff(old: str, new: str) -> list[Piece]:
    """``new`` with what was added to and dropped from ``old``. Case and punctuation make no difference."""
    before, after = old.split(), new.split()
    key = lambda word: " ".join(tokens(word)) or word  # noqa: E731
    matcher = difflib.SequenceMatcher(None, [key(w) for w in before], [key(w) for w in after], autojunk=False)
    pieces = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            pieces.append(Piece(" ".join(after[c:d]), "same"))
        else:
            pieces += [Piece(" ".join(before[a:b]), "dropped")] if b > a else []
            pieces += [Piece(" ".join(after[c:d]), "added")] if d > c else []
    return pieces


def likeness(first: str, second: str) -> float:
    """ROUGE-L F of two texts, 0 to 1: the longest common subsequence of words (Lin, 2004; beta 1.2 as COCO's)."""
    return _likeness(tokens(first), tokens(second))


@lru_cache(maxsize=500_000)
def _likeness(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for word in a:
        corner = 0
        for place, other in enumerate(b, 1):
            above = row[place]
            row[place] = corner + 1 if word == other else max(above, row[place - 1])
            corner = above
    common = row[-1]
    if not common:
        return 0.0
    precision, recall = common / len(a), common / len(b)
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def nearest(caption: str, references: Sequence[str]) -> int:
    """The place of the reference most like ``caption``. Raises ValueError when there is none."""
    return max(range(len(references)), key=lambda place: likeness(caption, references[place]))
