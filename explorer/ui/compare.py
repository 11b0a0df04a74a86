"""The Compare tab: captions side by side for the base and every epoch, your own photo in every column, flags."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from explorer import columns as column_captions
from explorer.comparison import FILTERS, ORDERS, Comparison
from explorer.errors import UserError
from explorer.flags import REASONS
from explorer.ui import html, looked_view, scores_view, table
from explorer.ui.compare_view import (
    Comparisons,
    best_epoch,
    caption_photo,
    captions_at,
    column_choices,
    decoding_of,
    export_files,
    flag_chosen,
    flagged_in,
    move,
    show,
    show_detail,
    toggled,
    view_of,
)
from explorer.ui.context import Context, told
from explorer.wording import nearest

# --- layout -----------------------------------------------------------------------------------------------


def build(context: Context) -> dict:
    """Lay out the tab inside a gr.Tab; returns the components other parts of the page need."""
    runs = [run.name for run in context.runs() if run.checkpoints()]
    state = gr.State({"page": 0, "learning": None, "image": None, "column": None, "photo": None, "columns": None})
    with gr.Row(equal_height=False):
        run = gr.Dropdown(
            runs, value=runs[:1], multiselect=True, allow_custom_value=True, label="Runs", elem_id="compare-runs", scale=2, min_width=220
        )
        search = gr.Textbox(
            label="Search words", placeholder="in captions, references, file names", scale=2, min_width=180, elem_id="compare-search"
        )
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
    scores = scores_view.part()
    more = _more_part()
    ui = {
        "state": state,
        "runs": run,
        "search": search,
        "order": order,
        "columns": columns,
        "filters": filters,
        "learning": learning,
        "rows": rows,
        "missing": missing,
        "fill": fill,
        "halt": halt,
        "pager": pager,
        **detail,
        **scores,
        **more,
    }
    _wire(context, ui)
    return ui


def _detail_part() -> dict:
    detail = html.piece(
        html.empty("No caption chosen", "Press a caption or a picture to see it large, word by word, and to flag it."),
        elem_id="detail",
        js_on_load=html.ACTIONS,
    )
    looked = looked_view.part()
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
    rest = html.piece(elem_id="detail-rest", js_on_load=html.ACTIONS)
    return {
        "detail": detail,
        **looked,
        "rest": rest,
        "form": form,
        "reason": reason,
        "correction": correction,
        "use_reference": use_reference,
        "use_best": use_best,
        "note": note,
        "reviewer": reviewer,
        "flag": flag,
        "undo": undo,
        "said": said,
    }


def _more_part() -> dict:
    with gr.Accordion("Your own photo, captioned by every column", open=False, elem_id="own-photo"), gr.Row():
        photo = gr.Image(
            type="filepath",
            label="Drop, paste or take a photo",
            sources=["upload", "clipboard", "webcam"],
            height=240,
            min_width=240,
            elem_id="photo",
        )
        photo_captions = html.piece(
            html.empty("No photo yet", "Drop a photo here: each column above says what it sees."),
            elem_id="photo-captions",
            js_on_load=html.ACTIONS,
        )
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
        "photo": photo,
        "photo_captions": photo_captions,
        "beams": beams,
        "max_tokens": max_tokens,
        "prompt": prompt,
        "export": export,
        "exported": exported,
        "keyboard": keyboard,
    }


# --- handlers ---------------------------------------------------------------------------------------------


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
        elif event.act == "flag":
            state = {**state, "image": event.image, "column": event.column}
            said = html.note(flag_chosen(context, comparison, state, None, "", "", reviewer) + " Say more on the right.")
        elif event.act == "page":
            state = {**state, "page": int(event.value)}
        elif event.act == "column":
            state = {
                **state,
                "columns": toggled(column_choices(context, runs), [c.key for c in comparison.columns], event.value),
                "page": 0,
            }
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
        return [
            *table_now,
            *([gr.skip()] * len(details) if keep_detail else show_detail(context, comparison, table_now[-1])),
            said,
            keyboard,
        ]

    acting = [*chosen, ui["reason"], ui["correction"], ui["note"], ui["reviewer"]]
    after = [*shown, *details, ui["said"], ui["keyboard"]]
    for part in ("columns", "rows", "pager", "learning", "photo_captions"):
        ui[part].act(act, acting, after, show_progress="hidden", trigger_mode="multiple", api_visibility="private")

    ui["runs"].change(new_runs, chosen, shown, trigger_mode="always_last", show_progress="hidden", api_visibility="private")
    gr.on(
        [ui[n].change for n in ("filters", "search", "order", "beams", "max_tokens", "prompt")],
        from_start,
        chosen,
        shown,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    looked_view.wire(context, ui)
    scores_view.wire(context, ui)
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
        missing = list(comparison.missing())
        columns = [(context.run(column.run), column.epoch) for column, _ in missing]
        images = list({example["image_id"]: example for _, examples in missing for example in examples}.values())
        for done, total in column_captions.fill(context.shelf, columns, comparison.decoding, images):
            yield html.bar(done / total, f"{done} of {total} captions, in {len(columns)} columns"), gr.update(visible=True)
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
