"""What pressing and typing on Compare does: from what is chosen to the parts of the page that change, by name."""

from __future__ import annotations

from dataclasses import replace

from explorer.compare import link
from explorer.errors import UserError
from explorer.flag.flags import REASONS
from explorer.ui import html
from explorer.ui.compare_view import Chosen, Comparisons, Shown, flag_chosen, moved, share_html, show, show_detail, toggled, walk
from explorer.ui.context import Context

CHOSEN = ("state", "runs", "filters", "search", "order", "against", "beams", "max_tokens", "prompt")
"""The parts of the page that make a `Chosen`, in its order."""
FORM = ("reason", "correction", "note", "reviewer")
SHOWN = ("columns", "rows", "pager", "learning", "settings", "missing", "fill", "against", "share", "pace", "state")
DETAIL = ("choice", "detail", "form", "reason", "correction", "note", "rest")


class Tab:
    """The tab's components by name, and what they say about what to show."""

    def __init__(self, context: Context, ui: dict):
        self.context, self.ui, self.known = context, ui, Comparisons(context)
        self.inputs = {ui[name] for name in (*CHOSEN, "photo_state")}

    def parts(self, *names: str) -> list:
        return [self.ui[name] for name in names]

    def put(self, named: dict) -> dict:
        return {self.ui[name]: value for name, value in named.items()}

    def chosen(self, values: dict) -> Chosen:
        found = Chosen(*(values[self.ui[name]] for name in CHOSEN))
        return found.but(photo=values[self.ui["photo_state"]])

    def shown(self, values: dict) -> Shown:
        return self.of(self.chosen(values))

    def of(self, chosen: Chosen) -> Shown:
        if not chosen.runs:
            raise UserError("No run is chosen: choose one above.")
        return Shown(self.context, self.known, chosen)

    def refreshed(self, values: dict, last: bool = False, **state) -> dict:
        """The table anew after ``state`` changed. ``last``: on its last page, with nothing filtered away by a bar."""
        chosen = self.chosen(values).but(**state)
        if last:
            chosen = chosen.but(page=10**9, learning=None)
        return self.put(show(self.context, self.known, chosen))


def with_runs(context: Context, known: Comparisons, chosen: Chosen) -> dict:
    """The page after other runs were chosen: columns of runs that stay keep their order, the decoding is the first run's own."""
    state, runs = chosen.state, chosen.runs or []
    kept = [key for key in state["columns"] or () if key.rpartition("@")[0] in runs]
    fresh = [name for name in runs if name not in (state["runs"] or [])]
    chosen = chosen.but(runs=runs, columns=None, page=0, learning=None)
    if not runs:
        return show(context, known, chosen)
    if not state["runs"] or runs[0] != state["runs"][0]:
        how = context.run(runs[0]).config.decoding
        chosen = replace(chosen, beams=how.beams, max_tokens=how.max_tokens, prompt=how.prompt)
    if kept:
        offered = Shown(context, known, chosen).whole.columns
        chosen = chosen.but(columns=kept + [column.key for column in offered if column.run in fresh])
    forms = {"beams": chosen.beams, "max_tokens": chosen.max_tokens, "prompt": chosen.prompt}
    return {**show(context, known, chosen), **forms}


def after_press(shown: Shown, event) -> Chosen:
    """What is chosen after a chip, a bar or a page button was pressed."""
    chosen, keys = shown.chosen, shown.table.keys
    if event.act == "page":
        return chosen.but(page=max(0, chosen.state["page"] + (1 if event.value == "next" else -1)))
    if event.act == "column":
        return chosen.but(columns=toggled(shown.choices, keys, event.value), page=0)
    if event.act == "move":
        return chosen.but(columns=moved(keys, event.value, 1 if event.by == "1" else -1))
    return chosen.but(learning=None if chosen.state["learning"] == event.value else event.value, page=0)


def on_choice(tab: Tab, chosen: Chosen) -> dict:
    """A caption was chosen: its detail; the table marks it by itself."""
    shown = tab.of(chosen)
    return {"state": chosen.state, "share": share_html(chosen), "said": "", **show_detail(tab.context, shown.table, chosen.state)}


def on_flag(tab: Tab, chosen: Chosen, reason, correction, note, reviewer) -> dict:
    """The chosen caption was flagged: the table with its mark, the detail with the flag's values, a sentence."""
    table_now = tab.of(chosen).table
    said = flag_chosen(tab.context, table_now, chosen.state, reason, correction, note, reviewer)
    shown = show(tab.context, tab.known, chosen)
    return {**shown, **show_detail(tab.context, table_now, shown["state"]), "said": html.note(said)}


def on_undo(tab: Tab, chosen: Chosen, reviewer: str | None) -> dict:
    """The reviewer's own last change was taken back; anybody's where no reviewer is named."""
    tab.context.take("flag")
    what = tab.context.flags.undo(tab.context.reviewer(reviewer) or None)
    shown = show(tab.context, tab.known, chosen)
    detail = show_detail(tab.context, tab.of(chosen).table, shown["state"]) if chosen.runs else {}
    return {**shown, **detail, "said": html.note(f"Undone: {what}." if what else "There is nothing left to undo.")}


def on_key(tab: Tab, chosen: Chosen, key: str, reason, correction, note, reviewer) -> dict:
    """A key of `head.SHORTCUTS`."""
    if key == "u":
        return on_undo(tab, chosen, reviewer)
    if key == "f" or key.isdigit():
        picked = REASONS[int(key) - 1] if key.isdigit() else reason
        return on_flag(tab, chosen, picked, correction, note, reviewer)
    shown = tab.of(chosen)
    if key in ("H", "L"):
        order = moved(shown.table.keys, chosen.state["column"], 1 if key == "L" else -1)
        return show(tab.context, tab.known, chosen.but(columns=order))
    walked = replace(chosen, state=walk(shown, key))
    if walked.state["page"] == chosen.state["page"]:
        return on_choice(tab, walked)
    return {**show(tab.context, tab.known, walked), **show_detail(tab.context, shown.table, walked.state)}


def opened(context: Context, chosen: Chosen, asked: link.Link) -> tuple[Chosen, dict]:
    """(what a link makes the page show, the values its forms get)."""
    how = asked.decoding or context.run(chosen.runs[0]).config.decoding
    view = asked.view
    forms = {
        "filters": sorted(view.filters),
        "search": view.search,
        "order": view.order,
        "beams": how.beams,
        "max_tokens": how.max_tokens,
        "prompt": how.prompt,
    }
    chosen = replace(chosen, **forms, against=view.against)
    state = {"page": view.page, "learning": view.learning, "image": asked.image, "column": asked.column}
    return chosen.but(**state, runs=chosen.runs, columns=list(asked.columns) or None), forms
