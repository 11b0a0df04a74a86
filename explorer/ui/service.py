"""The explorer as a service: named endpoints for `gradio_client`, and tools for MCP where `gradio[mcp]` is installed.

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860")
    client.predict(api_name="/list_runs")
    client.predict(handle_file("dog.jpg"), "demo", api_name="/caption_image")
    client.predict(["demo"], "", ["wrong"], api_name="/read_comparison")
    client.predict("demo", 3, IMAGE_ID, "wrong attribute", "a white dog", api_name="/add_flag")

Everything else on the page is private. What is done here goes through the functions the page's buttons use, and so through
the same rules. The docstrings of the endpoints are what an MCP client reads.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import gradio as gr

from explorer.compare.comparison import FILTERS, ORDERS, Column, Comparison, Page, View
from explorer.errors import UserError
from explorer.flag.flags import flag_id
from explorer.train.run import Run, by_kind
from explorer.ui import photo
from explorer.ui.compare_view import Comparisons, flag_chosen
from explorer.ui.context import Context, told

PAGE_SIZE = 12


def mcp_is_installed() -> bool:
    """Whether `gradio[mcp]` is: then the endpoints are tools as well."""
    return find_spec("mcp") is not None


def build(context: Context, known: Comparisons) -> None:
    """Add the endpoints to the page that is being built."""
    _caption_image(context, known)
    gr.api(_list_runs(context), api_name="list_runs")
    gr.api(_read_comparison(context, known), api_name="read_comparison")
    gr.api(_add_flag(context, known), api_name="add_flag")


def _list_runs(context: Context):
    @told
    def list_runs() -> list[dict]:
        """The fine-tunes this explorer has, the newest first, with what was measured after every epoch.

        Returns:
            A list of runs: name, state, base, method, dataset, epochs with a checkpoint, and scores by epoch (0: the base).
        """
        return [_run_row(run) for run in context.runs()]

    return list_runs


def _run_row(run: Run) -> dict:
    config = run.config
    scores = [
        {"epoch": row["epoch"], "validation_loss": row["validation_loss"], **row["scores"]} for row in by_kind(run.log(), "epoch")
    ]
    place = {"base": config.base, "method": config.method, "dataset": Path(config.dataset).name}
    return {"name": run.name, "state": run.status().state, **place, "epochs": [c.epoch for c in run.checkpoints()], "scores": scores}


def _read_comparison(context: Context, known: Comparisons):
    @told
    def read_comparison(
        runs: list[str], search: str = "", filters: list[str] | None = None, order: str = "as in the dataset", page: int = 0
    ) -> dict:
        """What the base and every epoch of one or several runs say of each validation image, twelve images a page.

        Args:
            runs: Names of runs, as list_runs gives them.
            search: Words that must all occur in an image's captions, references or file name.
            filters: Only images that are: changed, wrong, regressed, repeated, unfinished.
            order: "as in the dataset", "worst first", "changed most", "regressed most", "least sure first", "most doubtful first" or "file name".
            page: Which page, counted from 0.

        Returns:
            columns (key and label), how many images and pages there are, and rows with image_id, file, references and captions by column key.
        """
        view = _checked_view(search, filters or [], order, page)
        table = _comparison(context, known, runs)
        found = table.page(view)
        return {
            "columns": [{"key": column.key, "label": table.label(column)} for column in table.columns],
            "images": found.total,
            "pages": found.pages,
            "page": min(view.page, found.pages - 1),
            "rows": _rows(found),
        }

    return read_comparison


def _comparison(context: Context, known: Comparisons, runs: list[str]) -> Comparison:
    """The comparison of runs by name, with every column they offer. Raises UserError for none, or for one that is not there."""
    if not isinstance(runs, list) or not runs:
        raise UserError("No run is named: give a list of names, as list_runs tells them.")
    there = [run.name for run in context.runs()]
    for name in runs:
        if name not in there:
            raise UserError(f"There is no run {name!r}: list_runs tells which there are.")
    return known.whole(list(dict.fromkeys(runs)), None)


def _checked_view(search: str, filters: list[str], order: str, page: int) -> View:
    offered = [name for name in FILTERS if name != "flagged"]
    for name in filters:
        if name not in offered:
            raise UserError(f"The filter {name!r} is not known: take some of {', '.join(offered)}.")
    if order not in ORDERS:
        raise UserError(f"The order {order!r} is not known: take one of {', '.join(ORDERS)}.")
    if not isinstance(page, int) or page < 0:
        raise UserError(f"The page is {page!r}: take a whole number from 0.")
    return View(frozenset(filters), str(search), order, page=page, page_size=PAGE_SIZE)


def _rows(found: Page) -> list[dict]:
    return [
        {
            "image_id": row.image_id,
            "file": row.file,
            "references": list(row.references),
            "captions": {cell.column.key: cell.caption.text if cell.caption else None for cell in row.cells},
        }
        for row in found.rows
    ]


def _add_flag(context: Context, known: Comparisons):
    @told
    def add_flag(run: str, epoch: int, image_id: str, reason: str, correction: str = "", note: str = "", reviewer: str = "") -> dict:
        """Flag a caption as bad, with the reason and what it should say. Flagging the same caption again updates its flag.

        Args:
            run: The name of the run.
            epoch: The epoch whose caption is bad; 0 is the base.
            image_id: The image, as read_comparison tells it.
            reason: One of: wrong object, wrong attribute, hallucinated, missing subject, repeated words, unfinished, grammar, other.
            correction: What the caption should say.
            note: Anything worth keeping.
            reviewer: Who flags it.

        Returns:
            The flag as it is kept: a row of flags.csv.
        """
        for name, text in (("reason", reason), ("correction", correction), ("note", note), ("reviewer", reviewer)):
            if not isinstance(text, str):
                raise UserError(f"The {name} is {text!r}: give a text.")
        table = _comparison(context, known, [run])
        column = Column(run, epoch)
        if not isinstance(epoch, int) or column.key not in table.keys or image_id not in table.places:
            raise UserError(f"The run {run!r} has no caption of image {image_id!r} at epoch {epoch}: read_comparison tells what there is.")
        caption = table.text(column, table.places[image_id])
        flag_chosen(context, table, {"image": image_id, "column": column.key}, reason, correction, note, reviewer)
        return context.flags.get(flag_id(run, column.checkpoint, image_id, caption)).row()

    return add_flag


def _caption_image(context: Context, known: Comparisons) -> None:
    """The endpoint that takes a file: by a hidden image, so that Gradio checks the file as it does for the page's own."""

    @told
    def caption_image(image, run):
        """Caption an image by the base and by every epoch of a run.

        Args:
            image: The image.
            run: The name of the run, as list_runs gives it.

        Returns:
            The captions by column key, such as pets@0 for the base and pets@3 for epoch 3.
        """
        if not image:
            raise UserError("No image came: send one, such as handle_file('dog.jpg').")
        with context.turn("photo"):
            *_, (_, seen) = photo.captioned(context, _comparison(context, known, [run]), Path(image))
        return {key: caption["text"] for key, caption in seen["captions"].items()}

    with gr.Row(visible=False):
        image = gr.Image(type="filepath", label="image")
        run = gr.Textbox(label="run")
        said = gr.JSON(label="captions")
        gr.Button("Caption").click(caption_image, [image, run], said, api_name="caption_image")
