"""Your own photo on Compare: dropped, pasted or taken, captioned by every column, kept in the table if wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr

from explorer.compare import columns as column_captions
from explorer.compare import photos
from explorer.compare.comparison import Column, Comparison
from explorer.data.images import open_image
from explorer.errors import UserError
from explorer.model import captions as caption_files
from explorer.model.captions import Caption
from explorer.ui import html
from explorer.ui.compare_view import Shown
from explorer.ui.context import Context, told

EMPTY = html.empty("No photo yet", "Drop, paste or take one: each column above says what it sees.")


def build(context: Context) -> dict:
    """Lay out the part of the tab for one's own photo."""
    with gr.Accordion("Your own photo, captioned by every column", open=False, elem_id="own-photo"):
        with gr.Row(equal_height=False):
            photo = gr.Image(
                type="filepath",
                label="Drop, paste or take a photo",
                sources=["upload", "clipboard", "webcam"],
                height=240,
                min_width=240,
                elem_id="photo",
            )
            with gr.Column(min_width=260):
                said = html.piece(EMPTY, elem_id="photo-captions", js_on_load=html.ACTIONS)
                with gr.Row():
                    stop = gr.Button("Stop", size="sm", variant="stop", visible=False, elem_id="photo-stop", min_width=80)
                    keep = gr.Button("Keep it in the table", size="sm", visible=False, elem_id="photo-keep", min_width=140)
        kept = html.piece(kept_html(context), elem_id="photos-kept", js_on_load=html.ACTIONS)
    return {"photo": photo, "photo_state": gr.State(None), "photo_captions": said, "photo_stop": stop, "photo_keep": keep, "kept": kept}


def wire(context: Context, ui: dict, inputs: set, shown_of: Callable[[dict], Shown], refreshed: Callable[..., dict], outputs: list) -> None:
    """``refreshed(values, **state)``: the table anew, for ``outputs``."""

    @told
    def caption(values: dict):
        path = values[ui["photo"]]
        if not path:
            yield _parts(ui, EMPTY, None, False, False)
            return
        try:
            with context.turn("photo"):
                for said, photo in captioned(context, shown_of(values).table, Path(path)):
                    yield _parts(ui, said, photo, True, False)
        except UserError as error:
            yield _parts(ui, html.note(str(error), "error"), None, False, False)
            return
        yield _parts(ui, said, photo, False, context.may("keep"))

    @told
    def keep(values: dict):
        photo = values[ui["photo_state"]]
        if not photo:
            raise UserError("Drop a photo first.")
        context.allow("keep")
        photo = {**photo, **photos.bring(context.workspace, Path(photo["path"]), photo["file"])}
        remember(context, shown_of(values).table, photo)
        photos.keep(context.workspace, photo)
        table = refreshed(values, image=photo["image_id"], column=next(reversed(photo["captions"])), last=True)
        return {
            **table,
            ui["kept"]: kept_html(context, "Kept: it is the last row of the table."),
            ui["photo_keep"]: gr.update(visible=False),
        }

    @told
    def change_kept(values: dict, event: gr.EventData):
        context.allow("keep")
        if event.act == "take-out":
            photos.take_out(context.workspace, event.value)
            back = html.button("Put it back", "put-back", value=event.value)
            return {**refreshed(values), ui["kept"]: kept_html(context, "Taken out of the table.", back)}
        photos.put_back(context.workspace, event.value)
        return {**refreshed(values), ui["kept"]: kept_html(context)}

    parts = [ui[name] for name in ("photo_captions", "photo_state", "photo_stop", "photo_keep")]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    working = ui["photo"].change(caption, {*inputs, ui["photo"]}, parts, **quiet)
    stopped = html.note("Stopped: the columns above were captioned.")
    ui["photo_stop"].click(
        lambda photo: {
            ui["photo_stop"]: gr.update(visible=False),
            ui["photo_captions"]: photo_html(photo, stopped) if photo else EMPTY,
            ui["photo_keep"]: gr.update(visible=bool(photo and photo["captions"]) and context.may("keep")),
        },
        ui["photo_state"],
        parts,
        cancels=[working],
        **quiet,
    )
    ui["photo_keep"].click(keep, inputs, [*outputs, ui["kept"], ui["photo_keep"]], **quiet)
    ui["kept"].act(change_kept, inputs, [*outputs, ui["kept"]], **quiet)


def _parts(ui: dict, said: str, photo: dict | None, stoppable: bool, keepable: bool) -> dict:
    return {
        ui["photo_captions"]: said,
        ui["photo_state"]: photo,
        ui["photo_stop"]: gr.update(visible=stoppable),
        ui["photo_keep"]: gr.update(visible=keepable),
    }


def captioned(context: Context, table: Comparison, path: Path) -> Iterator[tuple[str, dict]]:
    """Caption a photo column by column; yields (HTML, the photo with its captions so far) as they come."""
    picture = open_image(path)
    row = photos.row_of(path) if context.settings.public else photos.bring(context.workspace, path)  # strangers' photos are not kept
    photo = {**row, "captions": {}, "labels": {c.key: table.label(c) for c in table.columns}}
    columns = {(context.run(column.run), column.epoch): column for column in table.columns}
    yield photo_html(photo, html.bar(0, f"captioning it in {len(columns)} columns")), photo
    for said, caption in column_captions.caption_picture(context.shelf, list(columns), picture, table.decoding):
        photo = {**photo, "captions": {**photo["captions"], columns[said].key: vars(caption)}}
        count = len(photo["captions"])
        yield photo_html(photo, html.bar(count / len(columns), f"{count} of {len(columns)} columns")), photo
    yield photo_html(photo, '<p class="x-small">Press a caption to see its words or to flag it.</p>'), photo


def photo_html(photo: dict, below: str) -> str:
    """What each column said so far."""
    rows = "".join(
        f'<dt>{html.text(photo["labels"][key])}</dt><dd><button type="button" class="x-cell" data-act="choose" '
        f'data-image="{html.text(photo["image_id"])}" data-column="{html.text(key)}">{html.text(caption["text"] or "no words")}</button></dd>'
        for key, caption in photo["captions"].items()
    )
    return f'<div class="x-detail" aria-live="polite"><dl>{rows}</dl>{below}</div>'


def remember(context: Context, table: Comparison, photo: dict) -> None:
    """Keep the photo's captions where those of odd columns are kept, so that its row has them."""
    for key, values in photo["captions"].items():
        column = Column.from_key(key)
        path = column_captions.cache_file(context.workspace, context.run(column.run), column.epoch, table.decoding)
        if photo["image_id"] not in caption_files.read(path):
            caption_files.append(path, photo["image_id"], Caption(**values))


def kept_html(context: Context, said: str = "", more: str = "") -> str:
    """The photos in the table, each with a way out of it."""
    note = f'<p class="x-note" role="status">{html.text(said)} {more}</p>' if said else ""
    rows = []
    for photo in photos.listed(context.workspace) if context.may("keep") else []:
        picture = html.picture(context.thumb(photo["path"], photo["image_id"], 120), photo["file"])
        out = html.button("Take out", "take-out", title=f"take {photo['file']} out of the table", value=photo["image_id"])
        rows.append(f"<figure>{picture}<figcaption>{html.text(photo['file'])}</figcaption>{out}</figure>")
    shown = f'<p class="x-small">Your photos in the table</p><div class="x-gallery">{"".join(rows)}</div>' if rows else ""
    return note + shown
