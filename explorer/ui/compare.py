"""The Compare tab: captions side by side for the base and every epoch, your own photo in every column, flags."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from explorer.compare import columns as column_captions
from explorer.compare import link
from explorer.compare.comparison import FILTERS, LEFT, ORDERS, REFERENCE
from explorer.errors import UserError
from explorer.flag.flags import REASONS
from explorer.scoring.wording import nearest
from explorer.ui import head, html, looked_view, photo, scores_view, share, table
from explorer.ui.compare_act import (
    DETAIL,
    FORM,
    SHOWN,
    Tab,
    after_press,
    on_choice,
    on_flag,
    on_key,
    on_undo,
    opened,
    with_runs,
)
from explorer.ui.compare_view import START, best_epoch, captions_at, show, show_detail
from explorer.ui.context import Context, told

QUIET = {"show_progress": "hidden", "api_visibility": "private"}

# --- layout -----------------------------------------------------------------------------------------------


def build(context: Context) -> dict:
    """Lay out the tab inside a gr.Tab; returns the components by name."""
    ui = {"state": gr.State(START), "pace": gr.Timer(1, active=False), **_head_part(context)}
    with gr.Row(equal_height=False):
        with gr.Column(scale=8, min_width=320):
            ui["rows"] = html.piece(elem_id="comparison", js_on_load=html.ACTIONS + table.KEYS)
            ui["missing"] = html.piece(elem_id="missing")
            with gr.Row():
                ui["fill"] = gr.Button("Caption the missing ones", visible=False, size="sm")
                ui["halt"] = gr.Button("Stop captioning", visible=False, size="sm", variant="stop")
            ui["pager"] = html.piece(elem_id="pager", js_on_load=html.ACTIONS)
        with gr.Column(scale=3, min_width=300, elem_id="detail-column"):
            ui |= _detail_part()
    ui |= scores_view.part() | photo.build(context) | share.build() | _decoding_part()
    context.door(ui["fill"], "caption")
    context.door(ui["reviewer"], "sign")
    _wire(context, ui)
    return ui


def _head_part(context: Context) -> dict:
    """The band above the table: which runs, what of them, in which order, marked against what."""
    runs = [run.name for run in context.runs() if run.checkpoints()]
    marks = [("the column to the left", LEFT), ("the nearest reference", REFERENCE)]
    with gr.Row(equal_height=True, elem_id="compare-head"):
        ui = {
            "runs": gr.Dropdown(
                runs,
                value=runs[:1],
                multiselect=True,
                allow_custom_value=True,
                label="Runs",
                elem_id="compare-runs",
                scale=3,
                min_width=200,
            ),
            "search": gr.Textbox(
                label="Search words", placeholder="captions, references, files", scale=3, min_width=160, elem_id="compare-search"
            ),
            "order": gr.Dropdown(list(ORDERS), value=ORDERS[0], label="Order", scale=2, min_width=170, elem_id="compare-order"),
            "against": gr.Dropdown(
                marks, value=LEFT, allow_custom_value=True, label="Mark words against", scale=2, min_width=180, elem_id="compare-against"
            ),
        }
    with gr.Row(equal_height=True, elem_id="compare-narrow"):
        ui["columns"] = html.piece(elem_id="compare-columns", js_on_load=html.ACTIONS)
        ui["filters"] = gr.CheckboxGroup(list(FILTERS), label="Only images that are", elem_id="compare-filters", min_width=300)
    with gr.Row(equal_height=False, elem_id="compare-picture"):
        ui["learning"] = html.piece(elem_id="learning", js_on_load=html.ACTIONS)
        with gr.Row(elem_id="compare-tools"):
            html.piece(head.help_html(), elem_id="compare-help", js_on_load=head.HELP)
            ui["share"] = html.piece(elem_id="share", js_on_load=share.LINK)
    ui["settings"] = html.piece(elem_id="compare-settings")
    return ui


def _detail_part() -> dict:
    choice = html.piece(elem_id="choice", js_on_load=table.CHOICE)
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
        "choice": choice,
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


def _decoding_part() -> dict:
    with gr.Accordion("Decoding: how captions are generated, the same for all columns", open=False), gr.Row():
        return {
            "beams": gr.Number(1, label="Beams", precision=0, minimum=1, maximum=10, min_width=80),
            "max_tokens": gr.Number(30, label="Longest caption in tokens", precision=0, minimum=1, maximum=200, min_width=120),
            "prompt": gr.Textbox("", label="Prompt", placeholder="such as: a photo of", min_width=160),
        }


# --- handlers ---------------------------------------------------------------------------------------------


def _wire(context: Context, ui: dict) -> None:
    tab = ui["tab"] = Tab(context, ui)

    @told
    def from_start(values: dict):
        return tab.refreshed(values, page=0)

    @told
    def new_runs(values: dict):
        chosen = tab.chosen(values)
        if chosen.runs == chosen.state["runs"]:  # set by a link or by a finished run, and shown already
            return gr.skip()
        return tab.put(with_runs(context, tab.known, chosen))

    @told
    def typed(values: dict):
        chosen = tab.chosen(values)
        if chosen.typed == chosen.state.get("typed"):  # set by a link, and shown already
            return gr.skip()
        return tab.refreshed(values, page=0)

    @told
    def anew(values: dict):
        return tab.refreshed(values)

    ui["pace"].tick(anew, tab.inputs, tab.parts(*SHOWN), trigger_mode="once", **QUIET)
    # One after the other, each of them: with "always_last" what is typed while an answer is on its way can be lost.
    once = {"trigger_mode": "multiple", "concurrency_limit": 1}
    pressed = tab.parts("filters", "order", "against")
    gr.on([part.input for part in pressed], from_start, tab.inputs, tab.parts(*SHOWN), **once, **QUIET)
    # Not `input`: Gradio tells it for letters, not for what is deleted or pasted.
    fields = tab.parts("search", "beams", "max_tokens", "prompt")
    gr.on([part.change for part in fields], typed, tab.inputs, tab.parts(*SHOWN), **once, **QUIET)
    ui["runs"].change(new_runs, tab.inputs, tab.parts(*SHOWN, "beams", "max_tokens", "prompt"), trigger_mode="always_last", **QUIET)
    _wire_pressing(tab)
    _wire_flagging(tab)
    _wire_filling(tab)
    ui["known"] = tab.known
    looked_view.wire(context, ui)
    scores_view.wire(context, ui)
    shown = tab.parts(*SHOWN)
    photo.wire(context, ui, tab.inputs, tab.shown, tab.refreshed, shown)
    share.wire(context, ui, tab.inputs, tab.shown)


def _wire_pressing(tab: Tab) -> None:
    """Everything pressed or typed in the table, the chips, the pager, the bars and the photo's captions."""
    ui, context = tab.ui, tab.context

    @told
    def act(values: dict, event: gr.EventData):
        chosen = tab.chosen(values)
        if not chosen.runs:
            return gr.skip()
        if event.act == "key":
            return tab.put(on_key(tab, chosen, event.value, *(values[ui[name]] for name in FORM)))
        if event.act in ("choose", "flag"):
            chosen = chosen.but(image=event.image, column=event.column)
            return tab.put(on_flag(tab, chosen, None, "", "", values[ui["reviewer"]]) if event.act == "flag" else on_choice(tab, chosen))
        if event.act == "all":
            chosen = replace(chosen.but(learning=None, page=0), filters=[], search="")
            return tab.put({**show(context, tab.known, chosen), "filters": [], "search": ""})
        return tab.put(show(context, tab.known, after_press(tab.of(chosen), event)))

    inputs = tab.inputs | set(tab.parts(*FORM))
    for name in ("columns", "rows", "pager", "learning", "photo_captions"):
        ui[name].act(act, inputs, tab.parts(*SHOWN, *DETAIL, "said", "filters", "search"), trigger_mode="multiple", **QUIET)


