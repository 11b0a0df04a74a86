"""The page's doors to the Hub: push a checkpoint, fine-tune on a machine of Jobs, and the line that says what is kept."""

from __future__ import annotations

import time

import gradio as gr

from explorer.errors import UserError
from explorer.hub import client, durable, jobs, push
from explorer.ui import html
from explorer.ui.context import Context, told

HERE = "here"
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


# --- pushing ----------------------------------------------------------------------------------------------


def build_push(context: Context) -> dict:
    """Lay out the push of a checkpoint; it opens by itself when a run's Push is pressed."""
    with gr.Accordion("Push a checkpoint to the Hugging Face Hub", open=False, elem_id="push") as opened:
        html.piece(
            '<p class="x-small">It goes with a model card: settings, scores with intervals, and six of the validation pictures with what '
            "every epoch says of them. Whoever may see the repository sees those pictures.</p>"
        )
        with gr.Row():
            checkpoint = gr.Dropdown([], label="Checkpoint", elem_id="push-checkpoint", min_width=160)
            repo = gr.Textbox(label="Hub model", placeholder="owner/name", elem_id="push-repo", min_width=160)
        public = gr.Checkbox(False, label="For everybody to see", elem_id="push-public")
        start = context.door(gr.Button("Push", elem_id="push-start", size="sm"), "push")
        said = html.piece(elem_id="push-said")
    return {"push_opened": opened, "push_checkpoint": checkpoint, "push_repo": repo, "push_public": public, "push": start, "push_said": said}


def wire_push(context: Context, ui: dict) -> None:
    def choices() -> list[str]:
        return [f"{run.name}@{made.epoch}" for run in context.runs() for made in reversed(run.checkpoints())]

    @told
    def pressed(event: gr.EventData):
        if event.act != "push":
            return gr.skip(), gr.skip(), gr.skip()
        return gr.update(open=True), gr.update(choices=choices(), value=event.base), ""

    def opened(chosen):
        known = choices()
        missing = "" if client.has_token() else html.note(f"There is no Hugging Face token here: {client.LOGIN}.", "warning")
        return gr.update(choices=known, value=chosen if chosen in known else next(iter(known), None)), missing

    @told
    def pushed(checkpoint, repo, public):
        context.allow("push")
        if not checkpoint:
            raise UserError("Choose a checkpoint to push.")
        run, made = push.chosen(context.workspace, checkpoint)
        for step in push.checkpoint(context.workspace, run, made.epoch, repo, not public):
            yield html.note(f"{step.text[:1].upper()}{step.text[1:]}.") if step.address else html.bar(step.share, step.text)

    ui["past"].act(pressed, None, [ui["push_opened"], ui["push_checkpoint"], ui["push_said"]], **QUIET)
    ui["push_opened"].expand(opened, ui["push_checkpoint"], [ui["push_checkpoint"], ui["push_said"]], **QUIET)
    given = [ui["push_checkpoint"], ui["push_repo"], ui["push_public"]]
    # What a push that failed has shown so far would look as if it went on.
    ui["push"].click(pushed, given, ui["push_said"], **QUIET).failure(lambda: "", None, ui["push_said"], **QUIET)


# --- Jobs -------------------------------------------------------------------------------------------------


def build_machine(context: Context) -> dict:
    with gr.Accordion("On a bigger machine: Hugging Face Jobs", open=False, elem_id="jobs") as opened:
        machine = gr.Dropdown([("this machine", HERE)], value=HERE, label="Run it on", elem_id="machine")
        said = html.piece(elem_id="machine-said")
    return {"machine_opened": opened, "machine": machine, "machine_said": said}


def wire_machine(context: Context, ui: dict) -> None:
    def opened():
        """The machines of Jobs, asked for when somebody wants to see them."""
        try:
            context.allow("train")
            client.connect()
            found = jobs.machines()
        except UserError as error:
            return gr.update(choices=[("this machine", HERE)], value=HERE), html.note(str(error), "warning")
        rows = [(f"{machine.title} ({machine.price:.2f} USD an hour)", machine.name) for machine in found]
        what = "The code, the run's settings and its pictures go to a private dataset of yours; the results come back here."
        return gr.update(choices=[("this machine", HERE), *rows]), f'<p class="x-small">{what}</p>'

    def chosen(name):
        try:
            found = next((machine for machine in jobs.machines() if machine.name == name), None) if name != HERE else None
        except UserError as error:
            return html.note(str(error), "warning")
        if found is None:
            return ""
        beside = f"The time below is this machine's; the command takes --on {found.name} besides."
        return f'<p class="x-small">{html.text(found.sentence())} {html.text(beside)}</p>'

    ui["machine_opened"].expand(opened, None, [ui["machine"], ui["machine_said"]], **QUIET)
    ui["machine"].input(chosen, ui["machine"], ui["machine_said"], **QUIET)


# --- what is kept -----------------------------------------------------------------------------------------


def build_kept(context: Context) -> None:
    """The line that says whether flags and runs are kept elsewhere; nothing where they are not."""
    if not context.settings.keep:
        return
    line = html.piece(elem_id="kept")
    gr.Timer(2.0).tick(lambda: kept_html(context), None, line, **QUIET)


def kept_html(context: Context) -> str:
    status = durable.status(context.common.workspace)
    if status is None:
        return ""
    kind = {"away": "warning", "refused": "error"}.get(status["state"])
    words = durable.in_words(status, time.time())
    if context.settings.public and not context.may("push"):  # where it is kept is the owners' business
        words = words.replace(status["repo"], "the Hub")
    return html.note(words, kind) if kind else f'<p class="x-small">{html.text(words)}</p>'
