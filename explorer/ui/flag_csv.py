"""The CSV part of the Flag tab: take flags.csv along, bring an edited one back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gradio as gr

from explorer.errors import UserError
from explorer.flag import flags_csv
from explorer.ui import doors, html
from explorer.ui.context import Context, told


def build(context: Context) -> dict:
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
        doors.notice(context, "review")
        aside = html.piece(elem_id="flags-aside")
        upload = gr.File(label="Edited flags CSV", file_types=[".csv"], height=100, elem_id="flags-upload")
        context.door(upload, "review")
        diff = html.piece(elem_id="import-diff", js_on_load=html.ACTIONS)
        with gr.Row():
            apply = gr.Button("Apply these changes", variant="primary", visible=False, elem_id="import-apply", size="sm")
            drop = gr.Button("Leave everything as it is", visible=False, size="sm", elem_id="import-drop")
    imported = gr.State({"path": None, "sides": {}})
    return {
        "download": download,
        "sheet": sheet,
        "made": made,
        "aside": aside,
        "upload": upload,
        "diff": diff,
        "apply": apply,
        "drop": drop,
        "imported": imported,
    }


def write_download(context: Context, spreadsheet: bool) -> str:
    """The path of a complete, current CSV in a folder of its own."""
    context.take("export")
    exports = context.exports
    exports.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="flags-", dir=exports)) / ("flags-for-spreadsheet.csv" if spreadsheet else "flags.csv")
    context.flags.settle()
    flags_csv.export(context.flags, path, spreadsheet)
    return str(path)


# --- what is shown ----------------------------------------------------------------------------------------


def import_html(found: flags_csv.Import, sides: dict[str, str]) -> str:
    """What an edited CSV would change, line by line, before anything is changed; the person chooses in each line."""
    counts = [
        (len(found.changes), "would change", "would change"),
        (sum(bool(c.conflicts) for c in found.changes), "was changed here, too", "were changed here, too"),
        (found.unchanged, "is as it is here", "are as they are here"),
        (len(found.problems), "cannot be used", "cannot be used"),
    ]
    told = ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in counts if count or one == "would change")
    rows = "".join(_change(change, sides.get(change.after.flag_id)) for change in found.changes[:200])
    more = f"<li>and {len(found.changes) - 200:,} more changes</li>" if len(found.changes) > 200 else ""
    problems = "".join(f"<li>line {line}: {html.text(reason)}</li>" for line, reason in found.problems[:200])
    listed = f'<p class="x-small x-label">Left out</p><ul class="x-problems">{problems}</ul>' if problems else ""
    return f'{html.note(f"Of the lines of this file, {told}.", "warning" if found.problems else "info")}<ul class="x-changes">{rows}{more}</ul>{listed}'


def _change(change: flags_csv.Change, side: str | None) -> str:
    if change.before is None:
        fields = '<span class="x-small">a flag that is not here</span>'
    else:
        fields = "".join(
            f'<br><span class="x-small">{html.text(name.replace("_", " "))}{" (changed here, too)" if name in change.conflicts else ""}: </span>'
            f'<span class="x-words"><del>{html.text(old or "empty")}</del> <ins>{html.text(new or "empty")}</ins></span>'
            for name, old, new in change.fields()
        )
    labels = (("theirs", "Take theirs"), ("mine", "Keep mine")) if change.conflicts else (("theirs", "Apply"), ("mine", "Leave out"))
    chosen = side or ("" if change.conflicts else "theirs")
    buttons = "".join(
        f'<button type="button" class="x-button" data-act="side" data-flag="{change.after.flag_id}" data-value="{value}" '
        f'aria-pressed="{"true" if value == chosen else "false"}">{label}</button>'
        for value, label in labels
    )
    kind = "x-change conflict" if change.conflicts and not side else "x-change"
    return (
        f'<li class="{kind}"><span><span class="x-small">line {change.line} </span>{html.text(change.after.caption)}{fields}</span>'
        f'<span class="x-verdicts">{buttons}</span></li>'
    )


def aside_html(context: Context) -> str:
    """Copies of a flags.csv that somebody edited in place, which were kept when it was written anew."""
    found = sorted(path.name for path in context.workspace.root.glob("flags.edited-*.csv"))
    if not found:
        return ""
    return html.note(f"flags.csv was edited in its place; the edited file was kept as {', '.join(found)} beside it. Bring it back here.", "warning")


# --- handlers ---------------------------------------------------------------------------------------------


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
        return [imported, import_html(found, imported["sides"]), visible, gr.update(visible=True)]

    @told
    def read(path):
        context.allow("review")
        return looked({"path": path, "sides": {}}) if path else forget()[1:]

    @told
    def side(imported, event: gr.EventData):
        context.allow("review")
        return looked({**imported, "sides": {**imported["sides"], event.flag: event.value}})

    @told
    def apply(imported, desk, reviewer):
        context.allow("review")
        if not imported["path"]:
            raise UserError("Choose an edited CSV first.")
        found = flags_csv.read(context.flags, Path(imported["path"]))
        count = flags_csv.apply(context.flags, found.changes, imported["sides"], context.reviewer(reviewer))
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
