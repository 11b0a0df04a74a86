"""A view as the query of a link, and back: the same runs, columns, filters, order, search, page and chosen caption.

Only what differs from the plain view is written, so that links stay short. What a link holds is checked against what
there is: a stranger's link can ask for nothing but a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

from explorer.compare.comparison import FILTERS, LEFT, ORDERS, REFERENCE, View
from explorer.model.captions import Decoding


@dataclass(frozen=True)
class Link:
    """``columns``: keys in order, () for the usual ones. ``image``, ``column``: the chosen caption. ``decoding``: None for
    the run's own."""

    runs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    view: View = field(default_factory=View)
    image: str | None = None
    column: str | None = None
    decoding: Decoding | None = None


def to_query(link: Link) -> str:
    """Such as "runs=demo&only=wrong&at=2"; pages are counted from 1 as on the page ("page" is Gradio's own)."""
    view, how = link.view, link.decoding
    plain = View()
    parts = [("runs", run) for run in link.runs]
    parts += [("columns", key) for key in link.columns]
    parts += [("only", name) for name in sorted(view.filters)]
    one = {
        "search": view.search,
        "order": view.order if view.order != plain.order else "",
        "against": view.against if view.against != LEFT else "",
        "learning": view.learning,
        "at": view.page + 1 if view.page else "",
        "image": link.image,
        "column": link.column if link.image else "",
    }
    if how is not None and how != Decoding():
        one |= {"beams": how.beams, "tokens": how.max_tokens, "prompt": how.prompt}
    return urlencode(parts + [(key, value) for key, value in one.items() if value])


def from_query(query: str, runs: Sequence[str]) -> Link:
    """The link of a page's query, of which ``runs`` exist. What makes no sense is left out."""
    asked = parse_qs(query.lstrip("?"), max_num_fields=500)
    one = {key: values[0] for key, values in asked.items()}
    found = tuple(dict.fromkeys(run for run in asked.get("runs", []) if run in runs))
    columns = tuple(dict.fromkeys(key for key in asked.get("columns", []) if _is_column(key, found)))
    against = one.get("against", LEFT)
    view = View(
        frozenset(asked.get("only", [])) & frozenset(FILTERS),
        one.get("search", "")[:500],
        one.get("order") if one.get("order") in ORDERS else ORDERS[0],
        one.get("learning"),
        max(0, _whole(one.get("at"), 1, 10**9) - 1),
        against=against if against == REFERENCE or _is_column(against, found) else LEFT,
    )
    column = one.get("column")
    return Link(found, columns, view, one.get("image"), column if column and _is_column(column, found) else None, _decoding(one))


def missing(query: str, runs: Sequence[str]) -> list[str]:
    """The runs a link asks for that are not here."""
    return [run for run in parse_qs(query.lstrip("?"), max_num_fields=500).get("runs", []) if run not in runs]


def _decoding(one: dict[str, str]) -> Decoding | None:
    if not {"beams", "tokens", "prompt"} & one.keys():
        return None
    usual = Decoding()
    return Decoding(
        _whole(one.get("beams"), usual.beams, 10), _whole(one.get("tokens"), usual.max_tokens, 200), one.get("prompt", "")[:500]
    )


def _is_column(key: str, runs: Sequence[str]) -> bool:
    run, _, epoch = key.rpartition("@")
    return run in runs and epoch.isascii() and epoch.isdigit() and len(epoch) < 7


def _whole(text: str | None, usual: int, most: int) -> int:
    """``text`` as a number from 1 to ``most``; ``usual`` when it is none."""
    return min(max(int(text), 1), most) if text and text.isascii() and text.isdigit() and len(text) < 12 else usual
