"""The Fine-tune tab: data, model, run on the left; the live run on the right; past runs below.

The run itself is a process of its own (`worker.start`); this page only reads its folder once a second, so a
reload or a second browser sees the same.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import gradio as gr

from explorer import dataset as datasets
from explorer import methods, plan, sources, worker
from explorer.errors import UserError
from explorer.run import METHODS, Run, RunConfig, by_kind, change_config
from explorer.ui import html, plot
from explorer.ui.context import Context, told
from explorer.ui.data_view import data_report
from explorer.ui.run_view import past_html, probes_html, scores_html, status_html

SCENES = "scenes"


def build(context: Context, opened: list) -> dict:
    """Lay out the tab inside a gr.Tab. ``opened``: events that bring the tab into sight. Returns the components other parts of the page need."""
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            data = _data_part(context)
            model = _model_part()
            run = _run_part()
        with gr.Column(scale=6, min_width=320):
            live = _live_part()
    html.piece('<h2 class="x-heading">Runs</h2>')
    past = html.piece(elem_id="past-runs", js_on_load=html.ACTIONS)
    parts = {**data, **model, **run, **live, "past": past}
    _wire(context, parts, opened)
    return parts


# --- layout -----------------------------------------------------------------------------------------------


def _data_part(context: Context) -> dict:
    html.piece('<h2 class="x-heading">1 · Data</h2>')
    dataset = gr.Dropdown(choices=dataset_choices(context), value=SCENES, label="Dataset", elem_id="dataset")
    upload = gr.File(
        label="Drop a zip, or photos with metadata.jsonl or .txt captions", file_count="multiple", height=150, elem_id="upload"
    )
    with gr.Accordion("From the Hugging Face Hub, or a folder of this machine", open=False):
        with gr.Row():
            source = gr.Textbox(label="Hub dataset (owner/name) or folder", scale=3)
            split = gr.Textbox(label="Split", placeholder="all", scale=1, min_width=80)
        with gr.Row():
            image_column = gr.Textbox(label="Image column", placeholder="found by itself", min_width=120)
            caption_column = gr.Textbox(label="Caption column", placeholder="found by itself", min_width=120)
        fetch = gr.Button("Fetch", size="sm")
    report = html.piece(elem_id="data-report")
    return {
        "dataset": dataset,
        "upload": upload,
        "source": source,
        "split": split,
        "image_column": image_column,
        "caption_column": caption_column,
        "fetch": fetch,
        "report": report,
    }


def _model_part() -> dict:
    html.piece('<h2 class="x-heading">2 · Model</h2>')
    base = gr.Dropdown(
        choices=list(plan.BASES),
        value=plan.DEFAULT_BASE,
        allow_custom_value=True,
        label="Base",
        elem_id="base",
        info="The embedded base, a Hub id, or a folder with a captioning model",
    )
    method = gr.Radio(choices=list(METHODS), value="lora-vision", label="What learns", elem_id="method")
    reason = html.piece(elem_id="reason")
    return {"base": base, "method": method, "reason": reason}


def _run_part() -> dict:
    html.piece('<h2 class="x-heading">3 · Run</h2>')
    with gr.Row():
        epochs = gr.Number(3, label="Epochs", precision=0, minimum=1, maximum=1000, min_width=80, elem_id="epochs")
        batch_size = gr.Number(16, label="Batch size", precision=0, minimum=1, maximum=1024, min_width=80)
        rate = gr.Number(3e-3, label="Learning rate", min_width=80)
    with gr.Accordion("More", open=False):
        with gr.Row():
            images = gr.Number(None, label="Images to use (empty: all)", precision=0, min_width=120)
            share = gr.Slider(0.05, 0.5, 0.2, step=0.05, label="Kept for validation", min_width=120)
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, min_width=80)
            references = gr.Dropdown(["all", "sample"], value="all", label="References a pass", min_width=100)
            augment = gr.Checkbox(True, label="Augment images", min_width=100)
        name = gr.Textbox(label="Name of the run", placeholder="made from base and dataset")
    price = html.piece(elem_id="price")
    with gr.Row():
        start = gr.Button("Start fine-tuning", variant="primary", elem_id="start")
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "rate": rate,
        "images": images,
        "share": share,
        "seed": seed,
        "references": references,
        "augment": augment,
        "name": name,
        "price": price,
        "start": start,
    }


def _live_part() -> dict:
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


def dataset_choices(context: Context) -> list[tuple[str, str]]:
    own = [(path.name, str(path)) for path in sources.list_datasets(context.workspace) if path.name != SCENES]
    return [*own, ("drawn pets (embedded)", SCENES)]


def read_dataset(context: Context, chosen: str) -> datasets.Dataset:
    """The chosen dataset, checked; what was opened before is remembered."""
    if not chosen:
        raise UserError("Choose a dataset, or drop a zip of captioned photos.")
    folder = plan.find_dataset(chosen, context.workspace)
    return datasets.read(folder, max_images=context.settings.max_images, cache=context.workspace.cache)


# --- handlers ---------------------------------------------------------------------------------------------


def make_config(
    context: Context, dataset, base, method, epochs, batch_size, rate, images, share, seed, references, augment, name
) -> RunConfig:
    """The RunConfig the form describes. Raises UserError for an empty or impossible value."""
    for label, value in (("Epochs", epochs), ("Batch size", batch_size), ("Learning rate", rate), ("Seed", seed)):
        if value is None:
            raise UserError(f"{label} is empty: give a number.")
    folder = str(plan.find_dataset(dataset, context.workspace))
    base = (base or "").strip() or plan.DEFAULT_BASE
    chosen = (name or "").strip() or plan.next_name(context.workspace, base, folder)
    return RunConfig(
        name=chosen,
        base=base,
        dataset=folder,
        epochs=int(epochs),
        batch_size=int(batch_size),
        learning_rate=float(rate),
        method=method,
        seed=int(seed),
        images=int(images) if images else None,
        validation=float(share),
        augment=bool(augment),
        references=references,
    ).check()


def price_html(context: Context, config: RunConfig) -> str:
    """What the run will take, and the command that does the same."""
    dataset = read_dataset(context, config.dataset)
    parts = datasets.split(dataset, config.validation, config.seed, limit=config.images)
    validation = min(len(parts.validation), config.validation_images)
    price = plan.estimate(context.workspace, config, len(parts.train), validation, dataset.summary()["references"])
    long = plan.long_captions(context.workspace, config.base, dataset)
    cut = "".join(f"<li><strong>{html.text(p.file)}</strong>: {html.text(p.reason)}</li>" for p in long[:50])
    listed = f"<details><summary>{len(long)} captions are longer than {html.text(config.base)} takes</summary><ul class='x-problems'>{cut}</ul></details>"
    how = "as fast as your last run like it" if price.measured else "reckoned, until a first run has measured it"
    return (
        f'<p class="x-price">about {html.duration(price.seconds)}, {html.size(price.memory)} of memory, {html.size(price.disk)} on disk</p>'
        f'<p class="x-small">{how}</p><code class="x-command">{html.text(plan.command_line(config))}</code>' + (listed if long else "")
    )


def owners_only(context: Context) -> None:
    """Raises UserError on a public page: strangers compare and flag there, and change nothing else."""
    if context.settings.public:
        raise UserError("This is a public page: here you can compare and flag. Start runs on your own copy of it.")


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


def _wire(context: Context, ui: dict, opened: list) -> None:
    form = [
        ui[n]
        for n in ("dataset", "base", "method", "epochs", "batch_size", "rate", "images", "share", "seed", "references", "augment", "name")
    ]
    priced = [item for item in form if item is not ui["name"]]
    _wire_data(context, ui, opened)
    _wire_model(context, ui)
    _wire_live(context, ui)

    def reason_for(base):
        try:
            advice = plan.advise(context.workspace, base)
        except UserError as error:
            return html.note(str(error), "error")
        return f'<p class="x-small">{html.text(advice.method)} is advised: {html.text(advice.reason)}.</p>'

    @told
    def start(*values):
        owners_only(context)
        config = make_config(context, *values)
        busy = worker.running(context.workspace)
        if busy:
            raise UserError(f"The run {busy[0].name!r} is still training: stop it or wait, then start the next.")
        run = plan.make_run(context.workspace, config, read_dataset(context, config.dataset))
        worker.start(run, context.workspace)
        return run.name, ""

    def price(*values):
        try:
            return price_html(context, make_config(context, *values, ""))
        except UserError as error:
            return html.note(str(error), "warning")

    ui["start"].click(start, form, [ui["watched"], ui["name"]], api_visibility="private").then(
        _tick(context), [ui["watched"], ui["frame"]], _live_outputs(ui), show_progress="hidden", api_visibility="private"
    ).then(lambda: past_html(context), None, ui["past"], show_progress="hidden", api_visibility="private")
    gr.on(
        [*opened, *(item.change for item in priced)],
        price,
        priced,
        ui["price"],
        show_progress="minimal",
        trigger_mode="always_last",
        api_visibility="private",
    )
    gr.on(opened, reason_for, ui["base"], ui["reason"], show_progress="hidden", api_visibility="private")
    gr.on(
        opened,
        lambda: (gr.update(choices=dataset_choices(context)), _past_with_undo(context)),
        None,
        [ui["dataset"], ui["past"]],
        show_progress="hidden",
        api_visibility="private",
    )


def _wire_data(context: Context, ui: dict, opened: list) -> None:
    @told
    def brought(paths):
        owners_only(context)
        if not paths:
            return gr.skip()
        folder = sources.import_files([Path(p) for p in paths], context.workspace)
        return gr.update(choices=dataset_choices(context), value=str(folder)), None

    @told
    def fetched(source, split, image, caption, progress=gr.Progress()):  # noqa: B008 - gradio's way to show progress
        owners_only(context)
        source = (source or "").strip()
        if sources.is_hub_id(source):
            folder = sources.import_hub(
                source,
                context.workspace,
                split=(split or "").strip() or None,
                image=(image or "").strip() or None,
                caption=(caption or "").strip() or None,
                tell=lambda done, total: progress((done, total), desc="fetching"),
            )
        else:
            if context.settings.public:
                raise UserError("On a public page data comes as an upload or from the Hub, not from a folder of the server.")
            folder = plan.find_dataset(source, context.workspace)
        choices = dataset_choices(context)
        if str(folder) not in [value for _, value in choices]:
            choices = [(folder.name, str(folder)), *choices]
        return gr.update(choices=choices, value=str(folder))

    def report(chosen, share, seed, images):
        try:
            return data_report(context, read_dataset(context, chosen), share, int(seed or 0), int(images) if images else None)
        except UserError as error:
            return html.note(str(error), "error")

    ui["brought"] = (lambda: gr.update(choices=dataset_choices(context), value=dataset_choices(context)[0][1]), None, ui["dataset"])
    ui["upload"].upload(brought, ui["upload"], [ui["dataset"], ui["upload"]], api_visibility="private")
    ui["fetch"].click(
        fetched, [ui["source"], ui["split"], ui["image_column"], ui["caption_column"]], ui["dataset"], api_visibility="private"
    )
    seen = [ui["dataset"], ui["share"], ui["seed"], ui["images"]]
    # One listener for all of them: the last to ask is answered last, so an old dataset never replaces a new one.
    gr.on([*opened, *(item.change for item in seen)], report, seen, ui["report"], trigger_mode="always_last", api_visibility="private")


def _wire_model(context: Context, ui: dict) -> None:
    def advised(base):
        """Sensible method, batch and rate for a base, and the reason."""
        try:
            advice = plan.advise(context.workspace, (base or "").strip() or plan.DEFAULT_BASE)
        except UserError as error:
            return gr.skip(), gr.skip(), gr.skip(), html.note(str(error), "error")
        reason = f'<p class="x-small">{html.text(advice.method)} is advised: {html.text(advice.reason)}.</p>'
        return advice.method, advice.batch_size, advice.learning_rate, reason

    def rated(base, method):
        """The rate that suits a method, and what the method trains."""
        try:
            size = plan.base_facts(context.workspace.base_folder((base or "").strip() or plan.DEFAULT_BASE)).size
        except UserError:
            return gr.skip(), gr.skip()
        return methods.rate_for(method, size), f'<p class="x-small">{html.text(method)}: trains {html.text(METHODS[method])}.</p>'

    ui["base"].change(advised, ui["base"], [ui["method"], ui["batch_size"], ui["rate"], ui["reason"]], api_visibility="private")
    ui["method"].input(rated, [ui["base"], ui["method"]], [ui["rate"], ui["reason"]], api_visibility="private")


def _live_outputs(ui: dict) -> list:
    return [ui[n] for n in ("watched", "status", "loss", "warnings", "probes", "frame", "stop", "resume", "more", "compare")]


def _tick(context: Context):
    """A function that shows the watched run as its folder has it now; skips what has not changed."""

    def tick(name, frame):
        run = watched_run(context, name)
        if run is None:
            return [gr.skip()] * 10
        state, log = run.status(), run.log()
        start = next(by_kind(log, "start"), {"steps": state.steps})
        steps, epochs = list(by_kind(log, "step")), list(by_kind(log, "epoch"))
        drawn = plot.loss_plot(steps, epochs, start["steps"]) + scores_html(run)
        live = state.state == "running"
        frame = None if live else frame
        ended = state.state in ("stopped", "failed", "died", "waiting")
        return (
            run.name,
            status_html(run),
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


def _wire_live(context: Context, ui: dict) -> None:
    outputs = _live_outputs(ui)
    seen = gr.State(None)
    tick = _tick(context)

    def poll(name, frame, before):
        """Redraw only when the run's files have changed since, so that a quiet page stays quiet."""
        run = watched_run(context, name)
        stamp = None
        if run is not None:
            stats = [(run.folder / n) for n in ("log.jsonl", "status.json")]
            stamp = (run.name, run.status().state, *(p.stat().st_mtime_ns if p.exists() else 0 for p in stats))
        if stamp == before:
            return [gr.skip()] * (len(outputs) + 3)
        seen_running = before and stamp and before[:2] == (stamp[0], "running")
        ended = seen_running and stamp[1] != "running"
        finished = run.name if ended and stamp[1] == "finished" else gr.skip()
        return [*tick(name, frame), _past_with_undo(context) if ended or not before else gr.skip(), stamp, finished]

    @told
    def stop(name):
        owners_only(context)
        context.run(name).request_stop()
        gr.Info("Stopping after this step; everything learned so far is kept.")

    @told
    def resume(name):
        owners_only(context)
        worker.start(context.run(name), context.workspace)

    @told
    def more(name):
        owners_only(context)
        run = context.run(name)
        worker.start(change_config(run, epochs=run.config.epochs + 2), context.workspace)

    def show_frame(name, event: gr.EventData):
        at = int(event.value)
        return at, probes_html(context, context.run(name), at)

    @told
    def act(event: gr.EventData):
        name, kind = event.run, event.act
        if kind in ("delete", "restore"):
            owners_only(context)
        if kind == "delete":
            delete_run(context, name)
            gr.Info(f"Deleted {name}. Undo brings it back.")
        elif kind == "restore":
            back = restore_run(context)
            gr.Info(f"{back} is back." if back else "There is nothing to bring back.")
        return name if kind == "watch" else gr.skip(), _past_with_undo(context)

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
    ui["past"].act(act, None, [ui["watched"], ui["past"]], show_progress="hidden", api_visibility="private").then(
        tick, [ui["watched"], ui["frame"]], outputs, show_progress="hidden", api_visibility="private"
    )
    ui["probes"].act(show_frame, ui["watched"], [ui["frame"], ui["probes"]], show_progress="hidden", api_visibility="private")


def _past_with_undo(context: Context) -> str:
    undo = html.button("Undo the last delete", "restore", run="-") if list(context.workspace.trash.glob("*-*")) else ""
    return past_html(context) + f'<div class="x-toolbar">{undo}</div>'
