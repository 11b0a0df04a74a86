"""What a caption says otherwise than another text: the column beside it, or its references.

Against references a word counts as right when any reference uses it: a caption that is right in other words than the
nearest reference shows nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from explorer.scoring.metrics import FUNCTION_WORDS, stem
from explorer.scoring.wording import Piece, diff, nearest, tokens


def against_references(caption: str, references: Sequence[str]) -> list[Piece]:
    """``caption`` beside its nearest reference. kind: "same" | "other" | "added" | "dropped".

    "other": not in the nearest reference, but in another one, or a word without content. "added": in none.
    "dropped": content words of the nearest reference that the caption has nowhere, left out where other right words
    stand in their place. All but the dropped pieces, joined by blanks, are the caption. Raises ValueError without references.
    """
    said = _stems(tokens(caption))
    known = _stems(word for text in references for word in tokens(text))
    pieces = diff(references[nearest(caption, references)], caption)
    found: list[Piece] = []
    for place, piece in enumerate(pieces):
        if piece.kind == "added":
            found += _judged(piece.text, known)
        elif piece.kind == "dropped":
            after = pieces[place + 1] if place + 1 < len(pieces) else None
            replaced = after is not None and after.kind == "added" and _is_right(after.text, known)
            missing = (
                "" if replaced else " ".join(word for word in piece.text.split() if _has_content(word) and not _stems(tokens(word)) & said)
            )
            found += [Piece(missing, "dropped")] if missing else []
        else:
            found.append(piece)
    return found


def _judged(text: str, known: frozenset[str]) -> Iterable[Piece]:
    kinds = groupby(text.split(), key=lambda word: "added" if _has_content(word) and not _stems(tokens(word)) & known else "other")
    return [Piece(" ".join(words), kind) for kind, words in kinds]


def _is_right(text: str, known: frozenset[str]) -> bool:
    """Whether every content word of ``text`` is in some reference, and there is one."""
    words = [word for word in text.split() if _has_content(word)]
    return bool(words) and all(_stems(tokens(word)) & known for word in words)


def _has_content(word: str) -> bool:
    return bool(set(tokens(word)) - FUNCTION_WORDS)


def _stems(words: Iterable[str]) -> frozenset[str]:
    return frozenset(stem(word) for word in words)
