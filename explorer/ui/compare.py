"""The Compare tab: captions side by side for the base and every epoch, your own photo in every column, flags."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import gradio as gr

from explorer import columns as column_captions
from explorer import comparison as comparisons
from explorer.captions import Caption, Decoding
from explorer.comparison import FILTERS, ORDERS, Column, Comparison, View
from explorer.errors import UserError
from explorer.flags import REASONS
from explorer.images import image_id, open_image
from explorer.ui import html, table
from explorer.ui.context import Context, told
from explorer.wording import nearest


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


# --- layout -----------------------------------------------------------------------------------------------


def build(context: Context) -> dict:
    """Lay out the tab inside a gr.Tab; returns the components other parts of the page need."""
    runs = [run.name for run in context.runs() if run.checkpoints()]
    state = gr.State({"page": 0, "learning": None, "image": None, "column": None, "photo": None, "columns": None})
    with gr.Row(equal_height=False):
        run = gr.Dropdown(runs, value=runs[:1], multiselect=True, allow_custom_value=True, label="Runs", elem_id="compare-runs", scale=2, min_width=220)
        search = gr.Textbox(label="Search words", placeholder="in captions, references, file names", scale=2, min_width=180, elem_id="compare-search")
        order = gr.Dropdown(list(ORDERS), value=ORDERS[0], label="Order", scale=1, min_width=150)
    columns = html.piece(elem_id="compare-columns", js_on_load=html.ACTIONS)
    filters = gr.CheckboxGroup(list(FILTERS), label="Only images that are", elem_id="compare-filters")
    learning = html.piece(elem_id="learning", js_on_load=html.ACTIONS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=8, min_width=320):
            rows = html.piece(elem_id="comparison", js_on_load=html.ACTIONS + table.KEYS)
            missing = html.piece(elem_id="missing")
            with gr.Row():
                fill = gr.Button("Caption the missing ones", visible=False, size="sm")
                halt = gr.Button("Stop captioning", visible=False, size="sm", variant="stop")
            pager = html.piece(elem_id="pager", js_on_load=html.ACTIONS)
        with gr.Column(scale=3, min_width=300, elem_id="detail-column"):
            detail = _detail_part()
    more = _more_part()
    ui = {
        "state": state, "runs": run, "search": search, "order": order, "columns": columns, "filters": filters, "learning": learning,
        "rows": rows, "missing": missing, "fill": fill, "halt": halt, "pager": pager, **detail, **more,
    }
    _wire(context, ui)
    return ui


def _detail_part() -> dict:
    detail = html.piece(html.empty("No caption chosen", "Press a caption or a picture to see it large, word by word, and to flag it."), elem_id="detail")
    with gr.Group(visible=False, elem_id="flag-form") as form:
        reason = gr.Radio(list(REASONS), value=None, label="What is wrong with it", elem_id="reason-choice")
        correction = gr.Textbox(label="Corrected caption", lines=2, elem_id="correction", placeholder="what it should say")
        with gr.Row():
            use_reference = gr.Button("Use nearest reference", size="sm", min_width=120)
            use_best = gr.Button("Use best epoch", size="sm", min_width=120)
        with gr.Accordion("Note and reviewer", open=False):
            note = gr.Textbox(label="Note", lines=1)
            reviewer = gr.Textbox(label="Reviewer", lines=1)
        with gr.Row():
            flag = gr.Button("Flag this caption", variant="primary", elem_id="flag-button")
            undo = gr.Button("Undo", elem_id="flag-undo", min_width=80)
    said = html.piece(elem_id="flag-said")
    rest = html.piece(elem_id="detail-rest")
    return {
        "detail": detail, "rest": rest, "form": form, "reason": reason, "correction": correction, "use_reference": use_reference, "use_best": use_best,
        "note": note, "reviewer": reviewer, "flag": flag, "undo": undo, "said": said,
    }


def _more_part() -> dict:
    with gr.Accordion("Your own photo, captioned by every column", open=False, elem_id="own-photo"), gr.Row():
        photo = gr.Image(type="filepath", label="Drop, paste or take a photo", sources=["upload", "clipboard", "webcam"], height=240, min_width=240, elem_id="photo")
        photo_captions = html.piece(html.empty("No photo yet", "Drop a photo here: each column above says what it sees."), elem_id="photo-captions", js_on_load=html.ACTIONS)
    with gr.Accordion("Decoding: how captions are generated, the same for all columns", open=False), gr.Row():
        beams = gr.Number(1, label="Beams", precision=0, minimum=1, maximum=10, min_width=80)
        max_tokens = gr.Number(30, label="Longest caption in tokens", precision=0, minimum=1, maximum=200, min_width=120)
        prompt = gr.Textbox("", label="Prompt", placeholder="such as: a photo of", min_width=160)
    with gr.Accordion("Export", open=False):
        export = gr.Button("Make the table as CSV and a contact sheet an epoch", size="sm", elem_id="export")
        exported = gr.File(label="Files", file_count="multiple", interactive=False, visible=False, elem_id="exported")
    with gr.Accordion("Keys, and what the filters mean", open=False, elem_id="keyboard-help") as keyboard:
        html.piece(table.help_html())
    return {
        "photo": photo, "photo_captions": photo_captions, "beams": beams, "max_tokens": max_tokens, "prompt": prompt,
        "export": export, "exported": exported, "keyboard": keyboard,
    }


# --- what is shown ----------------------------------------------------------------------------------------


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
        return photo, {key: Caption(**{**values, "words": tuple(values["words"]), "probabilities": tuple(values["probabilities"])})
                       for key, values in photo["captions"].items()}
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
    return chips, rows, table.pager_html(page, state["page"], len(comparison)), table.learning_html(comparison, state["learning"]), text, gr.update(visible=lacks), state


def show_detail(context: Context, comparison: Comparison, state: dict):
    """(detail, form, reason, correction, note, rest) of the chosen caption; its flag's values when it has one."""
    if not has_choice(comparison, state):
        return gr.skip(), gr.update(visible=False), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    image, captions = captions_at(comparison, state)
    column = Column.from_key(state["column"])
    large = context.thumb(image["path"], image["image_id"], 760)
    flag = _flag_of(context, state, column, captions)
    return (
        table.detail_html(comparison, image, captions, column, large), gr.update(visible=column.key in captions),
        flag.reason if flag else None, flag.corrected_caption if flag else "", flag.note if flag else "",
        table.rest_html(comparison, image, captions, column),
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
        column.run, column.checkpoint, image["image_id"], image["file"], image["references"], caption,
        reason or "other", (correction or "").strip(), (note or "").strip(), (reviewer or "").strip(),
    )
    return f"Flagged “{caption}” of {comparison.label(column)}: {reason or 'other'}."


