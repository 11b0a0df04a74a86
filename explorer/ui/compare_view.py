"""What the Compare tab shows and does, apart from its layout: rows, detail, flags, one's own photo, exports."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import gradio as gr

from explorer import columns as column_captions
from explorer import comparison as comparisons
from explorer.captions import Caption, Decoding
from explorer.comparison import Column, Comparison, View
from explorer.errors import UserError
from explorer.images import image_id, open_image
from explorer.ui import detail, html, table
from explorer.ui.context import Context


class Comparisons:
    """The comparisons in use, built again only when a run's captions have changed on disk."""

    def __init__(self, context: Context, room: int = 4):
        self.context, self.room = context, room
        self.built: OrderedDict[tuple, Comparison] = OrderedDict()

    def get(self, runs: list[str], columns: list[str] | None, decoding: Decoding | None) -> Comparison:
        """The comparison of runs by name; all columns when none is chosen."""
        found = [self.context.run(name) for name in runs or []]
        wanted = [Column.from_key(key) for key in columns] if columns else comparisons.default_columns(found)
        wanted = [column for column in wanted if column.run in (runs or [])]
        key = (tuple(runs or []), tuple(c.key for c in wanted), decoding, self._stamp(found, wanted, decoding))
        if key not in self.built:
            self.built[key] = comparisons.build(found, self.context.workspace, wanted or None, decoding)
            while len(self.built) > self.room:
                self.built.popitem(last=False)
        self.built.move_to_end(key)
        return self.built[key]

    def _stamp(self, runs, columns, decoding) -> tuple:
        by_name = {run.name: run for run in runs}
        stamps = []
        for column in columns:
            run = by_name[column.run]
            how = decoding or run.config.decoding
            for path in (run.caption_file(column.epoch, how), column_captions.cache_file(self.context.workspace, run, column.epoch, how)):
                stamps.append(path.stat().st_mtime_ns if path.exists() else 0)
        return tuple(stamps)


def decoding_of(beams, max_tokens, prompt) -> Decoding:
    """The decoding the form describes. Raises UserError for a value out of range."""
    if not beams or not 1 <= beams <= 10:
        raise UserError(f"Beams is {beams}: take a whole number from 1 to 10.")
    if not max_tokens or not 1 <= max_tokens <= 200:
        raise UserError(f"The longest caption is {max_tokens} tokens: take a whole number from 1 to 200.")
    return Decoding(int(beams), int(max_tokens), (prompt or "").strip())


def view_of(state: dict, filters, search, order) -> View:
    return View(frozenset(filters or []), search or "", order, state["learning"], state["page"])


def flagged_in(context: Context, comparison: Comparison) -> tuple[frozenset[str], frozenset[tuple]]:
    """(ids of images with a flag, (column key, image id) of flagged captions) among the columns shown."""
    shown = {(column.run, column.checkpoint): column.key for column in comparison.columns}
    cells = frozenset((shown[r, c], image) for r, c, image in context.flags.cells() if (r, c) in shown)
    return frozenset(image for _, image in cells), cells


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
    return known and any(c.key == state["column"] for c in comparison.columns)


def show(context: Context, known: Comparisons, state, runs, filters, search, order, beams, max_tokens, prompt):
    """(columns, rows, pager, learning, missing, fill button, state) for what is chosen."""
    if not runs:
        title, what = ("No run chosen", "Choose a run above.") if context.runs() else ("No runs yet", "Start one in the Fine-tune tab.")
        return "", html.empty(title, what), "", "", "", gr.update(visible=False), state
    comparison = known.get(runs, state["columns"], decoding_of(beams, max_tokens, prompt))
    images, cells = flagged_in(context, comparison)
    view = view_of(state, filters, search, order)
    page = comparison.page(view, images, cells)
    state = {**state, "page": min(view.page, page.pages - 1)}
    if page.total:
        rows = table.table_html(comparison, page, (state["image"], state["column"]), context.thumb)
    else:
        rows = html.empty("No image is left", "Take a filter off, or search for fewer words.")
    text, lacks = missing_html(comparison)
    chips = table.columns_html(column_choices(context, runs), [column.key for column in comparison.columns])
    return (
        chips,
        rows,
        table.pager_html(page, state["page"], len(comparison)),
        table.learning_html(comparison, state["learning"]),
        text,
        gr.update(visible=lacks),
        state,
    )


def show_detail(context: Context, comparison: Comparison, state: dict):
    """(detail, form, reason, correction, note, rest) of the chosen caption; its flag's values when it has one."""
    if not has_choice(comparison, state):
        return gr.skip(), gr.update(visible=False), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    image, captions = captions_at(comparison, state)
    column = Column.from_key(state["column"])
    large = context.thumb(image["path"], image["image_id"], 760)
    flag = _flag_of(context, state, column, captions)
    return (
        detail.detail_html(comparison, image, captions, column, large),
        gr.update(visible=column.key in captions),
        flag.reason if flag else None,
        flag.corrected_caption if flag else "",
        flag.note if flag else "",
        detail.rest_html(comparison, image, captions, column),
    )


