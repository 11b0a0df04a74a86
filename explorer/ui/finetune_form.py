"""The form of the Fine-tune tab: which data, which model, which run; what it will take, and the command that does the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import gradio as gr

from explorer.data import dataset as datasets
from explorer.data import sources
from explorer.errors import UserError
from explorer.train import best, methods, plan
from explorer.train.run import METHODS, RunConfig
from explorer.ui import html
from explorer.ui.context import Context, told
from explorer.ui.data_view import data_report

SCENES = "scenes"
AT_FIRST = methods.advise(0, cuda=False)
"""What the form holds when the page opens, on the embedded base: advice for a small model, for which torch is not needed."""
FORM = (
    *("dataset", "base", "method", "epochs", "batch_size", "rate", "images", "share"),
    *("seed", "references", "augment", "best_by", "keep", "patience", "name"),
)
"""The parts of the form that make a run, in the order handlers are given them."""


def build(context: Context, machine_part) -> dict:
    """Lay out the form; its components by name. ``machine_part``: lays out the choice of a machine, at the end of the run's part."""
    return {**_data_part(context), **_model_part(context), **_run_part(context, machine_part)}


def wire(context: Context, ui: dict, opened: list) -> None:
    """What happens inside the form. ``opened``: events that bring it into sight."""
    _wire_data(context, ui, opened)
    _wire_model(context, ui, opened)
    _wire_price(context, ui, opened)


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
        fetch = gr.Button("Fetch", size="sm", elem_id="fetch")
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


def _model_part(context: Context) -> dict:
    html.piece('<h2 class="x-heading">2 · Model</h2>')
    base = gr.Dropdown(
        choices=base_choices(context),
        value=plan.DEFAULT_BASE,
        allow_custom_value=True,
        label="Base",
        elem_id="base",
        info="The embedded base, a checkpoint of a run, a Hub id, or a folder with a captioning model",
    )
    method = gr.Radio(choices=list(METHODS), value=AT_FIRST.method, label="What learns", elem_id="method")
    reason = html.piece(elem_id="reason")
    return {"base": base, "method": method, "reason": reason}


def _run_part(context: Context, machine_part) -> dict:
    html.piece('<h2 class="x-heading">3 · Run</h2>')
    with gr.Row():
        epochs = gr.Number(3, label="Epochs", precision=0, minimum=1, maximum=1000, min_width=80, elem_id="epochs")
        batch_size = gr.Number(AT_FIRST.batch_size, label="Batch size", precision=0, minimum=1, maximum=1024, min_width=80)
        rate = gr.Number(AT_FIRST.learning_rate, label="Learning rate", min_width=80)
    with gr.Accordion("More", open=False):
        with gr.Row():
            images = gr.Number(0, label="Images to use (0: all)", precision=0, minimum=0, min_width=120)
            share = gr.Slider(0.05, 0.5, 0.2, step=0.05, label="Kept for validation", min_width=120)
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, min_width=80)
            references = gr.Dropdown(["all", "sample"], value="all", label="References a pass", min_width=100)
            augment = gr.Checkbox(True, label="Augment images", min_width=100)
        with gr.Row():
            best_by = gr.Dropdown([(name, by) for by, name in best.NAMES.items()], value="loss", label="Best epoch by", min_width=110)
            keep = gr.Dropdown(
                [("all epochs", "all"), ("the best epoch", "best"), ("the last epoch", "last")],
                value="all",
                label="Weights to keep",
                info="Captions of every epoch stay",
                min_width=110,
            )
            patience = gr.Number(
                0,
                label="End early",
                info="after epochs without a better one; 0: never",
                precision=0,
                minimum=0,
                maximum=1000,
                min_width=110,
                elem_id="patience",
            )
        name = gr.Textbox(label="Name of the run", placeholder="made from base and dataset")
    machine = machine_part(context)
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
        "best_by": best_by,
        "keep": keep,
        "patience": patience,
        "name": name,
        **machine,
        "price": price,
        "start": start,
    }


def dataset_choices(context: Context) -> list[tuple[str, str]]:
    seen = sources.list_datasets(context.workspace) if context.may("import") else []
    own = [(path.name, str(path)) for path in seen if path.name != SCENES]
    return [*own, ("drawn pets (embedded)", SCENES)]


def dataset_folder(context: Context, chosen: str) -> Path:
    """The image folder of the chosen dataset. Raises UserError: a public page opens none but its own, and to visitors the drawn one."""
    if not chosen:
        raise UserError("Choose a dataset, or drop a zip of captioned photos.")
    scenes = (SCENES, str(context.workspace.datasets / SCENES))
    if context.settings.public and chosen not in scenes:
        context.allow("import")
        if chosen not in [folder for _, folder in dataset_choices(context)]:
            raise UserError(f"There is no dataset {Path(chosen).name!r} here: choose one of the list, or bring a zip.")
    return plan.find_dataset(SCENES if chosen in scenes else chosen, context.workspace)


def check_base(context: Context, base: str) -> str:
    """``base``, or the usual one when it is empty. Raises UserError: a public page opens no folder of its machine."""
    base = (base or "").strip() or plan.DEFAULT_BASE
    if context.settings.public and base not in base_choices(context):
        context.allow("train")
        if not sources.is_hub_id(base) or Path(base).exists():
            raise UserError(f"The base {base!r} cannot be used on a public page: choose one of the list, or a Hub id such as owner/name.")
    return base


