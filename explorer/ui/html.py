"""The pieces of HTML the tabs share. Everything a person, a file or a model wrote goes through `text`.

python -m explorer.ui.html > pieces.html      # each piece once, to look at
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gradio as gr

from explorer.compare.markup import text, words  # noqa: F401 - tabs take all their pieces from here

ACTIONS = """
element.addEventListener('click', event => {
  const target = event.target.closest('[data-act]');
  if (target && !target.hasAttribute('disabled')) trigger('act', {...target.dataset});
});
element.addEventListener('keydown', event => {
  if (event.key !== 'Enter' && event.key !== ' ') return;
  const target = event.target.closest('[data-act]');
  if (target && target.tagName !== 'BUTTON') { event.preventDefault(); trigger('act', {...target.dataset}); }
});
let held = null;
const name = target => target && JSON.stringify({...target.dataset});
element.addEventListener('focusin', event => { held = name(event.target.closest('[data-act]')); });
document.addEventListener('pointerdown', event => { if (!element.contains(event.target)) held = null; });
watch('value', () => setTimeout(() => {
  const now = document.activeElement;
  if (!held || (now !== document.body && !element.contains(now)) || name(now.closest('[data-act]')) === held) return;
  const can = [...element.querySelectorAll('[data-act]')].filter(each => !each.disabled);
  // A button that went off, such as the arrow of a column now at the edge, hands the focus to one of the same value.
  (can.find(each => name(each) === held) || can.find(each => each.dataset.value === JSON.parse(held).value))?.focus({preventScroll: true});
}, 30));
"""
"""js_on_load of every piece with buttons: a click on [data-act] becomes the event `act` with its data attributes, and a
button that was pressed has the focus again when the piece is shown anew."""


def piece(value: str = "", **options) -> gr.HTML:
    """A place on the page for our own HTML, without Gradio's rules for prose."""
    return gr.HTML(value, apply_default_css=False, **options)


def button(label: str, act: str, kind: str = "quiet", title: str = "", **data: object) -> str:
    """A button whose click reaches the page as ``act`` with ``data``."""
    attributes = "".join(f' data-{name.replace("_", "-")}="{text(value)}"' for name, value in data.items())
    tip = f' title="{text(title)}" aria-label="{text(title)}"' if title else ""
    return f'<button type="button" class="x-button {kind}" data-act="{text(act)}"{attributes}{tip}>{text(label)}</button>'


def picture(uri: str | None, alt: str, kind: str = "thumb") -> str:
    """A picture from a data address; a named gap where it cannot be shown."""
    if uri is None:
        return f'<span class="x-gap {kind}" role="img" aria-label="{text(alt)}: picture missing">picture missing</span>'
    return f'<img class="{kind}" src="{text(uri)}" alt="{text(alt)}">'


def empty(title: str, what_to_do: str) -> str:
    return f'<div class="x-empty"><p class="x-empty-title">{text(title)}</p><p>{text(what_to_do)}</p></div>'


def note(message: str, kind: str = "info") -> str:
    """One sentence set apart. kind: info | warning | error."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="x-note {kind}" role="{role}">{text(message)}</p>'


def notes(messages: Iterable[str], kind: str) -> str:
    return "".join(note(message, kind) for message in messages)


def bar(share: float, label: str) -> str:
    """A progress bar with its meaning in words."""
    percent = max(0.0, min(1.0, share)) * 100
    return (
        f'<div class="x-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" '
        f'aria-label="{text(label)}"><span style="width:{percent:.1f}%"></span></div><p class="x-small">{text(label)}</p>'
    )


def counts(rows: Sequence[tuple[str, int]], act: str, chosen: str | None = None) -> str:
    """Counts as bars that are buttons: a click filters by the label."""
    top = max((count for _, count in rows), default=0) or 1
    cells = []
    for label, count in rows:
        pressed = "true" if label == chosen else "false"
        cells.append(
            f'<button type="button" class="x-count" data-act="{text(act)}" data-value="{text(label)}" aria-pressed="{pressed}">'
            f'<span class="x-count-bar" style="width:{100 * count / top:.0f}%"></span>'
            f'<span class="x-count-label">{text(label)}</span><span class="x-count-number">{count}</span></button>'
        )
    return f'<div class="x-counts">{"".join(cells)}</div>'


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "a moment"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes with a unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            value = count / scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count:.0f} B"


if __name__ == "__main__":
    from pathlib import Path

    style = (Path(__file__).parent / "style.css").read_text("utf-8")
    shown = [empty("Nothing here", "Do this."), note("A warning.", "warning"), bar(0.4, "4 of 10"), counts([("tongue", 3)], "f")]
    print(f"<style>{style}</style>{''.join(shown)}")