def _flag_of(context: Context, state: dict, column: Column, captions: dict[str, Caption]):
    from explorer.flags import flag_id

    if column.key not in captions:
        return None
    return context.flags.get(flag_id(column.run, column.checkpoint, state["image"], captions[column.key].text))


def flag_chosen(context: Context, comparison: Comparison, state: dict, reason, correction, note, reviewer) -> str:
    """Flag the chosen caption; a sentence about it."""
    if not has_choice(comparison, state):
        raise UserError("Choose a caption first: press it in the table.")
    image, captions = captions_at(comparison, state)
    column = Column.from_key(state["column"])
    if column.key not in captions:
        raise UserError("This column has no caption for the image yet: caption the missing ones first.")
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
        (reviewer or "").strip(),
    )
    return f"Flagged “{caption}” of {comparison.label(column)}: {reason or 'other'}."


def best_epoch(comparison: Comparison, state: dict) -> str:
    """The caption nearest to the references among the columns; the last column's when there are no references."""
    from explorer.metrics import goodness

    image, captions = captions_at(comparison, state)
    texts = [captions[c.key].text for c in comparison.columns if c.key in captions]
    return max(texts, key=lambda text: goodness(text, image["references"])) if image["references"] else texts[-1]


def move(comparison: Comparison, state: dict, view: View, images, key: str) -> dict:
    """The state after a key that walks: j k h l n p and the arrows."""
    places = [comparison.images[p]["image_id"] for p in comparison.select(view, images)]
    keys = [c.key for c in comparison.columns]
    if not places or not keys:
        return state
    at = places.index(state["image"]) if state["image"] in places else -1
    column = keys.index(state["column"]) if state["column"] in keys else len(keys) - 1
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
    return {**state, "image": places[at], "column": keys[column], "page": at // view.page_size}


def caption_photo(context: Context, comparison: Comparison, path: str):
    """Caption one's own photo column by column; yields (html, photo) as they come."""
    picture = open_image(path)
    identity = image_id(path)
    folder = context.workspace.cache / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{identity}{Path(path).suffix.lower()}"
    if not kept.exists():
        shutil.copyfile(path, kept)
    photo = {"image_id": identity, "file": Path(path).name, "path": str(kept), "references": [], "captions": {}}
    columns = {(context.run(column.run), column.epoch): column for column in comparison.columns}
    yield _photo_html(comparison, photo, f"captioning it in {len(columns)} columns"), photo
    for said, caption in column_captions.caption_picture(context.shelf, list(columns), picture, comparison.decoding):
        photo = {**photo, "captions": {**photo["captions"], columns[said].key: vars(caption)}}
        waiting = len(columns) - len(photo["captions"])
        yield _photo_html(comparison, photo, f"captioning it in {waiting} more columns" if waiting else ""), photo


def _photo_html(comparison: Comparison, photo: dict, waiting: str) -> str:
    rows = []
    for column in comparison.columns:
        if column.key in photo["captions"]:
            rows.append(
                f'<dt>{html.text(comparison.label(column))}</dt><dd><button type="button" class="x-cell" data-act="choose" '
                f'data-image="{photo["image_id"]}" data-column="{html.text(column.key)}">'
                f"{html.text(photo['captions'][column.key]['text'] or 'no words')}</button></dd>"
            )
    wait = html.note(waiting) if waiting else '<p class="x-small">Press a caption to see its words or to flag it.</p>'
    return f'<div class="x-detail"><dl>{"".join(rows)}</dl>{wait}</div>'


def export_files(context: Context, comparison: Comparison, view: View, runs: list[str]) -> list[str]:
    """The view as CSV and, for each run, a contact sheet an epoch."""
    from explorer import report

    folder = Path(tempfile.mkdtemp(prefix="export-", dir=_made(context.workspace.cache / "exports")))
    images, _ = flagged_in(context, comparison)
    csv = folder / "comparison.csv"
    comparison.write_csv(csv, view, images)
    sheets = [path for name in runs for path in report.contact_sheets(context.run(name), folder / name)]
    return [str(csv), *map(str, sheets)]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def column_choices(context: Context, runs: list[str]) -> list[tuple[str, str]]:
    """(label, key) of every column the runs offer."""
    found = [context.run(name) for name in runs or []]
    labels = Comparison([], [], {}, len(found) > 1)
    return [(labels.label(column), column.key) for column in comparisons.default_columns(found)]


def toggled(choices: list[tuple[str, str]], shown: list[str], key: str) -> list[str] | None:
    """The columns after a chip was pressed, in their usual order; never none of them."""
    wanted = {*shown} ^ {key}
    return [each for _, each in choices if each in wanted] or shown
