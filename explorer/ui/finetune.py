"""The Fine-tune tab: data, model and run on the left; the live run on the right; past runs below."""

from __future__ import annotations

import gradio as gr

from explorer.hub import jobs
from explorer.train import plan, worker
from explorer.ui import doors, finetune_form, html, hub_doors, live
from explorer.ui.context import Context, told


def build(context: Context, opened: list) -> dict:
    """Lay out the tab inside a gr.Tab. ``opened``: events that bring the tab into sight. Returns the components other parts of the page need."""
    doors.notice(context, "train")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            form = finetune_form.build(context, hub_doors.build_machine)
        with gr.Column(scale=6, min_width=320):
            watched = live.build()
    html.piece('<h2 class="x-heading">Runs</h2>')
    past = html.piece(elem_id="past-runs", js_on_load=html.ACTIONS)
    pushing = hub_doors.build_push(context)
    for part in (form["upload"], form["source"], form["fetch"]):
        context.door(part, "import")
    for part in (form["start"], watched["stop"], watched["resume"], watched["more"]):
        context.door(part, "train")
    parts = {**form, **watched, **pushing, "past": past}
    _wire(context, parts, opened)
    return parts


def _wire(context: Context, ui: dict, opened: list) -> None:
    form = [ui[name] for name in finetune_form.FORM]
    finetune_form.wire(context, ui, opened)
    live.wire(context, ui)
    hub_doors.wire_machine(context, ui)
    hub_doors.wire_push(context, ui)

    @told
    def start(machine, *values):
        context.allow("train")
        context.texts(*(value for value in values if isinstance(value, str)))
        config = finetune_form.make_config(context, dict(zip(finetune_form.FORM, values, strict=True)))
        where = jobs.machine(machine) if machine and machine != hub_doors.HERE else None  # before there is a run to be left over
        with context.starting():
            run = plan.make_run(context.workspace, config, finetune_form.read_dataset(context, config.dataset))
            if where:
                jobs.ask(run, where)
            worker.start(run, context.workspace)
        return run.name, ""

    ui["start"].click(start, [ui["machine"], *form], [ui["watched"], ui["name"]], api_visibility="private").then(
        live.ticker(context), [ui["watched"], ui["frame"]], live.outputs_of(ui), show_progress="hidden", api_visibility="private"
    ).then(lambda: live.past_with_undo(context), None, ui["past"], show_progress="hidden", api_visibility="private")
    gr.on(
        opened,
        lambda: (
            gr.update(choices=finetune_form.dataset_choices(context)),
            gr.update(choices=finetune_form.base_choices(context)),
            live.past_with_undo(context),
        ),
        None,
        [ui["dataset"], ui["base"], ui["past"]],
        show_progress="hidden",
        api_visibility="private",
    )
