"""The CSV part of the Flag tab: take flags.csv along, bring an edited one back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gradio as gr

from explorer import flags_csv
from explorer.errors import UserError
from explorer.ui import flag_view, html
from explorer.ui.context import Context, told


def build() -> dict:
    with gr.Row(elem_id="flag-downloads"):
        download = gr.Button("Download flags.csv", elem_id="download-flags", size="sm", min_width=150)
        sheet = gr.Button("Download for a spreadsheet", elem_id="download-sheet", size="sm", min_width=150)
    made = gr.DownloadButton("the file", elem_id="flags-file", elem_classes="x-hidden")
    with gr.Accordion("Bring an edited flags.csv back", open=False, elem_id="flags-csv"):
        html.piece(
            '<p class="x-small">flags.csv holds every text as it was typed and opens in pandas as it is. The copy for spreadsheets puts an '
            "apostrophe before what a spreadsheet would run as a formula; it is taken off again when the file comes back. Edit reasons, "
            "corrections, notes, reviewers and status; what changed is shown here before anything is.</p>"
        )
        upload = gr.File(label="Edited flags CSV", file_types=[".csv"], height=100, elem_id="flags-upload")
        diff = html.piece(elem_id="import-diff", js_on_load=html.ACTIONS)
        with gr.Row():
            apply = gr.Button("Apply these changes", variant="primary", visible=False, elem_id="import-apply", size="sm")
            drop = gr.Button("Leave everything as it is", visible=False, size="sm", elem_id="import-drop")
    imported = gr.State({"path": None, "sides": {}})
    return {
        "download": download,
        "sheet": sheet,
        "made": made,
        "upload": upload,
        "diff": diff,
        "apply": apply,
        "drop": drop,
        "imported": imported,
    }


def write_download(context: Context, spreadsheet: bool) -> str:
    """The path of a complete, current CSV in a folder of its own."""
    exports = context.workspace.cache / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="flags-", dir=exports)) / ("flags-for-spreadsheet.csv" if spreadsheet else "flags.csv")
    context.flags.settle()
    flags_csv.export(context.flags, path, spreadsheet)
    return str(path)


def wire(context: Context, ui: dict, show, shown: list, quiet: dict) -> None:
    """``show(desk)`` gives what ``shown`` are to show after flags have changed."""
    press = "() => setTimeout(() => document.querySelector('#flags-file a, a#flags-file, #flags-file')?.click(), 200)"
    for name, spreadsheet in (("download", False), ("sheet", True)):
        write = told(lambda spreadsheet=spreadsheet: write_download(context, spreadsheet))
        ui[name].click(write, None, ui["made"], api_visibility="private").then(None, None, None, js=press)
    choosing = [ui["imported"], ui["diff"], ui["apply"], ui["drop"]]

    def looked(imported: dict) -> list:
        found = flags_csv.read(context.flags, Path(imported["path"]))
        visible = gr.update(visible=bool(found.changes))
        return [imported, flag_view.import_html(found, imported["sides"]), visible, gr.update(visible=True)]

    @told
    def read(path):
        return looked({"path": path, "sides": {}}) if path else forget()[1:]

    @told
    def side(imported, event: gr.EventData):
        return looked({**imported, "sides": {**imported["sides"], event.flag: event.value}})

    @told
    def apply(imported, desk, reviewer):
        if not imported["path"]:
            raise UserError("Choose an edited CSV first.")
        found = flags_csv.read(context.flags, Path(imported["path"]))
        count = flags_csv.apply(context.flags, found.changes, imported["sides"], (reviewer or "").strip())
        return [*show(desk), html.note(f"Applied the changes of {count} flags. Undo takes them back together."), *forget()]

    def forget():
        return [None, {"path": None, "sides": {}}, "", gr.update(visible=False), gr.update(visible=False)]

    ui["upload"].upload(read, ui["upload"], choosing, api_visibility="private")
    ui["diff"].act(side, ui["imported"], choosing, **quiet)
    cleared = [ui["upload"], *choosing]
    ui["apply"].click(
        apply, [ui["imported"], ui["state"], ui["reviewer"]], [*shown, ui["said"], *cleared], api_visibility="private"
    )
    ui["drop"].click(forget, None, cleared, **quiet)
