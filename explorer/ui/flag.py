"""The Flag tab: the flags as a list with pictures, the chosen one to edit, counts, the CSV out and in, undo."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gradio as gr

from explorer import flags_csv
from explorer.errors import UserError
from explorer.flags import REASONS, STATUSES, Flag
from explorer.run import Run
from explorer.ui import html
from explorer.ui.context import Context, told

ANY = "any"
SHOWN = 100


def build(context: Context) -> dict:
    """Lay out the tab inside a gr.Tab; returns the components other parts of the page need."""
    state = gr.State({"chosen": None, "import": None})
    with gr.Row():
        search = gr.Textbox(label="Search words", placeholder="in captions, corrections, notes, file names", scale=3, min_width=200)
        status = gr.Dropdown([ANY, *STATUSES], value=ANY, label="Status", scale=1, min_width=120)
        reason_filter = gr.Dropdown([ANY, *REASONS], value=ANY, label="Reason", scale=1, min_width=140)
    counts = html.piece(elem_id="flag-counts", js_on_load=html.ACTIONS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            items = html.piece(elem_id="flag-list", js_on_load=html.ACTIONS)
        with gr.Column(scale=4, min_width=300):
            detail = _detail_part()
    more = _csv_part()
    ui = {
        "state": state,
        "search": search,
        "status": status,
        "reason_filter": reason_filter,
        "counts": counts,
        "items": items,
        **detail,
        **more,
    }
    _wire(context, ui)
    return ui


def _detail_part() -> dict:
    detail = html.piece(html.empty("No flag chosen", "Press one in the list to edit it."), elem_id="flag-detail")
    with gr.Group(visible=False) as form:
        reason = gr.Radio(list(REASONS), label="What is wrong with it")
        correction = gr.Textbox(label="Corrected caption", lines=2, elem_id="flag-correction")
        with gr.Row():
            flag_status = gr.Dropdown(list(STATUSES), label="Status", min_width=120)
            reviewer = gr.Textbox(label="Reviewer", min_width=120)
        note = gr.Textbox(label="Note")
        with gr.Row():
            save = gr.Button("Save", variant="primary", elem_id="flag-save", min_width=80)
            dismiss = gr.Button("Dismiss", min_width=80)
            remove = gr.Button("Remove", variant="stop", min_width=80, elem_id="flag-remove")
    with gr.Row():
        undo = gr.Button("Undo the last change", size="sm", elem_id="flags-undo")
        redo = gr.Button("Redo", size="sm")
    said = html.piece(elem_id="flags-said")
    return {
        "detail": detail,
        "form": form,
        "reason": reason,
        "correction": correction,
        "flag_status": flag_status,
        "reviewer": reviewer,
        "note": note,
        "save": save,
        "dismiss": dismiss,
        "remove": remove,
        "undo": undo,
        "redo": redo,
        "said": said,
    }


def _csv_part() -> dict:
    with gr.Row():
        download = gr.DownloadButton("Download flags.csv", elem_id="download-flags", size="sm")
        sheet = gr.DownloadButton("Download for a spreadsheet", elem_id="download-sheet", size="sm")
    with gr.Accordion("Bring an edited CSV back", open=False):
        upload = gr.File(label="Edited flags CSV", file_types=[".csv"], height=100, elem_id="flags-upload")
        diff = html.piece(elem_id="import-diff")
        with gr.Row():
            apply = gr.Button("Apply these changes", variant="primary", visible=False, elem_id="import-apply", size="sm")
            drop = gr.Button("Leave everything as it is", visible=False, size="sm")
    return {"download": download, "sheet": sheet, "upload": upload, "diff": diff, "apply": apply, "drop": drop}


# --- what is shown ----------------------------------------------------------------------------------------


def chosen_flags(context: Context, search: str, status: str, reason: str) -> list[Flag]:
    """The flags that pass the filters, newest first."""
    found = context.flags.list(status=None if status == ANY else status, reason=None if reason == ANY else reason, search=search or "")
    return found[::-1]


def items_html(context: Context, flags: list[Flag], chosen: str | None) -> str:
    if not flags:
        if context.flags.list():
            return html.empty("No flag is left", "Take a filter off, or search for fewer words.")
        return html.empty("No flags yet", "In Compare, press a caption that is wrong and flag it; it is listed here and in flags.csv.")
    paths = picture_paths(context, flags[:SHOWN])
    rows = "".join(_item(context, flag, flag.flag_id == chosen, paths.get((flag.run, flag.image_id))) for flag in flags[:SHOWN])
    more = f'<p class="x-small">and {len(flags) - SHOWN:,} more: search or filter to see them</p>' if len(flags) > SHOWN else ""
    return f'<div class="x-items">{rows}{more}</div>'


def _item(context: Context, flag: Flag, chosen: bool, path: Path | None) -> str:
    correction = f'<p class="correction">{html.text(flag.corrected_caption)}</p>' if flag.corrected_caption else ""
    uri = context.thumb(path, flag.image_id) if path else None
    return (
        f'<button type="button" class="x-item" data-act="choose" data-value="{flag.flag_id}" aria-current="{"true" if chosen else "false"}">'
        f"{html.picture(uri, flag.image_file)}<span><p>{html.text(flag.caption)}</p>{correction}"
        f'<span class="x-small">{html.text(flag.reason)} · {html.text(flag.run)} {html.text(flag.checkpoint)} · {html.text(flag.status)}</span></span></button>'
    )


def picture_paths(context: Context, flags: list[Flag]) -> dict[tuple[str, str], Path]:
    """Where the flagged images are: in their runs, or among the photos somebody dropped."""
    found: dict[tuple[str, str], Path] = {}
    for name in {flag.run for flag in flags}:
        try:
            run: Run = context.run(name)
        except UserError:
            continue
        found |= {(name, row["image_id"]): run.folder / row["path"] for row in run.examples("validation")}
    for flag in flags:
        if (flag.run, flag.image_id) not in found:
            kept = next(iter((context.workspace.cache / "photos").glob(f"{flag.image_id}.*")), None)
            found |= {(flag.run, flag.image_id): kept} if kept else {}
    return found


def detail_html(context: Context, flag: Flag) -> str:
    path = picture_paths(context, [flag]).get((flag.run, flag.image_id))
    large = context.thumb(path, flag.image_id, 760) if path else None
    references = "".join(f"<li>{html.text(text)}</li>" for text in flag.references)
    told_references = f'<dt>references</dt><dd><ul class="x-references">{references}</ul></dd>' if references else ""
    return (
        f'<div class="x-detail">{html.picture(large, flag.image_file, "large")}<span class="x-name">{html.text(flag.image_file)}</span>'
        f"<dl><dt>caption of {html.text(flag.run)}, {html.text(flag.checkpoint)}</dt><dd>{html.text(flag.caption)}</dd>{told_references}</dl></div>"
    )


def counts_html(context: Context, chosen: str) -> str:
    """Counts by reason as bars that filter, and how far the review is."""
    counts = context.flags.counts()
    total = sum(counts["status"].values())
    if not total:
        return ""
    corrected = sum(1 for flag in context.flags.list() if flag.corrected_caption or flag.status != "open")
    rows = [(reason, counts["reason"][reason]) for reason in REASONS if counts["reason"][reason]]
    return html.bar(corrected / total, f"{corrected} of {total} flags corrected, relabelled or dismissed") + html.counts(
        rows, "reason", chosen
    )


def import_html(found: flags_csv.Import) -> str:
    """What an edited CSV would change, line by line, before anything is changed."""
    rows = []
    for change in found.changes[:200]:
        conflict = " <strong>(changed here since the file was written)</strong>" if change.conflicts else ""
        fields = "".join(
            f'<br><span class="x-small">{html.text(name.replace("_", " "))}: </span><span class="x-words"><del>{html.text(old)}</del> <ins>{html.text(new)}</ins></span>'
            for name, old, new in change.fields()
        )
        rows.append(f"<li>{html.text(change.after.caption)}{conflict}{fields}</li>")
    rows += [f"<li>line {line}: {html.text(reason)}; it is left out</li>" for line, reason in found.problems[:200]]
    summary = f"{len(found.changes)} changes, {found.unchanged} flags as they are, {len(found.problems)} lines that cannot be used"
    return f"{html.note(summary, 'warning' if found.problems else 'info')}<ul class='x-problems'>{''.join(rows)}</ul>"


def write_downloads(context: Context) -> tuple[str, str]:
    """Paths of flags.csv and of its copy for spreadsheets, both complete and current."""
    folder = Path(tempfile.mkdtemp(prefix="flags-", dir=_made(context.workspace.cache / "exports")))
    raw, sheet = folder / "flags.csv", folder / "flags-for-spreadsheet.csv"
    flags_csv.export(context.flags, raw)
    flags_csv.export(context.flags, sheet, spreadsheet=True)
    return str(raw), str(sheet)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- handlers ---------------------------------------------------------------------------------------------


def _wire(context: Context, ui: dict) -> None:
    filters = [ui["search"], ui["status"], ui["reason_filter"]]
    lists = [ui["items"], ui["counts"], ui["download"], ui["sheet"]]
    details = [ui[n] for n in ("detail", "form", "reason", "correction", "flag_status", "reviewer", "note")]

    def lists_now(state, search, status, reason):
        flags = chosen_flags(context, search, status, reason)
        return items_html(context, flags, state["chosen"]), counts_html(context, reason), *write_downloads(context)

    def details_now(state):
        flag = context.flags.get(state["chosen"]) if state["chosen"] else None
        if flag is None:
            return html.empty("No flag chosen", "Press one in the list to edit it."), gr.update(visible=False), None, "", None, "", ""
        return (
            detail_html(context, flag),
            gr.update(visible=True),
            flag.reason,
            flag.corrected_caption,
            flag.status,
            flag.reviewer,
            flag.note,
        )

    @told
    def refresh(state, *chosen):
        return lists_now(state, *chosen)

    @told
    def choose(state, search, status, reason, event: gr.EventData):
        state = {**state, "chosen": event.value}
        return [state, *lists_now(state, search, status, reason), *details_now(state)]

    @told
    def by_reason(reason, event: gr.EventData):
        return ANY if reason == event.value else event.value

    def changing(act):
        """A handler that changes flags by ``act`` and shows everything anew, with a sentence about it."""

        @told
        def handler(state, search, status, reason_filter, *values):
            said = act(state, *values)
            return [*lists_now(state, search, status, reason_filter), *details_now(state), html.note(said)]

        return handler

    def save(state, reason, correction, status, reviewer, note):
        flag = context.flags.edit(
            _chosen(state),
            reason=reason or "other",
            corrected_caption=correction or "",
            status=status or "open",
            reviewer=reviewer or "",
            note=note or "",
        )
        return f"Saved the flag of “{flag.caption}”."

    def dismiss(state):
        context.flags.edit(_chosen(state), status="dismissed")
        return "Dismissed. Undo brings it back."

    def remove(state):
        context.flags.remove([_chosen(state)])
        return "Removed. Undo brings it back."

    def undo(state):
        what = context.flags.undo()
        return f"Undone: {what}." if what else "There is nothing left to undo."

    def redo(state):
        what = context.flags.redo()
        return f"Done again: {what}." if what else "There is nothing to do again."

    edited = [ui[n] for n in ("reason", "correction", "flag_status", "reviewer", "note")]
    common, after = [ui["state"], *filters], [*lists, *details, ui["said"]]
    ui["items"].act(choose, common, [ui["state"], *lists, *details], show_progress="hidden", api_visibility="private")
    ui["counts"].act(by_reason, ui["reason_filter"], ui["reason_filter"], show_progress="hidden", api_visibility="private")
    gr.on(
        [part.change for part in filters],
        refresh,
        common,
        lists,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    ui["save"].click(changing(save), [*common, *edited], after, show_progress="hidden", api_visibility="private")
    for name, act in (("dismiss", dismiss), ("remove", remove), ("undo", undo), ("redo", redo)):
        ui[name].click(changing(act), common, after, show_progress="hidden", api_visibility="private")
    _wire_import(context, ui, common, after, changing)
    ui["refresh"], ui["common"], ui["lists"] = refresh, common, lists


def _chosen(state: dict) -> str:
    if not state["chosen"]:
        raise UserError("Choose a flag first: press it in the list.")
    return state["chosen"]


def _wire_import(context: Context, ui: dict, common, after, changing) -> None:
    @told
    def read(state, path):
        if not path:
            return state, "", gr.update(visible=False), gr.update(visible=False)
        found = flags_csv.read(context.flags, Path(path))
        shown = gr.update(visible=bool(found.changes))
        return {**state, "import": path}, import_html(found), shown, shown

    def apply(state):
        if not state["import"]:
            raise UserError("Choose an edited CSV first.")
        found = flags_csv.read(context.flags, Path(state["import"]))
        count = flags_csv.apply(context.flags, found.changes)
        return f"Applied {count} changes. Undo takes them back together."

    def forget(state):
        return {**state, "import": None}, None, "", gr.update(visible=False), gr.update(visible=False)

    buttons = [ui["apply"], ui["drop"]]
    ui["upload"].upload(read, [ui["state"], ui["upload"]], [ui["state"], ui["diff"], *buttons], api_visibility="private")
    cleared = [ui["state"], ui["upload"], ui["diff"], *buttons]
    ui["apply"].click(changing(apply), common, after, api_visibility="private").then(
        forget, ui["state"], cleared, show_progress="hidden", api_visibility="private"
    )
    ui["drop"].click(forget, ui["state"], cleared, show_progress="hidden", api_visibility="private")
