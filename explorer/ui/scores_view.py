"""The scores panel of Compare: accuracy, relevance, coherence, hallucination of every column, worked out when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import gradio as gr
import numpy as np

from explorer.compare import relevance, review, scorecard
from explorer.compare.comparison import Comparison
from explorer.compare.scorecard import Card, Measure, Score
from explorer.errors import UserError
from explorer.scoring.bootstrap import FEWEST, Interval
from explorer.ui import html
from explorer.ui.compare_view import decoding_of
from explorer.ui.context import Context, told

# --- layout and wiring ------------------------------------------------------------------------------------


def part() -> dict:
    """The folded panel; nothing is worked out until it is asked for."""
    with gr.Accordion("Scores: accuracy, relevance, coherence, hallucination", open=False, elem_id="scores"):
        with gr.Row():
            score = gr.Button("Work out the scores of these columns", size="sm", elem_id="scores-start")
            stop = gr.Button("Stop", size="sm", variant="stop", visible=False, elem_id="scores-stop", min_width=80)
        shown = html.piece(elem_id="scores-shown")
    return {"score": score, "score_stop": stop, "scores": shown}


def wire(context: Context, ui: dict) -> None:
    @told
    def score(state, runs, beams, max_tokens, prompt):
        if not runs:
            raise UserError("No run is chosen: choose one above, then work out its scores.")
        context.take("look")
        comparison = ui["known"].get(runs, state["columns"], decoding_of(beams, max_tokens, prompt))
        for text, working in scores(context, comparison):
            yield text, gr.update(visible=working)

    quiet = dict(show_progress="hidden", api_visibility="private")
    picked = [ui[n] for n in ("state", "runs", "beams", "max_tokens", "prompt")]
    working = ui["score"].click(score, picked, [ui["scores"], ui["score_stop"]], **quiet)
    ui["score_stop"].click(lambda: gr.update(visible=False), None, ui["score_stop"], cancels=[working], **quiet)


def scores(context: Context, comparison: Comparison) -> Iterator[tuple[str, bool]]:
    """(HTML, whether more is to come): what needs no model at once, relevance when the base has been asked."""
    if not scorecard.scored(comparison):
        yield html.empty("Nothing to score yet", "No image has a caption in every column: caption the missing ones first."), False
        return
    run = context.run(comparison.columns[0].run)
    known = relevance.known(context.workspace, run, comparison.images)
    at_hand = card_html(scorecard.card(comparison, known))
    if not context.may("caption"):  # what is known of relevance is in it; the rest takes the machine minutes
        yield at_hand, False
        return
    yield html.bar(0, "relevance: loading the base; the other scores are below") + at_hand, True
    told = {"relevance": "captions tried on other images", "neighbours": "images looked at, for the order by doubt"}
    for what, done, total in review.look(context.shelf, run, comparison.images, review.wanted(comparison)):
        if done % 5 == 0 or done == total:
            yield html.bar(done / total, f"{what}: {done} of {total} {told[what]}") + at_hand, True
    comparison.tell(review.looked_of_last(context.workspace, run, comparison))
    yield card_html(scorecard.card(comparison, relevance.known(context.workspace, run, comparison.images))), False


# --- what is shown ----------------------------------------------------------------------------------------


def card_html(card: Card) -> str:
    """The scorecard as a table: a row a measure with its sentence, a cell a column with its interval drawn."""
    heads = "".join(f'<th scope="col">{html.text(label)}</th>' for label in card.labels)
    bodies = "".join(
        f'<tbody><tr class="x-group"><th colspan="{len(card.labels) + 1}" scope="rowgroup">{html.text(group)}</th></tr>'
        + "".join(_row(card, score) for score in scores)
        + "</tbody>"
        for group, scores in groupby(card.scores, key=lambda score: score.measure.group)
    )
    return f'<p class="x-small">{_of_what(card)}</p><table class="x-scores"><thead><tr><th scope="col">score</th>{heads}</tr></thead>{bodies}</table>'


def _of_what(card: Card) -> str:
    some = f"{card.images:,} images" if card.images == card.of else f"{card.images:,} of {card.of:,} images"
    told = f"{some}, {card.references:.1f} references an image on average."
    if card.images < FEWEST:
        return f"{told} Too few for an interval: from {FEWEST} images on, one says what differences mean."
    return f"{told} The lines are 95 % intervals by bootstrap over these images; a column is called better than the one to its left only when the interval of their difference leaves out zero."


def _row(card: Card, score: Score) -> str:
    measure = score.measure
    ends = [end for value in score.values for end in (value.low, value.high, value.value) if not np.isnan(end)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    cells = "".join(
        f'<td data-label="{html.text(label)}"><span class="x-number">{measure.text(value.value)}</span>{_range(measure, value, low, high)}{_step(card, score, at)}</td>'
        for at, (label, value) in enumerate(zip(card.labels, score.values, strict=True))
    )
    return (
        f'<tr><th scope="row">{html.text(measure.name)}<span class="x-small">{html.text(measure.meaning)}</span>'
        f'<details class="x-small"><summary>when not to trust it</summary>{html.text(measure.doubt)}</details></th>{cells}</tr>'
    )


def _range(measure: Measure, value: Interval, low: float, high: float) -> str:
    """The interval as a line on the row's own scale, the value as a dot on it."""
    if np.isnan(value.low) or high <= low:
        return ""
    left, right, dot = (100 * (end - low) / (high - low) for end in (value.low, value.high, value.value))
    words = f"95 % interval {measure.text(value.low)} to {measure.text(value.high)}"
    return (
        f'<span class="x-range" role="img" aria-label="{words}" title="{words}"><i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
        f'<b style="left:{dot:.1f}%"></b></span>'
    )


def _step(card: Card, score: Score, at: int) -> str:
    """What may be said of a column against the one to its left."""
    step, better = score.steps[at], score.measure.better
    if step is None or not better or np.isnan(step.low):
        return ""
    change = f"{score.measure.change(step.value)} ({score.measure.change(step.low)} to {score.measure.change(step.high)})"
    before = html.text(card.labels[at - 1])
    if not step.is_clear:
        return f'<span class="x-step" title="{change}">no clear difference to {before}</span>'
    word, kind = ("better", "good") if step.value * better > 0 else ("worse", "bad")
    return f'<span class="x-step {kind}" title="{change}">{word} than {before}</span>'
