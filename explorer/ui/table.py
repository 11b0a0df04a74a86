"""The comparison as HTML: the table, and the way through its pages."""

from __future__ import annotations

from collections.abc import Callable

from explorer.compare.comparison import REFERENCE, Cell, Comparison, Page, Row
from explorer.scoring.metrics import RIGHT
from explorer.ui import html

KEYS = """
const help = () => document.querySelector('#compare-help dialog');
// The next word of the chosen caption, or the one before: pressing it shows where every column looked.
const look = by => {
  const words = [...document.querySelectorAll('#detail .x-word')];
  if (!words.length) return;
  const now = words.indexOf(document.activeElement);
  const word = words[now < 0 ? (by > 0 ? 0 : words.length - 1) : (now + by + words.length) % words.length];
  word.focus({preventScroll: true});
  word.click();
};
document.addEventListener('keydown', event => {
  const typing = event.target.closest('input, textarea, select, [contenteditable="true"], [role="listbox"]');
  if (event.key === 'Escape' && event.target.closest('#correction')) {
    event.target.blur();
    (element.querySelector('.x-cell[aria-pressed=true]') || element.querySelector('.x-cell'))?.focus();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || element.offsetParent === null) return;
  if (event.key === '?') { event.preventDefault(); help().open ? help().close() : help().showModal(); return; }
  if (help().open || !/^([jkhlHLfcnpuwW/]|[1-8]|Arrow(Up|Down))$/.test(event.key)) return;
  if (event.key.startsWith('Arrow') && event.target.closest('[role="radiogroup"], [role="tablist"], [role="slider"]')) return;
  event.preventDefault();
  if (event.key === 'c') { document.querySelector('#correction textarea')?.focus(); return; }
  if (event.key === 'w' || event.key === 'W') { look(event.key === 'w' ? 1 : -1); return; }
  if (event.key === '/') { document.querySelector('#compare-search :is(input, textarea)')?.focus(); return; }
  document.querySelector('#choice').walked = true;
  trigger('act', {act: 'key', value: event.key});
});
element.addEventListener('click', event => {
  if (event.target.closest('[data-act=choose]') && window.innerWidth < 760)
    setTimeout(() => document.querySelector('#detail-column')?.scrollIntoView({behavior: 'smooth'}), 400);
});
"""
"""Shortcuts, silent while typing, while the help is open and while the tab is hidden."""

CHOICE = """
const mark = () => {
  const {image, column} = element.querySelector('[data-image]')?.dataset || {};
  const table = document.querySelector('#comparison');
  for (const row of table.querySelectorAll('tbody tr')) row.classList.toggle('chosen', row.dataset.image === image);
  for (const cell of table.querySelectorAll('.x-cell'))
    cell.setAttribute('aria-pressed', cell.dataset.image === image && cell.dataset.column === column);
  const place = element.closest('#choice');
  if (!place.walked) return;
  place.walked = false;
  const cell = table.querySelector('.x-cell[aria-pressed=true]');
  cell?.focus({preventScroll: true});
  cell?.closest('tr').scrollIntoView({block: 'nearest'});
};
watch('value', () => setTimeout(mark, 30));
element.addEventListener('click', event => {
  if (event.target.closest('[data-back]')) document.querySelector('#comparison tr.chosen')?.scrollIntoView({behavior: 'smooth'});
});
"""
"""js_on_load of the choice: marks the chosen caption in the table, which need not be sent again for it."""

Thumb = Callable[[str, str, int], str | None]


def choice_html(image: dict, label: str, said: str, column: str) -> str:
    """The chosen caption, told to screen readers, and on a phone the way back to its row."""
    told = f"{label} of {image['file']}: {said}"
    return (
        f'<p class="x-hidden" role="status" data-image="{html.text(image["image_id"])}" data-column="{html.text(column)}">'
        f'{html.text(told)}</p><button type="button" class="x-button x-back" data-back>Back to the table</button>'
    )