def _wire_flagging(tab: Tab) -> None:
    ui = tab.ui

    @told
    def flag(values: dict):
        return tab.put(on_flag(tab, tab.chosen(values), *(values[ui[name]] for name in FORM)))

    @told
    def undo(values: dict):
        return tab.put(on_undo(tab, tab.chosen(values), values[ui["reviewer"]]))

    @told
    def reference(values: dict):
        image, captions = captions_at(tab.shown(values).table, tab.chosen(values).state)
        if not image["references"]:
            raise UserError("This image has no reference: type the correction.")
        return image["references"][nearest(captions[values[ui["state"]]["column"]].text, image["references"])]

    @told
    def best(values: dict):
        return best_epoch(tab.shown(values).table, tab.chosen(values).state)

    after = tab.parts(*SHOWN, *DETAIL, "said")
    ui["flag"].click(flag, tab.inputs | set(tab.parts(*FORM)), after, **QUIET)
    ui["undo"].click(undo, tab.inputs | set(tab.parts("reviewer")), after, **QUIET)
    ui["use_reference"].click(reference, tab.inputs, ui["correction"], **QUIET)
    ui["use_best"].click(best, tab.inputs, ui["correction"], **QUIET)


def _wire_filling(tab: Tab) -> None:
    """Captions that are not there yet, generated one batch after the other; what is done stays when it is stopped."""
    ui, context = tab.ui, tab.context

    @told
    def fill(values: dict):
        context.allow("caption")
        table_now = tab.shown(values).table
        missing = table_now.missing()
        columns = [(context.run(column.run), column.epoch) for column, _ in missing]
        images = list({image["image_id"]: image for _, lacking in missing for image in lacking}.values())
        for done, total in column_captions.fill(context.shelf, columns, table_now.decoding, images):
            said = html.bar(done / total, f"{done} of {total} captions, in {len(columns)} columns")
            yield {ui["missing"]: said, ui["halt"]: gr.update(visible=True)}
        yield {ui["missing"]: "", ui["halt"]: gr.update(visible=False)}

    @told
    def refresh(values: dict):
        return {**tab.refreshed(values), ui["halt"]: gr.update(visible=False)}

    after = tab.parts(*SHOWN, "halt")
    working = ui["fill"].click(fill, tab.inputs, tab.parts("missing", "halt"), **QUIET)
    working.then(refresh, tab.inputs, after, **QUIET)
    ui["halt"].click(refresh, tab.inputs, after, cancels=[working], **QUIET)


