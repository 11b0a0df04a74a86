"""The comparison as HTML: the table and its head picture of learning. The detail beside it is in detail.py.

python -m explorer.ui.table RUN > table.html      # the first page of a run, to look at
"""

from __future__ import annotations

from collections.abc import Callable

from explorer.comparison import FILTERS, Comparison, Page, Row
from explorer.flags import REASONS
from explorer.ui import html

KEYS = """
document.addEventListener('keydown', event => {
  const typing = event.target.closest('input, textarea, select, [contenteditable="true"], [role="listbox"]');
  if (typing || event.ctrlKey || event.metaKey || event.altKey || element.offsetParent === null) return;
  if (!/^([jkhlfcnpu?]|[1-8]|Arrow(Up|Down))$/.test(event.key)) return;
  if (event.key.startsWith('Arrow') && event.target.closest('[role="radiogroup"], [role="tablist"], [role="slider"]')) return;
  event.preventDefault();
  if (event.key === 'c') { document.querySelector('#correction textarea')?.focus(); return; }
  walked = true;
  trigger('act', {act: 'key', value: event.key});
});
let walked = false;
element.addEventListener('click', event => {
  if (event.target.closest('[data-act=choose]') && window.innerWidth < 760)
    setTimeout(() => document.querySelector('#detail-column')?.scrollIntoView({behavior: 'smooth'}), 400);
});
watch('value', () => {
  if (walked) element.querySelector('tr.chosen')?.scrollIntoView({block: 'nearest'});
  walked = false;
});
"""
"""Shortcuts, silent while typing and while the tab is hidden."""

SHORTCUTS = (
    ("j or ↓ / k or ↑", "next / previous image"),
    ("h / l", "column to the left / right"),
    ("n / p", "next / previous page"),
    ("f", "flag the chosen caption"),
    ("1 to 8", "flag it with a reason: " + ", ".join(f"{n} {reason}" for n, reason in enumerate(REASONS, 1))),
    ("c", "type the correction"),
    ("u", "undo the last change to the flags"),
    ("?", "show or hide this list"),
)

Thumb = Callable[[str, str, int], str | None]


def help_html() -> str:
    rows = "".join(f"<tr><td><kbd>{html.text(keys)}</kbd></td><td>{html.text(what)}</td></tr>" for keys, what in SHORTCUTS)
    meanings = "".join(f"<tr><td>{html.text(name)}</td><td>{html.text(what)}</td></tr>" for name, what in FILTERS.items())
    return f'<div class="x-help"><table>{rows}</table><p class="x-heading">Filters</p><table>{meanings}</table></div>'


def table_html(comparison: Comparison, page: Page, chosen: tuple[str, str] | None, thumb: Thumb) -> str:
    """One page of rows. ``chosen``: (image id, column key) of the caption the detail shows."""
    heads = "".join(f'<th scope="col">{html.text(comparison.label(c))}</th>' for c in comparison.columns)
    rows = "".join(_row(comparison, row, chosen, thumb) for row in page.rows)
    return (
        '<div class="x-scroll"><table class="x-table" id="comparison-table"><thead><tr><th scope="col" class="picture">image</th>'
        f'<th scope="col">references</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(comparison: Comparison, row: Row, chosen, thumb: Thumb) -> str:
    is_chosen = chosen is not None and chosen[0] == row.image_id
    last = row.cells[-1].column.key if row.cells else ""
    image = html.picture(thumb(str(row.path), row.image_id, 248), row.references[0] if row.references else row.file)
    pick = (
        f'<button type="button" class="x-pick" data-act="choose" data-image="{row.image_id}" data-column="{html.text(last)}" '
        f'aria-label="open {html.text(row.file)}">{image}</button>'
    )
    references = "".join(f"<li>{html.text(text)}</li>" for text in row.references[:2])
    more = f'<li class="x-small">and {len(row.references) - 2} more</li>' if len(row.references) > 2 else ""
    cells = "".join(_cell(comparison, row, cell, chosen) for cell in row.cells)
    return (
        f'<tr class="{"chosen" if is_chosen else ""}"><td class="picture">{pick}</td>'
        f'<td data-label="references"><ul class="x-references">{references}{more}</ul></td>{cells}</tr>'
    )


def _cell(comparison: Comparison, row: Row, cell, chosen) -> str:
    label = comparison.label(cell.column)
    if cell.caption is None:
        return f'<td data-label="{html.text(label)}" class="x-dim">not captioned yet</td>'
    pressed = "true" if chosen == (row.image_id, cell.column.key) else "false"
    said = html.words(cell.pieces) if cell.caption.text else '<span class="x-dim">no words</span>'
    marks = "".join(f'<span class="x-mark {mark}">{html.text(mark)}</span>' for mark in cell.marks)
    flag = html.button("Flag", "flag", kind="quick", title=f"flag this caption of {label}", image=row.image_id, column=cell.column.key)
    flag = "" if "flagged" in cell.marks else flag
    return (
        f'<td data-label="{html.text(label)}"><button type="button" class="x-cell" aria-pressed="{pressed}" data-act="choose" '
        f'data-image="{row.image_id}" data-column="{html.text(cell.column.key)}">{said}</button>{marks}{flag}</td>'
    )


def columns_html(choices: list[tuple[str, str]], shown: list[str]) -> str:
    """The columns as chips that can be put on and off."""
    chips = [
        f'<button type="button" class="x-button" data-act="column" data-value="{html.text(key)}" '
        f'aria-pressed="{"true" if key in shown else "false"}">{html.text(label)}</button>'
        for label, key in choices
    ]
    return f'<div class="x-chips" role="group" aria-label="columns"><span class="x-small">Columns</span>{"".join(chips)}</div>'


def learning_html(comparison: Comparison, chosen: str | None) -> str:
    """How many images were learned when, as bars that filter."""
    counts = comparison.learning_counts()
    if not counts or not any(image["references"] for image in comparison.images):
        return ""
    return (
        '<p class="x-small">When each image\'s caption came near its references (a hint, not a verdict); press one to see its images</p>'
        + html.counts(counts, "learning", chosen)
    )


def pager_html(page: Page, number: int, images: int) -> str:
    """Where one is among the rows, and the ways on."""
    shown = f"{page.total:,} of {images:,} images" if page.total != images else f"{images:,} images"
    if page.total == 0:
        return ""
    number = min(number, page.pages - 1)
    back = html.button("Previous", "page", value=number - 1) if number > 0 else ""
    on = html.button("Next", "page", value=number + 1) if number + 1 < page.pages else ""
    return f'<div class="x-toolbar"><span class="x-small">{shown}, page {number + 1} of {page.pages}</span><span>{back} {on}</span></div>'
