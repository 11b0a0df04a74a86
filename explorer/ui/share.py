"""Taking a view along: a link that opens it again, and files that hold it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr

from explorer.compare import export
from explorer.ui import html
from explorer.ui.compare_view import Shown
from explorer.ui.context import Context, told

FORMATS = ("CSV", "Parquet", "One HTML file", "Contact sheets, PNG", "Contact sheets, PDF")

LINK = """
const query = () => new URLSearchParams(element.querySelector('[data-query]')?.dataset.query || '');
const theme = new URLSearchParams(location.search).get('__theme');
// The address bar follows the view, so that a reload and a bookmark open it again.
watch('value', () => setTimeout(() => {
  const found = query();
  if (theme) found.set('__theme', theme);
  history.replaceState(history.state, '', location.pathname + (found.toString() ? '?' + found : ''));
}, 30));
element.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const link = location.origin + location.pathname + '?' + query();
  const say = document.createElement('span');
  say.setAttribute('role', 'status');
  say.className = 'x-small';
  button.parentElement.querySelectorAll('.x-small, input').forEach(old => old.remove());
  button.after(say);
  try {
    await navigator.clipboard.writeText(link);
    say.textContent = 'Copied';
  } catch {  // pages without https may not write to the clipboard
    const field = Object.assign(document.createElement('input'), {value: link, readOnly: true, className: 'x-link'});
    field.setAttribute('aria-label', 'link to this view');
    say.textContent = 'Press Ctrl+C to copy:';
    say.after(field);
    field.select();
  }
});
"""


def build() -> dict:
    """Lay out the part of the tab that exports."""
    with gr.Accordion("Export this view", open=False, elem_id="export-part"):
        html.piece('<p class="x-small">All images of the view in its order, with the columns that are on.</p>')
        with gr.Row():
            buttons = [gr.Button(name, size="sm", min_width=110) for name in FORMATS]
        making = html.piece(elem_id="making")
        made = gr.File(label="Files", file_count="multiple", interactive=False, visible=False, elem_id="exported")
    return {"export_buttons": buttons, "making": making, "exported": made}


def wire(context: Context, ui: dict, inputs: set, shown_of: Callable[[dict], Shown]) -> None:
    """``shown_of``: what the page shows, from the values of ``inputs``."""
    for name, button in zip(FORMATS, ui["export_buttons"], strict=True):

        @told
        def make(values: dict, name=name):
            shown = shown_of(values)
            with context.turn("export"):
                for said, paths in files_of(context, shown, name):
                    yield {ui["making"]: said, ui["exported"]: gr.update(value=paths, visible=bool(paths))}

        button.click(make, inputs, [ui["making"], ui["exported"]], show_progress="hidden", api_visibility="private")


def files_of(context: Context, shown: Shown, name: str) -> Iterator[tuple[str, list[str]]]:
    """(HTML that tells how far it is, the files so far) for one of `FORMATS`."""
    from explorer.compare import report

    folder = _folder(context)
    table, view = shown.table, shown.chosen.view
    places = table.select(view, shown.flagged[0])
    if not len(places):
        yield html.note("No image is left in this view: take a filter off first.", "warning"), []
        return
    if name not in FORMATS[3:]:
        ending = {"CSV": ".csv", "Parquet": ".parquet"}.get(name, ".html")
        yield html.note(f"Writing {len(places):,} images."), []
        path = export.write(table, places, folder / f"comparison{ending}", context.thumb, view.against)
        yield html.note(f"{path.name}: {len(places):,} images, {html.size(path.stat().st_size)}."), [str(path)]
        return
    few = places[: export.SHEETS]
    left = f" The sheets hold the first {len(few)} of {len(places):,} images." if len(few) < len(places) else ""
    yield html.bar(0, "Drawing."), []
    if name == FORMATS[3]:
        made = []
        for path in report.sheets(table, few, folder):
            made.append(str(path))
            yield html.bar(len(made) / len(table.columns), f"{len(made)} of {len(table.columns)} sheets.{left}"), made
        return
    pages = len(table.columns) * -(-len(few) // report.PAGE)
    for count in report.book(table, few, folder / "comparison.pdf"):
        yield html.bar(count / pages, f"{count} of {pages} pages.{left}"), []
    yield html.note(f"comparison.pdf: {pages} pages.{left}"), [str(folder / "comparison.pdf")]


def _folder(context: Context) -> Path:
    """A new folder for one export; those of yesterday are removed."""
    exports = context.exports
    exports.mkdir(parents=True, exist_ok=True)
    for old in exports.glob("export-*"):
        if old.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="export-", dir=exports))
