"""What the Compare tab shows and does, apart from its layout: which comparison, its rows, the detail, flags."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property

import gradio as gr

from explorer.compare import columns as column_captions
from explorer.compare import comparison as comparisons
from explorer.compare import link, photos, warming
from explorer.compare.comparison import LEFT, REFERENCE, Column, Comparison, View
from explorer.errors import UserError
from explorer.model.captions import Caption, Decoding
from explorer.ui import detail, head, html, table
from explorer.ui.context import Context

START = {"page": 0, "learning": None, "image": None, "column": None, "photo": None, "columns": None, "runs": None}
"""What a visitor has chosen that no form of the page holds; ``runs``: those that ``columns`` were chosen for; None
until the page has been filled."""


class Comparisons:
    """The comparisons in use, built again only when captions or kept photos have changed on disk."""

    def __init__(self, context: Context, room: int = 4):
        self.context, self.room = context, room
        self.built: OrderedDict[tuple, Comparison] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, runs: list[str], columns: list[str] | None, decoding: Decoding | None, held: str | None = None) -> Comparison:
        """The comparison of runs by name with the columns that are put on; when none are, those to begin with.

        Among these stays ``held``, in which something is chosen, whatever epochs have come since.
        """
        whole = self.whole(runs, decoding)
        asked = [Column.from_key(key) for key in columns or () if key in whole.captions]
        first = comparisons.first_columns(whole.columns)
        return whole.only(asked or [column for column in whole.columns if column in first or column.key == held])

    def whole(self, runs: list[str], decoding: Decoding | None) -> Comparison:
        """The same with every column the runs offer."""
        found = [self.context.run(name) for name in runs or []]
        columns = comparisons.default_columns(found)
        key = (self.context.workspace.root, tuple(runs or []), decoding, self._stamp(found, columns, decoding))
        with self.lock:
            if key not in self.built:
                self.built[key] = comparisons.build(found, self.context.workspace, columns, decoding)
                while len(self.built) > self.room:
                    self.built.popitem(last=False)
            self.built.move_to_end(key)
            return self.built[key]

    def _stamp(self, runs, columns, decoding) -> tuple:
        by_name = {run.name: run for run in runs}
        stamps = [photos.stamp(self.context.workspace)]
        for column in columns:
            run = by_name[column.run]
            how = decoding or run.config.decoding
            for path in (run.caption_file(column.epoch, how), column_captions.cache_file(self.context.workspace, run, column.epoch, how)):
                stamps.append(path.stat().st_mtime_ns if path.exists() else 0)
        return (*(column.key for column in columns), *stamps)


@dataclass(frozen=True)
class Chosen:
    """Everything the page's forms and its state say about what to show."""

    state: dict
    runs: list[str]
    filters: list[str]
    search: str
    order: str
    against: str
    beams: float | None
    max_tokens: float | None
    prompt: str

    @property
    def decoding(self) -> Decoding:
        return decoding_of(self.beams, self.max_tokens, self.prompt)

    @property
    def view(self) -> View:
        state = self.state
        return View(
            frozenset(self.filters or []), self.search or "", self.order, state["learning"], state["page"], against=self.against or LEFT
        )

    @property
    def typed(self) -> list:
        """What stands in the fields one types in; `show` notes in the state what of it the table shows."""
        return [self.search or "", self.beams, self.max_tokens, self.prompt or ""]

    @property
    def cell(self) -> tuple[str, str]:
        return self.state["image"], self.state["column"]

    def but(self, **state) -> Chosen:
        """The same with other values in its state."""
        return replace(self, state={**self.state, **state})


class Shown:
    """The comparison a `Chosen` asks for: ``whole`` with every column its runs offer, ``table`` with those put on."""

    def __init__(self, context: Context, known: Comparisons, chosen: Chosen):
        self.context, self.chosen = context, chosen
        self.whole = known.whole(chosen.runs, chosen.decoding)
        self.table = known.get(chosen.runs, chosen.state["columns"], chosen.decoding, chosen.state["column"])

    @cached_property
    def flagged(self) -> tuple[frozenset[str], frozenset[tuple]]:
        """(ids of images with a flag, (column key, image id) of flagged captions) among the columns shown."""
        shown = {(column.run, column.checkpoint): column.key for column in self.table.columns}
        cells = frozenset((shown[r, c], image) for r, c, image in self.context.flags.cells() if (r, c) in shown)
        return frozenset(image for _, image in cells), cells

    @property
    def choices(self) -> list[tuple[str, str]]:
        return [(self.whole.label(column), column.key) for column in self.whole.columns]


def decoding_of(beams, max_tokens, prompt) -> Decoding:
    """The decoding the form describes. Raises UserError for a value out of range."""
    if not beams or not 1 <= beams <= 10:
        raise UserError(f"Beams is {beams}: take a whole number from 1 to 10.")
    if not max_tokens or not 1 <= max_tokens <= 200:
        raise UserError(f"The longest caption is {max_tokens} tokens: take a whole number from 1 to 200.")
    return Decoding(int(beams), int(max_tokens), (prompt or "").strip())


