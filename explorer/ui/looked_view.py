"""Where it looked: for a pressed word, the heat map of every column over the picture, side by side on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from explorer.compare import heatmaps
from explorer.compare.comparison import Column, Comparison
from explorer.compare.heatmaps import HeatMap
from explorer.errors import UserError
from explorer.model.captions import Caption
from explorer.ui import detail, html
from explorer.ui.compare_view import captions_at, decoding_of, has_choice
from explorer.ui.context import Context, told

# --- layout and wiring ------------------------------------------------------------------------------------


def part() -> dict:
    """The components of this part of the detail."""
    shade = gr.Checkbox(False, label="Shade words by how sure the model was", elem_id="shade", container=False)
    return {"shade": shade, "looked": html.piece(elem_id="looked", js_on_load=html.ACTIONS)}


def wire(context: Context, ui: dict) -> None:
    """A pressed word fills ``looked``; another choice in the table empties it. Of words pressed in haste the last is shown."""
    newest: dict[str, object] = {}

    @told
    def look(state, runs, beams, max_tokens, prompt, event: gr.EventData, request: gr.Request):
        if event.act != "word":
            return
        comparison = ui["known"].get(runs, state["columns"], decoding_of(beams, max_tokens, prompt))
        if not has_choice(comparison, state):
            return
        if len(newest) > 1000:  # visitors of days ago
            newest.clear()
        context.take("look")
        mine = newest[request.session_hash] = object()
        for shown in looks(context, comparison, state, event.column, int(event.place)):
            if newest.get(request.session_hash) is not mine:
                return
            yield shown

    picked = [ui[n] for n in ("state", "runs", "beams", "max_tokens", "prompt")]
    quiet = dict(show_progress="hidden", api_visibility="private")
    # Not "always_last": with it Gradio loses what is pressed after a handler that yields.
    running = [ui[name].act(look, picked, ui["looked"], trigger_mode="multiple", concurrency_limit=4, **quiet) for name in ("detail", "rest")]
    ui["looked"].act(lambda: "", None, ui["looked"], cancels=running, **quiet)
    ui["detail"].change(lambda: "", None, ui["looked"], cancels=running, **quiet)


# --- what is shown ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What one column shows for the word: its own word there, whether that is the pressed one, and the map."""

    column: Column
    word: str | None = None
    same: bool = False
    chance: float | None = None
    map: HeatMap | None = None
    note: str = ""


def looks(context: Context, comparison: Comparison, state: dict, pressed: str, place: int) -> Iterator[str]:
    """The maps as HTML, growing column by column while they are made."""
    image, captions = captions_at(comparison, state)
    if pressed not in captions or place >= len(captions[pressed].text.split()):
        raise UserError("That word is of a caption that has changed since: press one of the words shown now.")
    word = captions[pressed].text.split()[place]
    picture = context.thumb(image["path"], image["image_id"], 248)
    found: list[Look] = []
    for count, column in enumerate(comparison.columns):
        waiting = f"looking with {comparison.label(column)}, {count + 1} of {len(comparison.columns)}"
        yield looked_html(comparison, word, picture, found, waiting)
        found.append(look_of(context, image, captions, column, pressed, place))
    yield looked_html(comparison, word, picture, found, "")


def look_of(context: Context, image: dict, captions: dict[str, Caption], column: Column, pressed: str, place: int) -> Look:
    """What ``column`` shows for the word at ``place`` of the caption of ``pressed``."""
    caption = captions.get(column.key)
    if caption is None:
        return Look(column, note="not captioned yet")
    at, same = (place, True) if column.key == pressed else heatmaps.counterpart(captions[pressed].text, place, caption.text)
    if at is None:
        return Look(column, note="no words")
    word, chance = caption.text.split()[at], caption.probabilities[at] if at < len(caption.probabilities) else None
    try:
        maps = heatmaps.of_caption(context.shelf, context.run(column.run), column.epoch, image["image_id"], Path(image["path"]), caption)
    except UserError as error:
        return Look(column, word, same, chance, note=str(error))
    return Look(column, word, same, chance, maps[at])


def looked_html(comparison: Comparison, word: str, picture: str | None, found: list[Look], waiting: str) -> str:
    """All columns' maps for ``word`` on one scale, those not made yet as places kept free."""
    scale = max((look.map.highest for look in found if look.map), default=1.0)
    figures = "".join(_figure(comparison, look, picture, scale) for look in found)
    rest = "".join(
        f'<figure><span class="x-gap"></span><figcaption>{html.text(comparison.label(column))}</figcaption></figure>'
        for column in comparison.columns[len(found) :]
    )
    state = f'<p class="x-small" role="status">{html.text(waiting)}</p>' if waiting else _legend(scale)
    close = html.button("Close", "close", title="close the heat maps")
    return (
        f'<section class="x-looked" aria-label="where each column looked"><div class="x-toolbar"><span class="x-heading">Where it '
        f"looked for “{html.text(word)}”</span>{close}</div>"
        f'<div class="x-looks">{figures}{rest}</div>{state}</section>'
    )


def _figure(comparison: Comparison, look: Look, picture: str | None, scale: float) -> str:
    label = comparison.label(look.column)
    if look.word is None:
        return f'<figure><span class="x-gap">{html.text(look.note)}</span><figcaption>{html.text(label)}</figcaption></figure>'
    sure = "" if look.chance is None else f" {look.chance:.2f}"
    said = f"<b>{html.text(look.word)}</b>{sure}"
    said = said if look.same else f"does not say it; its nearest word: {said}"
    unsure = look.chance is not None and look.chance < detail.UNSURE
    note = f'<span class="x-small">{html.text(look.note)}</span>' if look.note else ""
    layer = _layer(look.map, scale) if look.map else ""
    shown = html.picture(picture, f"where {label} looked for {look.word}", "under")
    return (
        f'<figure><div class="x-look">{shown}{layer}</div><figcaption>{html.text(label)}: {said}{" unsure" if unsure else ""}{note}'
        "</figcaption></figure>"
    )


def _layer(found: HeatMap, scale: float) -> str:
    left, top, right, bottom = (100 * side for side in found.part)
    place = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
    return f'<img class="over" src="{heatmaps.overlay(found.grid, scale)}" alt="" style="{place}">'


def _legend(scale: float) -> str:
    return (
        f'<div class="x-legend"><span>0</span><img src="{heatmaps.legend()}" alt="colour scale from none to most"><span>{scale:.0f} times '
        'the average patch</span></div><p class="x-small">What in the picture spoke for the word, by attention and its gradient; the same '
        "scale in every column. It shows influence, not understanding.</p>"
    )
