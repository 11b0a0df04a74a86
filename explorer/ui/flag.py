"""The Flag tab: review a run's captions or the flags, one at a time or many at once; then the ways out.

The list with pictures is on the left, the chosen caption on the right. What is done is `explorer.flag.desk`'s business; the
CSV and the relabelled dataset have modules of their own.
"""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from explorer.errors import UserError
from explorer.flag import worklist
from explorer.flag.desk import KEYS, Desk, Entry, Office
from explorer.flag.flags import STATUSES
from explorer.ui import flag_csv, flag_relabel, flag_view, html
from explorer.ui.context import Context, told

FLAGS = "all flags"
ANY = "any"


def build(context: Context) -> dict:
    """Lay out the tab inside a gr.Tab; returns the components other parts of the page need."""
    ui = {"state": gr.State(Desk()), **_top_part()}
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            ui["items"] = html.piece(elem_id="flag-list", js_on_load=html.ACTIONS + flag_view.KEYS)
        with gr.Column(scale=4, min_width=300, elem_id="flag-side"):
            ui |= _detail_part()
    ui["says"] = html.piece(elem_id="flag-says", js_on_load=html.ACTIONS)
    ui |= flag_csv.build(context) | flag_relabel.build(context)
    context.door(ui["reviewer"], "sign")
    context.door(ui["fill"], "caption")
    with gr.Accordion("Keys", open=False, elem_id="flag-keys"):
        html.piece(flag_view.help_html())
    _wire(context, ui)
    return ui


def _top_part() -> dict:
    with gr.Row(equal_height=False):
        what = gr.Dropdown([FLAGS], value=FLAGS, label="Review", elem_id="review-what", scale=2, min_width=200)
        epoch = gr.Dropdown([], label="Captions of", visible=False, elem_id="review-epoch", scale=1, min_width=110)
        images = gr.Dropdown(list(worklist.IMAGES), value=worklist.IMAGES[0], label="Images", visible=False, elem_id="review-images", scale=1, min_width=120)
        status = gr.Dropdown([ANY, *STATUSES], value=ANY, label="Status", scale=1, min_width=110, elem_id="flag-status")
        search = gr.Textbox(
            label="Search words", placeholder="in captions, corrections, notes, file names", scale=2, min_width=180, elem_id="flag-search"
        )
        reviewer = gr.Textbox(label="Reviewer", placeholder="your name", scale=1, min_width=130, elem_id="flag-reviewer")
    progress = html.piece(elem_id="flag-progress")
    with gr.Row(visible=False, elem_id="review-missing") as lacking:
        fill = gr.Button("Caption the images that have none yet", size="sm", elem_id="review-fill")
        halt = gr.Button("Stop captioning", visible=False, size="sm", variant="stop")
    filling = html.piece(elem_id="review-filling")
    remembered = gr.BrowserState("", storage_key="caption-explorer-reviewer", secret="a name is no secret")
    return {
        "what": what,
        "epoch": epoch,
        "images": images,
        "status": status,
        "search": search,
        "reviewer": reviewer,
        "progress": progress,
        "lacking": lacking,
        "fill": fill,
        "halt": halt,
        "filling": filling,
        "remembered": remembered,
    }


def _detail_part() -> dict:
    as_typed = gr.InputHTMLAttributes(autocapitalize="off", autocorrect="off", spellcheck=False, autocomplete="off")
    detail = html.piece(flag_view.detail_html(None, None, Desk()), elem_id="flag-detail")
    reasons = html.piece(elem_id="flag-reasons", js_on_load=html.ACTIONS)
    with gr.Column(visible=False, elem_id="flag-edit") as form:
        correction = gr.Textbox(label="Corrected caption", lines=2, elem_id="flag-correction", html_attributes=as_typed)
        note = gr.Textbox(label="Note", lines=1, elem_id="flag-note", html_attributes=as_typed)
        with gr.Row():
            save = gr.Button("Save", variant="primary", elem_id="flag-save", min_width=70, size="sm")
            reference = gr.Button("Nearest reference (r)", elem_id="flag-reference", min_width=120, size="sm")
            better = gr.Button("Better epoch (e)", elem_id="flag-epoch", min_width=110, size="sm")
    verdicts = html.piece(elem_id="flag-verdicts", js_on_load=html.ACTIONS)
    said = html.piece(elem_id="flags-said")
    with gr.Row():
        undo = gr.Button("Undo (u)", size="sm", elem_id="flags-undo", min_width=80)
        redo = gr.Button("Redo (y)", size="sm", elem_id="flags-redo", min_width=80)
    with gr.Accordion("History of this flag", open=False, visible=False, elem_id="flag-history") as past:
        history = html.piece()
    return {
        "detail": detail,
        "reasons": reasons,
        "form": form,
        "correction": correction,
        "note": note,
        "save": save,
        "reference": reference,
        "better": better,
        "verdicts": verdicts,
        "said": said,
        "undo": undo,
        "redo": redo,
        "past": past,
        "history": history,
    }


