"""Text as HTML that shows and never runs: everything a person, a file or a model wrote goes through `text`."""

from __future__ import annotations

import html
from collections.abc import Iterable

from explorer.scoring.wording import Piece

TAGS = {"added": "ins", "dropped": "del"}


def text(value: object) -> str:
    """``value`` as HTML text; braces, dollars and backticks are hidden from the page's templates."""
    escaped = html.escape(str(value), quote=True)
    return escaped.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")


def words(pieces: Iterable[Piece]) -> str:
    """A caption as words; added and dropped ones marked by weight, underline and strike, colour only second."""
    out = []
    for piece in pieces:
        tag = TAGS.get(piece.kind)
        out.append(f"<{tag}>{text(piece.text)}</{tag}>" if tag else text(piece.text))
    return " ".join(out)