def best_epoch(comparison: Comparison, state: dict) -> str:
    """The caption nearest to the references among the columns; the last column's when there are no references."""
    from explorer.metrics import goodness

    image, captions = captions_at(comparison, state)
    texts = [captions[c.key].text for c in comparison.columns if c.key in captions]
    return max(texts, key=lambda text: goodness(text, image["references"])) if image["references"] else texts[-1]


# --- handlers ---------------------------------------------------------------------------------------------


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
    for count, column in enumerate(comparison.columns):
        yield _photo_html(comparison, photo, f"loading {comparison.label(column)} ({count + 1} of {len(comparison.columns)})"), photo
        run = context.run(column.run)
        caption = column_captions.caption_picture(context.shelf, run, column.epoch, picture, comparison.decoding)
        photo = {**photo, "captions": {**photo["captions"], column.key: vars(caption)}}
    yield _photo_html(comparison, photo, ""), photo


def _photo_html(comparison: Comparison, photo: dict, waiting: str) -> str:
    rows = []
    for column in comparison.columns:
        if column.key in photo["captions"]:
            rows.append(
                f'<dt>{html.text(comparison.label(column))}</dt><dd><button type="button" class="x-cell" data-act="choose" '
                f'data-image="{photo["image_id"]}" data-column="{html.text(column.key)}">'
                f'{html.text(photo["captions"][column.key]["text"] or "no words")}</button></dd>'
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


def _wire(context: Context, ui: dict) -> None:
    known = Comparisons(context)
    ui["known"] = known
    chosen = [ui[n] for n in ("state", "runs", "filters", "search", "order", "beams", "max_tokens", "prompt")]
    shown = [ui[n] for n in ("columns", "rows", "pager", "learning", "missing", "fill", "state")]
    details = [ui[n] for n in ("detail", "form", "reason", "correction", "note", "rest")]

    @told
    def refresh(state, *rest):
        return show(context, known, state, *rest)

    def from_start(state, *rest):
        return refresh({**state, "page": 0}, *rest)

    def comparison_of(state, runs, beams, max_tokens, prompt) -> Comparison:
        return known.get(runs, state["columns"], decoding_of(beams, max_tokens, prompt))

    def new_runs(state, *rest):
        return refresh({**state, "page": 0, "learning": None, "columns": None}, *rest)

    @told
    def act(state, runs, filters, search, order, beams, max_tokens, prompt, reason, correction, note, reviewer, event: gr.EventData):
        """Everything pressed or typed in the table, the pager, the bars and the photo's captions."""
        rest = (runs, filters, search, order, beams, max_tokens, prompt)
        said, keyboard = gr.skip(), gr.skip()
        if not runs:
            return [gr.skip()] * (len(shown) + len(details) + 2)
        comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        if event.act == "choose":
            state = {**state, "image": event.image, "column": event.column}
        elif event.act == "page":
            state = {**state, "page": int(event.value)}
        elif event.act == "column":
            state = {**state, "columns": toggled(column_choices(context, runs), [c.key for c in comparison.columns], event.value), "page": 0}
            comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        elif event.act == "learning":
            state = {**state, "learning": None if state["learning"] == event.value else event.value, "page": 0}
        elif event.value == "?":
            return [*[gr.skip()] * (len(shown) + len(details) + 1), gr.update(open=True)]
        elif event.value == "u":
            said = html.note(_undone(context.flags.undo()))
        elif event.value == "f" or event.value.isdigit():
            picked = REASONS[int(event.value) - 1] if event.value.isdigit() else reason
            said = html.note(flag_chosen(context, comparison, state, picked, correction, note, reviewer))
        else:
            images, _ = flagged_in(context, comparison)
            state = move(comparison, state, view_of(state, filters, search, order), images, event.value)
        table_now = show(context, known, state, *rest)
        keep_detail = event.act in ("page", "learning", "column")
        return [*table_now, *([gr.skip()] * len(details) if keep_detail else show_detail(context, comparison, table_now[-1])), said, keyboard]

    acting = [*chosen, ui["reason"], ui["correction"], ui["note"], ui["reviewer"]]
    after = [*shown, *details, ui["said"], ui["keyboard"]]
    for part in ("columns", "rows", "pager", "learning", "photo_captions"):
        ui[part].act(act, acting, after, show_progress="hidden", trigger_mode="multiple", api_visibility="private")

    ui["runs"].change(new_runs, chosen, shown, trigger_mode="always_last", show_progress="hidden", api_visibility="private")
    gr.on(
        [ui[n].change for n in ("filters", "search", "order", "beams", "max_tokens", "prompt")],
        from_start, chosen, shown, show_progress="hidden", trigger_mode="always_last", api_visibility="private",
    )
    _wire_flagging(context, ui, comparison_of, acting, after, details)
    _wire_rest(context, ui, comparison_of, chosen, shown)
    ui["refresh"], ui["chosen"], ui["shown"] = refresh, chosen, shown


def _undone(what: str | None) -> str:
    return f"Undone: {what}." if what else "There is nothing left to undo."


def _wire_flagging(context: Context, ui: dict, comparison_of, acting, after, details) -> None:
    known = ui["known"]

    @told
    def flag(state, runs, filters, search, order, beams, max_tokens, prompt, reason, correction, note, reviewer):
        comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        said = flag_chosen(context, comparison, state, reason, correction, note, reviewer)
        rows = show(context, known, state, runs, filters, search, order, beams, max_tokens, prompt)
        return [*rows, *show_detail(context, comparison, rows[-1]), html.note(said), gr.skip()]

    @told
    def undo(state, runs, filters, search, order, beams, max_tokens, prompt, *_):
        said = _undone(context.flags.undo())
        comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        rows = show(context, known, state, runs, filters, search, order, beams, max_tokens, prompt)
        return [*rows, *show_detail(context, comparison, rows[-1]), html.note(said), gr.skip()]

    @told
    def reference(state, runs, beams, max_tokens, prompt):
        image, captions = captions_at(comparison_of(state, runs, beams, max_tokens, prompt), state)
        if not image["references"]:
            raise UserError("This image has no reference: type the correction.")
        return image["references"][nearest(captions[state["column"]].text, image["references"])]

    @told
    def best(state, runs, beams, max_tokens, prompt):
        return best_epoch(comparison_of(state, runs, beams, max_tokens, prompt), state)

    ui["flag"].click(flag, acting, after, show_progress="hidden", api_visibility="private")
    ui["undo"].click(undo, acting, after, show_progress="hidden", api_visibility="private")
    picked = [ui[n] for n in ("state", "runs", "beams", "max_tokens", "prompt")]
    ui["use_reference"].click(reference, picked, ui["correction"], show_progress="hidden", api_visibility="private")
    ui["use_best"].click(best, picked, ui["correction"], show_progress="hidden", api_visibility="private")


def _wire_rest(context: Context, ui: dict, comparison_of, chosen, shown) -> None:
    @told
    def photo(path, state, runs, beams, max_tokens, prompt):
        if not path:
            yield html.empty("No photo yet", "Drop a photo here: each column above says what it sees."), {**state, "photo": None}
            return
        try:
            for text, found in caption_photo(context, comparison_of(state, runs, beams, max_tokens, prompt), path):
                yield text, {**state, "photo": found}
        except UserError as error:
            yield html.note(str(error), "error"), state

    @told
    def fill(state, runs, beams, max_tokens, prompt):
        comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        for column, images in comparison.missing():
            for done, total in column_captions.fill(context.shelf, context.run(column.run), column.epoch, comparison.decoding, images):
                yield html.bar(done / total, f"{comparison.label(column)}: {done} of {total} images captioned"), gr.update(visible=True)
        yield "", gr.update(visible=False)

    @told
    def export(state, runs, filters, search, order, beams, max_tokens, prompt):
        comparison = comparison_of(state, runs, beams, max_tokens, prompt)
        made = export_files(context, comparison, replace(view_of(state, filters, search, order), page=0), runs)
        return gr.update(value=made, visible=True)

    picked = [ui[n] for n in ("state", "runs", "beams", "max_tokens", "prompt")]
    ui["photo"].change(photo, [ui["photo"], *picked], [ui["photo_captions"], ui["state"]], show_progress="hidden", api_visibility="private")
    working = ui["fill"].click(fill, picked, [ui["missing"], ui["halt"]], show_progress="hidden", api_visibility="private")
    working.then(ui_refresh(context, ui), chosen, shown, show_progress="hidden", api_visibility="private")
    ui["halt"].click(lambda: gr.update(visible=False), None, ui["halt"], cancels=[working], api_visibility="private").then(
        ui_refresh(context, ui), chosen, shown, show_progress="hidden", api_visibility="private"
    )
    ui["export"].click(export, chosen, ui["exported"], api_visibility="private")


def ui_refresh(context: Context, ui: dict):
    return told(lambda state, *rest: show(context, ui["known"], state, *rest))


def first_sight(context: Context, ui: dict) -> tuple[list, object]:
    """(outputs, function) that fill the tab when the page is loaded or opened: new runs are offered, the choice is kept."""
    outputs = [ui["runs"], *ui["shown"]]

    def load(state, runs, *rest):
        names = [run.name for run in context.runs() if run.checkpoints()]
        runs = [name for name in runs or [] if name in names] or names[:1]
        return [gr.update(choices=names, value=runs), *ui["refresh"](state, runs, *rest)]

    return outputs, load
