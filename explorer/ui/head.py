"""What stands above the comparison: the columns as chips, the picture of learning, the runs' settings, the keys."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.compare.comparison import FILTERS, Comparison
from explorer.flag.flags import REASONS
from explorer.ui import html

SHORTCUTS = (
    ("j or ↓, k or ↑", "next, previous image"),
    ("h, l", "column to the left, to the right"),
    ("H, L", "move that column to the left, to the right"),
    ("n, p", "next, previous page"),
    ("w, W", "where every column looked for the next, the previous word of the chosen caption"),
    ("f", "flag the chosen caption"),
    ("1 to 8", "flag it with a reason: " + ", ".join(f"{n} {reason}" for n, reason in enumerate(REASONS, 1))),
    ("c", "type the correction; Escape leaves it"),
    ("u", "undo the last change to the flags"),
    ("/", "search"),
    ("?", "show or hide this list"),
)

HELP = """
const dialog = element.querySelector('dialog');
element.addEventListener('click', event => {
  if (event.target.closest('[data-open]')) dialog.showModal();
  if (event.target.closest('[data-close]') || event.target === dialog) dialog.close();
});
"""
"""js_on_load of the help: a dialog of the browser's own, which holds the focus, closes on Escape and gives the focus back."""


def help_html() -> str:
    """A button and the dialog it opens: the keys, and what the filters mean."""
    keys = "".join(f"<tr><td><kbd>{html.text(keys)}</kbd></td><td>{html.text(what)}</td></tr>" for keys, what in SHORTCUTS)
    meanings = "".join(f"<tr><td>{html.text(name)}</td><td>{html.text(what)}</td></tr>" for name, what in FILTERS.items())
    return (
        '<button type="button" class="x-button" data-open aria-haspopup="dialog">Keys and filters <kbd>?</kbd></button>'
        '<dialog class="x-help" aria-labelledby="keys-title"><p class="x-heading" id="keys-title">Keys, silent while you type</p>'
        f'<table>{keys}</table><p class="x-heading">What the filters mean</p><table>{meanings}</table>'
        '<button type="button" class="x-button main" data-close>Close</button></dialog>'
    )


def columns_html(choices: Sequence[tuple[str, str]], shown: Sequence[str]) -> str:
    """The columns as chips, those shown first and in order: put on and off by a press, moved by the arrows beside the name."""
    labels = {key: label for label, key in choices}
    on = [_chip(labels[key], key, place > 0, place + 1 < len(shown)) for place, key in enumerate(shown) if key in labels]
    off = [
        f'<span class="x-chip off"><button type="button" data-act="column" data-value="{html.text(key)}" aria-pressed="false">'
        f"{html.text(label)}</button></span>"
        for label, key in choices
        if key not in shown
    ]
    return f'<div class="x-chips" role="group" aria-label="columns"><span class="x-small">Columns</span>{"".join(on)}{"".join(off)}</div>'


def _chip(label: str, key: str, left: bool, right: bool) -> str:
    def arrow(sign: str, by: int, can: bool) -> str:
        way = "left" if by < 0 else "right"
        return (
            f'<button type="button" class="x-move" data-act="move" data-value="{html.text(key)}" data-by="{by}" '
            f'aria-label="move {html.text(label)} to the {way}" title="move to the {way}"{"" if can else " disabled"}>{sign}</button>'
        )

    return (
        f'<span class="x-chip">{arrow("‹", -1, left)}<button type="button" data-act="column" data-value="{html.text(key)}" '
        f'aria-pressed="true">{html.text(label)}</button>{arrow("›", 1, right)}</span>'
    )


def learning_html(comparison: Comparison, chosen: str | None) -> str:
    """How many images were learned when, as columns of a small picture; a press shows its images."""
    counts = comparison.learning_counts()
    if not counts:
        return ""
    most = max(count for _, count in counts)
    bars = "".join(_history_bar(name, count, count / most, name == chosen) for name, count in counts)
    say = "When each image's caption came near its references, its first noun among theirs: a hint, not a verdict. Press a bar to see its images."
    return f'<div class="x-history-frame"><div class="x-history" role="group" aria-label="learning history">{bars}</div><p class="x-small">{say}</p></div>'


def _history_bar(name: str, count: int, share: float, chosen: bool) -> str:
    kind = name.split()[0]
    return (
        f'<button type="button" class="x-history-bar {html.text(kind)}" data-act="learning" data-value="{html.text(name)}" '
        f'aria-pressed="{"true" if chosen else "false"}" aria-label="{html.text(name)}: {count} images">'
        f'<span class="count">{count}</span><span class="room"><span class="bar" style="height:{max(4, round(100 * share))}%"></span></span>'
        f'<span class="name">{html.text(name)}</span></button>'
    )


def settings_html(names: Sequence[str], differing: Sequence[tuple[str, Sequence[str]]]) -> str:
    """What several runs were set otherwise, folded; nothing for one run."""
    if len(names) < 2:
        return ""
    if not differing:
        return '<p class="x-small">These runs were made with the same settings.</p>'
    heads = "".join(f'<th scope="col">{html.text(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{html.text(name)}</th>{"".join(f"<td>{html.text(value)}</td>" for value in values)}</tr>'
        for name, values in differing
    )
    count = f"{len(differing)} setting{'s' if len(differing) > 1 else ''} differ{'' if len(differing) > 1 else 's'}"
    return (
        f'<details class="x-settings"><summary>{count} between these runs</summary>'
        f'<table class="x-runs"><thead><tr><th scope="col">setting</th>{heads}</tr></thead><tbody>{rows}</tbody></table></details>'
    )