# --- what the page shows, by the names of its parts -------------------------------------------------------


def show(context: Context, known: Comparisons, chosen: Chosen) -> dict:
    """The table and what stands around it."""
    if not chosen.runs:
        title, what = ("No run chosen", "Choose a run above.") if context.runs() else ("No runs yet", "Start one in the Fine-tune tab.")
        blank = dict.fromkeys(("columns", "pager", "learning", "missing", "settings"), "")
        return {
            **blank,
            "rows": html.empty(title, what),
            "fill": gr.update(visible=False),
            "pace": gr.Timer(active=False),
            "state": chosen.state,
        }
    shown = Shown(context, known, chosen)
    scoring = warming.progress(shown.table)
    if scoring and warming.needs_scores(chosen.view):
        waiting = {"rows": scoring_html(*scoring), "pager": "", "pace": gr.Timer(active=True)}
        return {**waiting, "share": share_html(chosen), "state": chosen.state}
    images, cells = shown.flagged
    page = shown.table.page(chosen.view, images, cells)
    against = against_update(shown, chosen)
    marks = [key for _, key in shown.choices]
    chosen = chosen.but(page=min(chosen.state["page"], page.pages - 1), typed=chosen.typed, marks=marks)
    if page.total:
        rows = table.table_html(shown.table, page, chosen.cell, context.thumb, chosen.against)
    else:
        rows = html.empty("No image is left", "Take a filter off, or search for fewer words.")
    text, lacks = missing_html(shown.table)
    return {
        "columns": head.columns_html(shown.choices, shown.table.keys),
        "rows": rows,
        "pager": table.pager_html(page, chosen.state["page"], len(shown.table)),
        "learning": scoring_html(*scoring) if scoring else head.learning_html(shown.table, chosen.state["learning"]),
        "pace": gr.Timer(active=bool(scoring)),
        "settings": head.settings_html(chosen.runs, comparisons.differing_settings([context.run(name) for name in chosen.runs])),
        "missing": text,
        "fill": gr.update(visible=lacks),
        "against": against,
        "share": share_html(chosen),
        "state": chosen.state,
    }


def scoring_html(done: int, total: int) -> str:
    return html.bar(
        done / max(1, total), f"Holding captions against references: {done:,} of {total:,} images. Filters and orders by it follow."
    )


def against_update(shown: Shown, chosen: Chosen):
    """What words can be marked against: the column to the left, the nearest reference, any column.

    Nothing while that stays as it was: an answer on its way must not take back what is chosen meanwhile.
    """
    choices = [("the column to the left", LEFT), ("the nearest reference", REFERENCE), *shown.choices]
    if [key for _, key in shown.choices] == chosen.state.get("marks"):
        return gr.skip()
    return gr.update(choices=choices, value=chosen.against if chosen.against in {value for _, value in choices} else LEFT)


def share_html(chosen: Chosen) -> str:
    """The link to this view, as the data of its button."""
    state, how = chosen.state, chosen.decoding
    query = link.to_query(link.Link(tuple(chosen.runs), tuple(state["columns"] or ()), chosen.view, state["image"], state["column"], how))
    return (
        f'<span class="x-chips" data-query="{html.text(query)}"><button type="button" class="x-button" data-copy>Copy link</button></span>'
    )


def missing_html(comparison: Comparison) -> tuple[str, bool]:
    """(what lacks captions, whether anything does)."""
    lacking = comparison.missing()
    if not lacking:
        return "", False
    parts = [f"{comparison.label(column)}: {len(images)}" for column, images in lacking]
    return html.note(f"Not captioned yet with this decoding: {', '.join(parts)} images.", "info"), True


def captions_at(comparison: Comparison, state: dict) -> tuple[dict, dict[str, Caption]]:
    """(image, its captions by column key) of what the detail shows: an image of the table, or one's own photo."""
    photo = state.get("photo")
    if photo and photo["image_id"] == state["image"]:
        return photo, {
            key: Caption(**{**values, "words": tuple(values["words"]), "probabilities": tuple(values["probabilities"])})
            for key, values in photo["captions"].items()
        }
    place = comparison.places[state["image"]]
    found = {c.key: comparison.captions[c.key][place] for c in comparison.columns}
    return comparison.images[place], {key: caption for key, caption in found.items() if caption}


def has_choice(comparison: Comparison, state: dict) -> bool:
    photo = state.get("photo")
    known = state["image"] in comparison.places or bool(photo and photo["image_id"] == state["image"])
    return known and state["column"] in comparison.keys


