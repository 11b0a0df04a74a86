"""The comparison as one HTML file: pictures inside, no scripts, nothing fetched. Opens anywhere, offline, for years.

What captions and file names hold is shown as text; the page's own policy forbids it to run or to load anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from explorer.compare.comparison import LEFT, REFERENCE, Cell, Column, Comparison, Row
from explorer.compare.markup import text, words
from explorer.scoring.metrics import RIGHT

Thumb = Callable[[str, str, int], str | None]

STYLE = """
:root { color-scheme: light dark; --line: #dcd8d3; --soft: #f7f5f2; --dim: #57534e; --added: #0b6e75; --bad: #a4232b; }
@media (prefers-color-scheme: dark) { :root { --line: #44403c; --soft: #262321; --dim: #bdb6af; --added: #6fd3da; --bad: #f1959b; } }
body { font: 16px/1.45 system-ui, sans-serif; margin: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0; } p { margin: .2rem 0 1rem; color: var(--dim); max-width: 80ch; }
table { border-collapse: separate; border-spacing: 0; width: 100%; }
th { position: sticky; top: 0; background: var(--soft); text-align: left; padding: .5rem .7rem; border-bottom: 1px solid var(--line); }
td { vertical-align: top; padding: .6rem .7rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; min-width: 8rem; }
img, .gap { width: 120px; height: 120px; object-fit: cover; border-radius: 8px; display: block; background: var(--soft); }
.gap, small, li { color: var(--dim); } ul { margin: 0; padding: 0; list-style: none; } small { display: block; }
ins { font-weight: 650; text-decoration: underline 2px; text-underline-offset: 3px; color: var(--added); }
.strange ins { color: var(--bad); } del { color: var(--dim); font-size: .9em; }
"""


def page(comparison: Comparison, places: Sequence[int], thumb: Thumb, against: str = LEFT) -> str:
    """The document. ``thumb(path, image_id, side)`` gives a picture as a data address, or None."""
    heads = "".join(f'<th scope="col">{text(comparison.label(column))}</th>' for column in comparison.columns)
    body = "".join(_row(comparison, comparison.row(int(place), against=against), thumb, against) for place in places)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width"><title>Captions compared</title>'
        f"<style>{STYLE}</style></head><body><h1>Captions compared</h1><p>{text(summary(comparison, len(places), against))}</p>"
        f'<table><thead><tr><th scope="col">image</th><th scope="col">references</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></body></html>\n"
    )


def summary(comparison: Comparison, shown: int, against: str = LEFT) -> str:
    """Which runs, how many images, how decoded, and what the marks mean."""
    runs = " and ".join(dict.fromkeys(column.run for column in comparison.columns))
    how = comparison.decoding
    prompt = f", prompt “{how.prompt}”" if how.prompt else ""
    marked = {LEFT: "the column to the left", REFERENCE: "the nearest reference"}.get(against)
    marked = marked or comparison.label(Column.from_key(against))
    return (
        f"{runs}: {shown:,} of {len(comparison):,} images. Decoded with {how.beams} {'beam' if how.beams == 1 else 'beams'}, "
        f"at most {how.max_tokens} tokens{prompt}. Underlined words are added to, struck words dropped from, {marked}."
    )


def _row(comparison: Comparison, row: Row, thumb: Thumb, against: str) -> str:
    uri = thumb(str(row.path), row.image_id, 248)
    picture = f'<img src="{text(uri)}" alt="{text(row.file)}">' if uri else '<span class="gap">picture missing</span>'
    references = "".join(f"<li>{text(reference)}</li>" for reference in row.references)
    cells = "".join(_cell(cell, against) for cell in row.cells)
    return f"<tr><td>{picture}<small>{text(row.file)}</small></td><td><ul>{references}</ul></td>{cells}</tr>"


def _cell(cell: Cell, against: str) -> str:
    if cell.caption is None:
        return "<td><small>not captioned</small></td>"
    strange = against == REFERENCE and cell.likeness is not None and cell.likeness < RIGHT
    marks = f"<small>{text(', '.join(cell.marks))}</small>" if cell.marks else ""
    return f"<td{' class=strange' if strange else ''}>{words(cell.pieces) or '<small>no words</small>'}{marks}</td>"