# --- what is shown ----------------------------------------------------------------------------------------

LISTS = ("items", "progress", "says", "lacking", "fill")
DETAILS = ("detail", "reasons", "form", "correction", "note", "verdicts", "past", "history")


def show(context: Context, office: Office, desk: Desk) -> list:
    """Everything of LISTS and DETAILS as the desk has it now."""
    seen = office.seen(desk)
    entry = office.entry(desk, seen)
    flag = entry.flag if entry else None
    return [
        flag_view.list_html(context, office, desk, seen),
        flag_view.progress_html(desk, seen),
        flag_view.says_html(office, desk),
        gr.update(visible=bool(seen.missing)),
        gr.update(value=f"Caption the {len(seen.missing)} images that have no caption yet"),
        flag_view.detail_html(context, entry, desk),
        flag_view.reasons_html(entry, desk),
        gr.update(visible=entry is not None),
        flag.corrected_caption if flag else "",
        flag.note if flag else "",
        flag_view.verdicts_html(entry),
        gr.update(visible=flag is not None),
        flag_view.history_html(office.store.history(flag.flag_id)) if flag else "",
    ]


def review_choices(context: Context) -> list[tuple[str, str]]:
    """The flags, and every run whose captions can be reviewed."""
    return [(FLAGS, FLAGS), *((f"the worst captions of {run.name}", run.name) for run in context.runs() if run.checkpoints())]


# --- handlers ---------------------------------------------------------------------------------------------


class HereOffice(Office):
    """The office of whoever sends the request: their room's flags, and what the page's rules let them change."""

    def __init__(self, context: Context):
        self.context = context

    @property
    def workspace(self):
        return self.context.workspace

    @property
    def store(self):
        return self.context.flags

    def check(self, what: str, entries: list[Entry], who: str) -> None:
        self.context.take("flag", len(entries))
        if self.context.may("review"):
            return
        if what == "approve" or any(entry.flag and entry.flag.reviewer != who for entry in entries):
            raise UserError(self.context.why_not("review"))


def _wire(context: Context, ui: dict) -> None:
    office = HereOffice(context)
    state, shown = ui["state"], [ui[name] for name in (*LISTS, *DETAILS)]
    typed = [ui["correction"], ui["note"], ui["reviewer"]]

    def done(desk: Desk, what: str, value: str, correction, note, reviewer) -> list:
        context.texts(correction, note)
        desk, said = office.act(desk, what, value, correction or "", note or "", context.reviewer(reviewer))
        return [desk, *show(context, office, desk), html.note(said) if said else ""]

    @told
    def act(desk, correction, note, reviewer, event: gr.EventData):
        """A press or a key anywhere in the tab's own HTML."""
        what, value = (event.act, getattr(event, "value", None) or "")
        if what == "key":
            what, value = KEYS[value]
        return done(desk, what, value, correction, note, reviewer)

    def button(what: str, value: str = ""):
        return told(lambda desk, correction, note, reviewer: done(desk, what, value, correction, note, reviewer))

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    after = [state, *shown, ui["said"]]
    for name in ("items", "reasons", "verdicts", "says"):
        ui[name].act(act, [state, *typed], after, trigger_mode="multiple", **quiet)
    for name, what in (("save", "save"), ("reference", "reference"), ("better", "epoch"), ("undo", "undo"), ("redo", "redo")):
        ui[name].click(button(what), [state, *typed], after, **quiet)
    gr.on([ui["correction"].submit, ui["note"].submit], button("save"), [state, *typed], after, **quiet)
    _wire_choice(context, office, ui, shown, quiet)
    _wire_fill(context, office, ui, shown, quiet)
    flag_csv.wire(context, ui, lambda desk: show(context, office, desk), shown, quiet)
    flag_relabel.wire(context, ui, lambda desk: show(context, office, desk), shown, quiet)