def read_dataset(context: Context, chosen: str) -> datasets.Dataset:
    """The chosen dataset, checked; what was opened before is remembered."""
    folder = dataset_folder(context, chosen)
    return datasets.read(folder, max_images=context.settings.max_images, cache=context.workspace.cache)


def base_choices(context: Context) -> list[str]:
    """The known bases, then the checkpoints of the newest runs, each as run@epoch."""
    runs = context.runs()[:8]
    return [*plan.BASES, *(f"{run.name}@{checkpoint.epoch}" for run in runs for checkpoint in reversed(run.checkpoints()))]


# --- what the form means ----------------------------------------------------------------------------------


def make_config(context: Context, choice: dict) -> RunConfig:
    """The RunConfig the form describes, ``choice`` by the names of `FORM`. Raises UserError for an empty or impossible value."""
    for name, label in (("epochs", "Epochs"), ("batch_size", "Batch size"), ("rate", "Learning rate"), ("seed", "Seed")):
        if choice[name] is None:
            raise UserError(f"{label} is empty: give a number.")
    folder = str(dataset_folder(context, choice["dataset"]))
    base = check_base(context, choice["base"])
    return RunConfig(
        name=(choice["name"] or "").strip() or plan.next_name(context.workspace, base, folder),
        base=base,
        dataset=folder,
        epochs=int(choice["epochs"]),
        batch_size=int(choice["batch_size"]),
        learning_rate=float(choice["rate"]),
        method=choice["method"],
        seed=int(choice["seed"]),
        images=int(choice["images"]) if choice["images"] else None,
        validation=float(choice["share"]),
        augment=bool(choice["augment"]),
        references=choice["references"],
        best_by=choice["best_by"],
        keep=choice["keep"],
        patience=int(choice["patience"] or 0),
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
    free = shutil.disk_usage(context.workspace.root).free
    room = html.note(f"Only {html.size(free)} are free on this disk: the run will not fit.", "warning") if free < price.disk else ""
    how = "as fast as your last run like it" if price.measured else "reckoned, until a first run has measured it"
    return (
        f'<p class="x-price">about {html.duration(price.seconds)}, {html.size(price.memory)} of memory, {html.size(price.disk)} on disk</p>'
        f'<p class="x-small">{how}</p><code class="x-command">{html.text(plan.command_line(config))}</code>'
        + room
        + (listed if long else "")
    )


# --- handlers ---------------------------------------------------------------------------------------------


def _wire_data(context: Context, ui: dict, opened: list) -> None:
    @told
    def brought(paths):
        context.allow("import")
        context.room_for(sum(Path(path).stat().st_size for path in paths or ()))
        if not paths:
            return gr.skip()
        folder = sources.import_files([Path(p) for p in paths], context.workspace)
        return gr.update(choices=dataset_choices(context), value=str(folder)), None

    @told
    def fetched(source, split, image, caption, progress=gr.Progress()):  # noqa: B008 - gradio's way to show progress
        context.allow("import")
        context.room_for()
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


def _wire_model(context: Context, ui: dict, opened: list) -> None:
    def reason_for(base):
        try:
            advice = plan.advise(context.workspace, check_base(context, base))
        except UserError as error:
            return html.note(str(error), "error")
        return f'<p class="x-small">{html.text(advice.method)} is advised: {html.text(advice.reason)}.</p>'

    def advised(base):
        """Sensible method, batch and rate for a base, and the reason."""
        try:
            advice = plan.advise(context.workspace, check_base(context, base))
        except UserError as error:
            return gr.skip(), gr.skip(), gr.skip(), html.note(str(error), "error")
        reason = f'<p class="x-small">{html.text(advice.method)} is advised: {html.text(advice.reason)}.</p>'
        return advice.method, advice.batch_size, advice.learning_rate, reason

    def rated(base, method):
        """The rate that suits a method, and what the method trains."""
        try:
            size = plan.base_facts(context.workspace.base_folder(check_base(context, base))).size
        except UserError:
            return gr.skip(), gr.skip()
        return methods.rate_for(method, size), f'<p class="x-small">{html.text(method)}: trains {html.text(METHODS[method])}.</p>'

    ui["base"].change(advised, ui["base"], [ui["method"], ui["batch_size"], ui["rate"], ui["reason"]], api_visibility="private")
    ui["method"].input(rated, [ui["base"], ui["method"]], [ui["rate"], ui["reason"]], api_visibility="private")
    gr.on(opened, reason_for, ui["base"], ui["reason"], show_progress="hidden", api_visibility="private")


def _wire_price(context: Context, ui: dict, opened: list) -> None:
    priced = [ui[name] for name in FORM[:-1]]

    def price(*values):
        if not context.may("train"):
            return ""
        try:
            return price_html(context, make_config(context, dict(zip(FORM, (*values, ""), strict=True))))
        except UserError as error:
            return html.note(str(error), "warning")

    gr.on(
        [*opened, *(item.change for item in priced)],
        price,
        priced,
        ui["price"],
        show_progress="minimal",
        trigger_mode="always_last",
        api_visibility="private",
    )