# --- opening the tab --------------------------------------------------------------------------------------


def wire_opening(context: Context, ui: dict, load, select) -> None:
    """Fill the tab when the page is loaded, by its link if it has one, and when the tab is opened: new runs are offered."""
    tab: Tab = ui["tab"]

    def offered() -> list[str]:
        return [run.name for run in context.runs() if run.checkpoints()]

    @told
    def first(values: dict, request: gr.Request):
        names = offered()
        query = str(request.query_params or "")
        asked = link.from_query(query, names)
        chosen = replace(tab.chosen(values), runs=list(asked.runs) or names[:1])
        update = {"runs": gr.update(choices=names, value=chosen.runs)}
        if not chosen.runs:
            return tab.put({**update, **show(context, tab.known, chosen.but(runs=[]))})
        lost = link.missing(query, names)
        said = html.note(f"The link asks for {', '.join(lost)}, which is not here.", "warning") if lost else ""
        chosen, forms = opened(context, chosen, asked)
        shown = show(context, tab.known, chosen)
        detail = show_detail(context, tab.of(chosen).table, shown["state"])
        return tab.put({**update, **forms, **shown, **detail, "said": said})

    @told
    def again(values: dict):
        chosen = tab.chosen(values)
        if chosen.state["runs"] is None:  # Gradio tells of the tab it opens with, too: `first` is filling it
            return gr.skip()
        names = offered()
        runs = [name for name in chosen.runs or [] if name in names] or names[:1]
        chosen = replace(chosen, runs=runs)
        shown = show(context, tab.known, chosen) if runs == chosen.state["runs"] else with_runs(context, tab.known, chosen)
        return tab.put({"runs": gr.update(choices=names, value=runs), **shown})

    forms = ("runs", "filters", "search", "order", "beams", "max_tokens", "prompt")
    load(first, tab.inputs, tab.parts(*SHOWN, *DETAIL, *forms, "said"), **QUIET)
    select(again, tab.inputs, tab.parts(*SHOWN, "runs", "beams", "max_tokens", "prompt"), **QUIET)
