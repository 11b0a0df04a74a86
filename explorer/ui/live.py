"""The live side of the Fine-tune tab: the run that is watched, and the list of all runs.

The run itself is a process of its own (`worker.start`); this page only reads its folder once a second, so a
reload or a second browser sees the same.
"""

from __future__ import annotations

import shutil
import time

import gradio as gr

from explorer.errors import UserError
from explorer.train import best, chunks, worker
from explorer.train.run import Run, add_epochs, by_kind
from explorer.ui import html, plot
from explorer.ui.context import Context, told
from explorer.ui.finetune_form import base_choices
from explorer.ui.run_view import past_html, probes_html, scores_html, status_html


def build() -> dict:
    """Lay out the watched run; its components by name."""
    watched = gr.State(None)
    status = html.piece(
        html.empty("No run yet", "Choose data on the left and press Start; the run appears here and goes on without this page."),
        elem_id="live-status",
    )
    with gr.Row():
        stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop", size="sm")
        resume = gr.Button("Resume", visible=False, elem_id="resume", size="sm")
        more = gr.Button("Add 2 epochs", visible=False, elem_id="more-epochs", size="sm")
        compare = gr.Button("Compare its captions", visible=False, variant="primary", elem_id="go-compare", size="sm")
    loss = html.piece(elem_id="live-loss")
    warnings = html.piece(elem_id="live-warnings")
    probes = html.piece(elem_id="live-probes", js_on_load=html.ACTIONS)
    finished = gr.State(None)  # the name of a run that ended before this page's eyes
    frame = gr.State(None)  # which moment of the run the watched images show; None: the latest
    timer = gr.Timer(1.0)
    return {
        "watched": watched,
        "status": status,
        "stop": stop,
        "resume": resume,
        "more": more,
        "compare": compare,
        "loss": loss,
        "warnings": warnings,
        "probes": probes,
        "frame": frame,
        "finished": finished,
        "timer": timer,
    }


def delete_run(context: Context, name: str) -> None:
    """Move a run to the trash, from where `restore_run` brings it back."""
    run = context.run(name)
    if run.folder.parent != context.workspace.root or run.status().state == "running":
        raise UserError(f"The run {name!r} cannot be deleted while it runs, nor when it came with the explorer.")
    context.workspace.trash.mkdir(parents=True, exist_ok=True)
    shutil.move(run.folder, context.workspace.trash / f"{time.time():.0f}-{name}")


def restore_run(context: Context) -> str | None:
    """Bring the run deleted last back; its name, or None when the trash is empty."""
    kept = sorted(context.workspace.trash.glob("*-*"))
    if not kept:
        return None
    name = kept[-1].name.split("-", 1)[1]
    if (context.workspace.root / name).exists():
        raise UserError(f"The run {name!r} cannot come back: another has its name now.")
    shutil.move(kept[-1], context.workspace.root / name)
    return name


def watched_run(context: Context, name: str | None) -> Run | None:
    """The run to show: the one asked for, else the one that is running, else none."""
    if name and (context.workspace.run_folder(name) / "run.json").exists():
        return context.run(name)
    live = worker.running(context.workspace)
    return live[0] if live else None


def outputs_of(ui: dict) -> list:
    return [ui[n] for n in ("watched", "status", "loss", "warnings", "probes", "frame", "stop", "resume", "more", "compare")]


def ticker(context: Context):
    """A function that shows the watched run as its folder has it now; skips what has not changed."""

    def tick(name, frame):
        run = watched_run(context, name)
        if run is None:
            return [gr.skip()] * 10
        state, log = run.status(), run.log()
        start = next(by_kind(log, "start"), {"steps": state.steps})
        steps, epochs = list(by_kind(log, "step")), list(by_kind(log, "epoch"))
        top = best.best(log, run.config.best_by)
        drawn = plot.loss_plot(steps, epochs, start["steps"], best=top["step"] if top and len(epochs) > 2 else None) + scores_html(run)
        live = state.state == "running"
        frame = None if live else frame
        ended = state.state in ("stopped", "failed", "died", "waiting")
        return (
            run.name,
            status_html(run, tell_folder=not context.settings.public),
            drawn,
            html.notes((row["text"] for row in by_kind(log, "warning")), "warning"),
            probes_html(context, run, frame),
            frame,
            gr.update(visible=live),
            gr.update(visible=ended),
            gr.update(visible=state.state == "finished" and run.folder.parent == context.workspace.root and run.name != "demo"),
            gr.update(visible=len(epochs) > 1),
        )

    return tick


