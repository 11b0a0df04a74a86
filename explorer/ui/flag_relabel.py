"""From flags to a better run, in the Flag tab: the relabelled dataset, the fine-tune on it, and whether it helped."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gradio as gr

from explorer.errors import UserError
from explorer.flag import helped, next_run, relabel, relabel_out, worklist
from explorer.flag.flags import Choice, Flag
from explorer.flag.relabel import RULES
from explorer.hub import push as pushing
from explorer.train import worker
from explorer.ui import doors, html, relabel_view
from explorer.ui.context import Context, told

RULE_CHOICES = [(words[0].upper() + words[1:], rule) for rule, words in RULES.items()]


def build(context: Context) -> dict:
    with gr.Accordion("Make the relabelled dataset, and fine-tune on it", open=False, elem_id="relabel") as opened:
        html.piece(
            '<p class="x-small">A flag marks a caption; relabelling changes the references a model learns from. The new version is a '
            "dataset of its own: the old one stays, and every image without a corrected flag is byte for byte the same.</p>"
        )
        doors.notice(context, "relabel")
        with gr.Row():
            dataset = gr.Dropdown([], label="Dataset", elem_id="relabel-dataset", scale=2, min_width=200)
            name = gr.Textbox(label="Name of the new version", placeholder="made from the old one", scale=2, min_width=200)
        rule = gr.Radio(RULE_CHOICES, value="mistaken", label="What a correction does", elem_id="relabel-rule")
        preview = html.piece(elem_id="relabel-preview")
        with gr.Row():
            start = gr.Button("Make it and fine-tune on it", variant="primary", elem_id="relabel-start", min_width=180)
            make = gr.Button("Only make the dataset", elem_id="relabel-make", min_width=150)
        for part, act in ((start, "train"), (make, "relabel")):
            context.door(part, act)
        said = html.piece(elem_id="relabel-said")
        version = gr.State(None)  # the folder of the version made last
        with gr.Row(visible=False, elem_id="relabel-out") as out:
            folder_zip = gr.Button("Download as an image folder", size="sm", min_width=140)
            saved_zip = gr.Button("Download as a datasets folder", size="sm", min_width=140)
            repo = gr.Textbox(label="Hub dataset", placeholder="owner/name", min_width=140, elem_id="relabel-repo")
            push = gr.Button("Push to the Hub", size="sm", min_width=120)
        made = gr.DownloadButton("the zip", elem_id="relabel-file", elem_classes="x-hidden")
    with gr.Accordion("Did it help?", open=False, elem_id="helped") as asked:
        after = gr.Dropdown([], label="Run on a relabelled dataset", elem_id="helped-run")
        caption = gr.Button("Caption the flagged images", visible=False, size="sm", elem_id="helped-fill")
        context.door(caption, "caption")
        captioning = html.piece()
        result = html.piece(elem_id="helped-result")
    return {
        "relabel_opened": opened,
        "dataset": dataset,
        "name": name,
        "rule": rule,
        "preview": preview,
        "start": start,
        "make": make,
        "relabel_said": said,
        "version": version,
        "out": out,
        "folder_zip": folder_zip,
        "saved_zip": saved_zip,
        "repo": repo,
        "push": push,
        "relabel_file": made,
        "asked": asked,
        "after": after,
        "caption": caption,
        "captioning": captioning,
        "result": result,
        "started": gr.State(None),  # the name of a run that was started here
    }


# --- what is done -----------------------------------------------------------------------------------------


def corrected(context: Context) -> list[Flag]:
    return [flag for flag in context.flags.find(Choice(status="open")) if flag.corrected_caption]


def planned(context: Context, folder: str | None, rule: str) -> relabel.Plan:
    """The plan for the chosen dataset. Raises UserError."""
    context.allow("relabel")
    if not folder:
        raise UserError("No corrected flag is open: correct some first, by a reference (r), another epoch (e) or in words.")
    if context.settings.public and folder not in map(str, next_run.flagged_datasets(context.workspace, corrected(context))):
        raise UserError(f"The dataset {Path(folder).name} has no corrected flag that is open: choose one of the list.")
    return relabel.plan(next_run.read(Path(folder), context.workspace, context.settings.max_images), corrected(context), rule)


def make_version(context: Context, folder: str | None, rule: str, name: str, who: str) -> Path:
    """Write the relabelled dataset and mark its flags. Raises UserError."""
    plan = planned(context, folder, rule)
    context.room_for()
    version = relabel.write(plan, context.workspace, (name or "").strip() or None)
    relabel.finish(plan, context.flags, version.name, context.reviewer(who))
    return version


def zip_of(context: Context, version: str, saved: bool) -> str:
    """A zip of a version, as an image folder or as a `datasets` folder; its path."""
    context.allow("relabel")
    exports = context.exports
    exports.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="dataset-", dir=exports))
    root = relabel_out.save(Path(version), place / "saved") if saved else Path(version)
    return str(relabel_out.zipped(root, place / f"{Path(version).name}{'-datasets' if saved else ''}.zip"))


def help_of(context: Context, name: str | None) -> tuple[str, dict]:
    """(what came of it, the button for captions that are missing)."""
    hidden = gr.update(visible=False)
    if not name:
        what = "Make the relabelled dataset and fine-tune on it, above; when that run has an epoch, it is compared here."
        return html.empty("No run on a relabelled dataset yet", what), hidden
    found = helped.helped(context.workspace, context.run(name))
    missing = len(found.missing_before) + len(found.missing_after)
    button = gr.update(visible=bool(missing), value=f"Caption the {missing} images that are missing here")
    if not found.outcomes:
        return html.empty("No image has both captions yet", "Press the button above: the flagged images are captioned by the new run."), button
    return relabel_view.help_html(context, found), button


# --- handlers ---------------------------------------------------------------------------------------------


def wire(context: Context, ui: dict, show, shown: list, quiet: dict) -> None:
    """``show(desk)`` gives what ``shown`` are to show after flags have changed."""
    _wire_making(context, ui, show, shown, quiet)
    _wire_out(context, ui, quiet)
    _wire_help(context, ui, quiet)


def _wire_making(context: Context, ui: dict, show, shown: list, quiet: dict) -> None:
    def preview(folder, rule):
        try:
            return relabel_view.plan_html(context, planned(context, folder, rule))
        except UserError as error:
            return html.note(str(error))

    def opened(folder, rule):
        if not context.may("relabel"):
            return gr.skip(), ""
        folders = [str(path) for path in next_run.flagged_datasets(context.workspace, corrected(context))]
        folder = folder if folder in folders else next(iter(folders), None)
        return gr.update(choices=[(Path(path).name, path) for path in folders], value=folder), preview(folder, rule)

    @told
    def make(desk, folder, rule, name, who):
        version = make_version(context, folder, rule, name, who)
        return [str(version), html.note(_made(version)), gr.update(visible=True), *show(desk), *opened(None, rule)]

    @told
    def start(desk, folder, rule, name, who):
        context.allow("train")
        run = next_run.flagged_run(context.workspace, corrected(context))
        with context.starting():
            if run is None:
                raise UserError("The run of these flags is gone: make the dataset, then choose it in the Fine-tune tab.")
            version = make_version(context, folder, rule, name, who)
            new = next_run.make(context.workspace, run, version)
            worker.start(new, context.workspace)
        return [str(version), html.note(f"{_made(version)} The run {new.name} has started."), gr.update(visible=True), *show(desk), new.name]

    wanted = [ui["state"], ui["dataset"], ui["rule"], ui["name"], ui["reviewer"]]
    made = [ui["version"], ui["relabel_said"], ui["out"], *shown]
    ui["relabel_opened"].expand(opened, [ui["dataset"], ui["rule"]], [ui["dataset"], ui["preview"]], api_visibility="private")
    gr.on([ui["dataset"].input, ui["rule"].input], preview, [ui["dataset"], ui["rule"]], ui["preview"], api_visibility="private")
    ui["make"].click(make, wanted, [*made, ui["dataset"], ui["preview"]], api_visibility="private")
    ui["start"].click(start, wanted, [*made, ui["started"]], api_visibility="private")


def _made(version: Path) -> str:
    found = relabel.read_manifest(version)
    return f"Made {version.name}: {found['changed']} images have other references; its relabel.json says from which flags."


def _wire_out(context: Context, ui: dict, quiet: dict) -> None:
    press = "() => setTimeout(() => document.querySelector('#relabel-file a, a#relabel-file, #relabel-file')?.click(), 200)"
    for name, saved in (("folder_zip", False), ("saved_zip", True)):
        pack = told(lambda version, saved=saved: zip_of(context, version, saved))
        ui[name].click(pack, ui["version"], ui["relabel_file"], api_visibility="private").then(None, None, None, js=press)

    @told
    def push(version, repo):
        context.allow("push")
        for step in pushing.dataset(Path(version), repo):
            yield html.note(f"{step.text[:1].upper()}{step.text[1:]}.") if step.address else html.bar(step.share, step.text)

    ui["push"].click(push, [ui["version"], ui["repo"]], ui["relabel_said"], api_visibility="private")


def _wire_help(context: Context, ui: dict, quiet: dict) -> None:
    @told
    def opened(name):
        runs = [run.name for run in helped.runs_on_versions(context.runs())]
        name = name if name in runs else next(iter(runs), None)
        return [gr.update(choices=runs, value=name), *help_of(context, name)]

    @told
    def chosen(name):
        return help_of(context, name)

    @told
    def fill(name):
        context.allow("caption")
        found = helped.helped(context.workspace, context.run(name))
        for (run_name, epoch), images in ((found.before, found.missing_before), (found.after, found.missing_after)):
            run = context.run(run_name)
            for done, total in worklist.fill(context.shelf, run, epoch, images):
                yield html.bar(done / total, f"{run_name}: {done} of {total} images captioned")
        yield ""

    shown = [ui["result"], ui["caption"]]
    ui["asked"].expand(opened, ui["after"], [ui["after"], *shown], api_visibility="private")
    ui["after"].input(chosen, ui["after"], shown, api_visibility="private")
    filled = ui["caption"].click(fill, ui["after"], ui["captioning"], **quiet)
    filled.then(chosen, ui["after"], shown, **quiet)