def table_html(comparison: Comparison, page: Page, chosen: tuple[str, str] | None, thumb: Thumb, against: str = "") -> str:
    """One page of rows. ``chosen``: (image id, column key) of the caption the detail shows; ``against``: see `View`."""
    heads = "".join(f'<th scope="col">{html.text(comparison.label(c))}</th>' for c in comparison.columns)
    rows = "".join(_row(comparison, row, chosen, thumb, against) for row in page.rows)
    wide = f' wide" style="--columns:{len(comparison.columns)}' if len(comparison.columns) > 6 else ""
    return (
        f'<div class="x-scroll{wide}"><table class="x-table" id="comparison-table"><thead><tr><th scope="col" class="picture">image</th>'
        f'<th scope="col">references</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(comparison: Comparison, row: Row, chosen, thumb: Thumb, against: str) -> str:
    is_chosen = chosen is not None and chosen[0] == row.image_id
    last = row.cells[-1].column.key if row.cells else ""
    image = html.picture(thumb(str(row.path), row.image_id, 248), row.references[0] if row.references else row.file)
    pick = (
        f'<button type="button" class="x-pick" data-act="choose" data-image="{html.text(row.image_id)}" data-column="{html.text(last)}" '
        f'aria-label="open {html.text(row.file)}">{image}</button>'
    )
    cells = "".join(_cell(comparison, row, cell, chosen, against) for cell in row.cells)
    return (
        f'<tr class="{"chosen" if is_chosen else ""}" data-image="{html.text(row.image_id)}"><td class="picture">{pick}</td>'
        f'<td data-label="references">{_references(row)}</td>{cells}</tr>'
    )


def _references(row: Row) -> str:
    if not row.references:
        return f'<span class="x-small">no reference</span><span class="x-name">{html.text(row.file)}</span>'
    first = "".join(f"<li>{html.text(text)}</li>" for text in row.references[:2])
    more = f'<li class="x-small">and {len(row.references) - 2} more</li>' if len(row.references) > 2 else ""
    return f'<ul class="x-references">{first}{more}</ul>'


def _cell(comparison: Comparison, row: Row, cell: Cell, chosen, against: str) -> str:
    label = comparison.label(cell.column)
    if cell.caption is None:
        return f'<td data-label="{html.text(label)}" class="x-dim">not captioned yet</td>'
    pressed = "true" if chosen == (row.image_id, cell.column.key) else "false"
    said = html.words(cell.pieces) if cell.caption.text else '<span class="x-dim">no words</span>'
    marks = "".join(f'<span class="x-mark {mark}">{html.text(mark)}</span>' for mark in cell.marks)
    flag = html.button("Flag", "flag", kind="quick", title=f"flag this caption of {label}", image=row.image_id, column=cell.column.key)
    flag = "" if "flagged" in cell.marks else flag
    strange = " strange" if against == REFERENCE and cell.likeness is not None and cell.likeness < RIGHT else ""
    return (
        f'<td data-label="{html.text(label)}"><button type="button" class="x-cell{strange}" aria-pressed="{pressed}" data-act="choose" '
        f'data-image="{html.text(row.image_id)}" data-column="{html.text(cell.column.key)}">{said}</button>{marks}{flag}</td>'
    )


def pager_html(page: Page, number: int, images: int) -> str:
    """Where one is among the rows, and the ways on."""
    if page.total == 0:
        return '<div class="x-toolbar">' + html.button("Show all images", "all", value="all") + "</div>"
    shown = f"{page.total:,} of {images:,} images" if page.total != images else f"{images:,} images"
    number = min(number, page.pages - 1)
    everything = html.button("Show all images", "all", value="all") if page.total != images else ""
    ways = _way("Previous", "previous", number > 0) + _way("Next", "next", number + 1 < page.pages) if page.pages > 1 else ""
    return (
        f'<div class="x-toolbar"><span class="x-small" role="status">{shown}, page {number + 1} of {page.pages}</span>'
        f'<span class="x-chips">{everything}{ways}</span></div>'
    )


def _way(label: str, value: str, can: bool) -> str:
    disabled = "" if can else " disabled"
    return f'<button type="button" class="x-button" data-act="page" data-value="{value}"{disabled}>{label}</button>'