def _wire_choice(context: Context, office: Office, ui: dict, shown: list, quiet: dict) -> None:
    """What is on the desk: the flags or a run, narrowed by status and words."""
    state, chosen = ui["state"], [ui[n] for n in ("what", "epoch", "images", "status", "search")]

    @told
    def opened(desk, what, remembered, reviewer):
        """The tab comes into sight: new runs are offered, new flags are shown."""
        choices = review_choices(context)
        known = what in [value for _, value in choices]
        if not known:
            desk = Desk()
        return [
            gr.update(choices=choices, value=what if known else FLAGS),
            reviewer or remembered or "",
            flag_csv.aside_html(context),
            desk,
            *show(context, office, desk),
        ]

    @told
    def other(desk, what, status, search):
        """Another thing to review: its epochs are offered, the last one taken."""
        run = None if what == FLAGS else context.run(what)
        epochs = [("base", 0), *((f"epoch {c.epoch}", c.epoch) for c in run.checkpoints())] if run else []
        desk = Desk(run=run.name if run else None, epoch=epochs[-1][1] if epochs else 0, search=search or "", images=desk.images)
        desk = replace(desk, facets={} if status == ANY else {"status": status})
        parts = [gr.update(visible=bool(run), choices=epochs, value=desk.epoch if run else None), gr.update(visible=bool(run))]
        return [*parts, *(gr.update(visible=not run) for _ in range(2)), desk, *show(context, office, desk)]

    @told
    def narrowed(desk, what, epoch, images, status, search):
        facets = {name: value for name, value in desk.facets.items() if name != "status"}
        facets |= {} if status == ANY or desk.run else {"status": status}
        new = replace(desk, epoch=epoch or 0, images=images, facets=facets, search=search or "", page=0, picked=())
        if new == replace(desk, page=0, picked=()):  # set by the page itself: what is being typed beside the list stays
            return [gr.skip()] * (1 + len(shown))
        return [new, *show(context, office, new)]

    outputs = [ui["epoch"], ui["images"], ui["status"], ui["search"], state, *shown]
    ui["what"].input(other, [state, ui["what"], ui["status"], ui["search"]], outputs, **quiet)
    gr.on(
        [ui["epoch"].input, ui["images"].input, ui["status"].input, ui["search"].change],
        narrowed,
        [state, *chosen],
        [state, *shown],
        trigger_mode="multiple",  # with "always_last" what is typed while an answer is on its way can be lost
        concurrency_limit=1,
        **quiet,
    )
    ui["reviewer"].change(lambda name: name, ui["reviewer"], ui["remembered"], **quiet)
    ui["opened"] = (opened, [state, ui["what"], ui["remembered"], ui["reviewer"]], [ui["what"], ui["reviewer"], ui["aside"], state, *shown])


def _wire_fill(context: Context, office: Office, ui: dict, shown: list, quiet: dict) -> None:
    """Caption the images of a reviewed run that have none; what is done is kept, so it can be stopped and goes on."""
    @told
    def fill(desk):
        context.allow("caption")
        run, missing = context.run(desk.run), office.seen(desk).missing
        yield html.bar(0, f"loading the model to caption {len(missing)} images"), gr.update(visible=True)
        for count, total in worklist.fill(context.shelf, run, desk.epoch, missing):
            yield html.bar(count / total, f"{count} of {total} images captioned"), gr.update(visible=True)
        yield "", gr.update(visible=False)

    def again(desk):
        return show(context, office, desk)

    working = ui["fill"].click(fill, ui["state"], [ui["filling"], ui["halt"]], **quiet)
    working.then(told(again), ui["state"], shown, **quiet)
    halted = ui["halt"].click(lambda: ("", gr.update(visible=False)), None, [ui["filling"], ui["halt"]], cancels=[working], **quiet)
    halted.then(told(again), ui["state"], shown, **quiet)