def wire(context: Context, ui: dict) -> None:
    outputs = outputs_of(ui)
    seen = gr.State(None)
    tick = ticker(context)

    def poll(name, frame, before):
        """Redraw only when the run's files have changed since, so that a quiet page stays quiet."""
        run = watched_run(context, name)
        stamp = None
        if run is not None:
            if context.may("train"):
                chunks.renew(run)
            stats = [(run.folder / n) for n in ("log.jsonl", "status.json")]
            stamp = (run.name, run.status().state, *(p.stat().st_mtime_ns if p.exists() else 0 for p in stats))
        if stamp == before:
            return [gr.skip()] * (len(outputs) + 3)
        seen_running = before and stamp and before[:2] == (stamp[0], "running")
        ended = seen_running and stamp[1] != "running"
        finished = run.name if ended and stamp[1] == "finished" else gr.skip()
        return [*tick(name, frame), past_with_undo(context) if ended or not before else gr.skip(), stamp, finished]

    @told
    def stop(name):
        context.allow("train")
        context.run(name).request_stop()
        gr.Info("Stopping after this step; everything learned so far is kept.")

    @told
    def resume(name):
        with context.starting():
            worker.start(context.run(name), context.workspace)

    @told
    def more(name):
        context.allow("train")
        run = context.run(name)
        with context.starting():
            worker.start(add_epochs(run, max(run.epochs(), default=0) + 2), context.workspace)

    def show_frame(name, event: gr.EventData):
        at = int(event.value)
        return at, probes_html(context, context.run(name), at)

    @told
    def act(event: gr.EventData):
        name, kind = event.run, event.act
        if kind in ("delete", "restore"):
            context.allow("delete")
        if kind == "delete":
            delete_run(context, name)
            gr.Info(f"Deleted {name}. Undo brings it back.")
        elif kind == "restore":
            back = restore_run(context)
            gr.Info(f"{back} is back." if back else "There is nothing to bring back.")
        base = gr.update(value=event.base, choices=base_choices(context)) if kind == "begin" else gr.skip()
        if kind == "begin":
            gr.Info(f"The base is now {event.base}: choose the data and press Start.")
        return name if kind == "watch" else gr.skip(), past_with_undo(context), base

    ui["timer"].tick(
        poll,
        [ui["watched"], ui["frame"], seen],
        [*outputs, ui["past"], seen, ui["finished"]],
        show_progress="hidden",
        api_visibility="private",
    )
    ui["stop"].click(stop, ui["watched"], None, api_visibility="private")
    ui["resume"].click(resume, ui["watched"], None, api_visibility="private")
    ui["more"].click(more, ui["watched"], None, api_visibility="private")
    ui["past"].act(act, None, [ui["watched"], ui["past"], ui["base"]], show_progress="hidden", api_visibility="private").then(
        tick, [ui["watched"], ui["frame"]], outputs, show_progress="hidden", api_visibility="private"
    )
    ui["probes"].act(show_frame, ui["watched"], [ui["frame"], ui["probes"]], show_progress="hidden", api_visibility="private")


def past_with_undo(context: Context) -> str:
    gone = context.may("delete") and list(context.workspace.trash.glob("*-*"))
    undo = html.button("Undo the last delete", "restore", run="-") if gone else ""
    return past_html(context) + f'<div class="x-toolbar">{undo}</div>'