def show_detail(context: Context, comparison: Comparison, state: dict) -> dict:
    """The chosen caption large, and the form to flag it, with its flag's values when it has one."""
    if not has_choice(comparison, state):
        return {"form": gr.update(visible=False)}
    image, captions = captions_at(comparison, state)
    column = Column.from_key(state["column"])
    large = context.thumb(image["path"], image["image_id"], 760)
    flag = _flag_of(context, state, column, captions)
    said = captions[column.key].text if column.key in captions else "not captioned yet"
    return {
        "choice": table.choice_html(image, comparison.label(column), said, column.key),
        "detail": detail.detail_html(comparison, image, captions, column, large),
        "form": gr.update(visible=column.key in captions),
        "reason": flag.reason if flag else None,
        "correction": flag.corrected_caption if flag else "",
        "note": flag.note if flag else "",
        "rest": detail.rest_html(comparison, image, captions, column),
    }


def _flag_of(context: Context, state: dict, column: Column, captions: dict[str, Caption]):
    from explorer.flag.flags import flag_id

    if column.key not in captions:
        return None
    return context.flags.get(flag_id(column.run, column.checkpoint, state["image"], captions[column.key].text))


# --- what a person does -----------------------------------------------------------------------------------


def flag_chosen(context: Context, comparison: Comparison, state: dict, reason, correction, note, reviewer) -> str:
    """Flag the chosen caption; a sentence about it."""
    if not has_choice(comparison, state):
        raise UserError("Choose a caption first: press it in the table.")
    image, captions = captions_at(comparison, state)
    column = Column.from_key(state["column"])
    if column.key not in captions:
        raise UserError("This column has no caption for the image yet: caption the missing ones first.")
    if context.settings.public and context.is_upload(image["path"]):
        raise UserError("This is a photo of your own, and flags on a public page are seen by everybody: run the explorer on your machine to flag it.")
    context.texts(correction, note)
    context.take("flag")
    caption = captions[column.key].text
    context.flags.flag(
        column.run,
        column.checkpoint,
        image["image_id"],
        image["file"],
        image["references"],
        caption,
        reason or "other",
        (correction or "").strip(),
        (note or "").strip(),
        context.reviewer(reviewer),
        only_own=not context.may("review"),
    )
    return f"Flagged “{caption}” of {comparison.label(column)}: {reason or 'other'}."


def best_epoch(comparison: Comparison, state: dict) -> str:
    """The caption nearest to the references among the columns; the last column's when there are no references."""
    from explorer.scoring.metrics import goodness

    image, captions = captions_at(comparison, state)
    texts = [captions[c.key].text for c in comparison.columns if c.key in captions]
    return max(texts, key=lambda text: goodness(text, image["references"])) if image["references"] else texts[-1]


def walk(shown: Shown, key: str) -> dict:
    """The state after a key that walks: j k h l n p and the arrows."""
    state, view, table = shown.chosen.state, shown.chosen.view, shown.table
    places, keys = table.select(view, shown.flagged[0]), table.keys
    if not len(places) or not keys:
        return state
    at, column = _where(table, places, state)
    if key in ("j", "ArrowDown"):
        at = min(at + 1, len(places) - 1)
    elif key in ("k", "ArrowUp"):
        at = max(at - 1, 0)
    elif key in ("n", "p"):
        step = view.page_size if key == "n" else -view.page_size
        at = max(0, min(max(at, 0) + step, len(places) - 1))
    elif key in ("h", "l"):
        column = max(0, min(column + (1 if key == "l" else -1), len(keys) - 1))
    at = max(at, 0)
    return {**state, "image": table.images[places[at]]["image_id"], "column": keys[column], "page": at // view.page_size}


def _where(table: Comparison, places, state: dict) -> tuple[int, int]:
    """(place among the rows shown, -1 for none; place among the columns) of what is chosen."""
    found = [number for number, place in enumerate(places) if table.images[place]["image_id"] == state["image"]]
    return found[0] if found else -1, table.keys.index(state["column"]) if state["column"] in table.keys else len(table.keys) - 1


def toggled(choices: list[tuple[str, str]], shown: list[str], key: str) -> list[str]:
    """The columns after a chip was pressed; never none of them. A column put on comes before those usually after it."""
    if key in shown:
        return [each for each in shown if each != key] or shown
    usual = [each for _, each in choices]
    if key not in usual:
        return shown
    later = {*usual[usual.index(key) :]}
    place = next((place for place, each in enumerate(shown) if each in later), len(shown))
    return [*shown[:place], key, *shown[place:]]


def moved(shown: list[str], key: str | None, by: int) -> list[str]:
    """The columns with one of them a place further to the left (``by`` -1) or right (1)."""
    if key not in shown:
        return shown
    at = shown.index(key)
    others = [each for each in shown if each != key]
    place = max(0, min(at + by, len(others)))
    return [*others[:place], key, *others[place:]]
