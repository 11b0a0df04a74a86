"""Captions as words: what changed between two of them, and which reference is nearest to one."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


class _Blanked(dict):
    """For str.translate: letters, marks, digits, ' - and _ stay, all else becomes a blank; each character is judged once."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        # Marks are the vowels of Hindi or Thai: without them other words would look the same.
        kept = letter in "'-_" or unicodedata.category(letter)[0] in "LMN"
        self[code] = letter if kept else " "
        return self[code]


BLANKED = _Blanked({ord("’"): "'"})


@dataclass(frozen=True)
class Piece:
    """A stretch of words. kind: "same" | "added" | "dropped"."""

    text: str
    kind: str


@lru_cache(maxsize=200_000)
def tokens(text: str) -> tuple[str, ...]:
    """Lower-case words without punctuation, much as the COCO scores' Penn Treebank tokenizer leaves them
    (Chen et al., "Microsoft COCO captions", 2015); unlike it, "dog's" stays one word.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)  # é in one code point or two is the same letter
    words = text.lower().translate(BLANKED).split()
    return tuple(word for word in words if word.strip("'-")) if "'" in text or "-" in text or "’" in text else tuple(words)


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


def _likeness(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    common = common_length(a, b)
    if not common:
        return 0.0
    precision, recall = common / len(a), common / len(b)
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence of two word lists.

    One bit a word of ``a``, a few operations a word of ``b`` (Hyyrö, "Bit-parallel LCS-length computation
    revisited", 2004): the Compare tab needs it for every caption with every reference.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << at
    unmatched = all_places = (1 << len(a)) - 1
    for word in b:
        if found := unmatched & places.get(word, 0):
            unmatched = (unmatched + found | unmatched - found) & all_places
    return len(a) - unmatched.bit_count()


def nearest(caption: str, references: Sequence[str]) -> int:
    """The place of the reference most like ``caption``. Raises ValueError when there is none."""
    return max(range(len(references)), key=lambda place: likeness(caption, references[place]))
