"""A run as HTML: where it is, its scores, the watched images, and the list of all runs."""

from __future__ import annotations

from explorer.model import captions
from explorer.scoring.wording import diff
from explorer.train import best
from explorer.train.run import Checkpoint, Run, by_kind
from explorer.ui import html, plot
from explorer.ui.context import Context


def status_html(run: Run, tell_folder: bool = True) -> str:
    """Where the run is, in words and as a bar."""
    state, config = run.status(), run.config
    title = f'<h2 class="x-heading">{html.text(run.name)}</h2>'
    if state.state == "running" and state.steps and state.step:
        left = f", about {html.duration(state.seconds_left)} left" if state.seconds_left is not None else ""
        line = f"epoch {max(1, state.epoch)} of {config.epochs}, step {state.step} of {state.steps}{left}"
        return title + html.bar(state.step / state.steps, line)
    if state.state == "running":
        return title + html.bar(0, state.text or "starting")
    kind = {"finished": "info", "stopped": "info", "waiting": "info"}.get(state.state, "error")
    return title + html.note(_last_words(run, state, tell_folder), kind)


def _last_words(run: Run, state, tell_folder: bool) -> str:
    epochs = [row for row in by_kind(run.log(), "epoch")]
    if state.state != "finished" or not epochs:
        return state.text[:1].upper() + state.text[1:]
    took = html.duration(epochs[-1]["seconds"])
    top = best_checkpoint(run)
    where = f" The model is in {top.folder}." if top and tell_folder else ""
    if state.text.startswith("finished early"):
        return f"{state.text[:1].upper()}{state.text[1:]}. It took {took}.{where}"
    return f"Finished {run.config.epochs} epochs in {took}.{where}"


def best_checkpoint(run: Run) -> Checkpoint | None:
    """The checkpoint to go on with: that of the best epoch, or the last one where its weights were not kept."""
    top, saved = best.best(run.log(), run.config.best_by), run.checkpoints()
    return next((checkpoint for checkpoint in saved if top and checkpoint.epoch == top["epoch"]), saved[-1] if saved else None)


def scores_html(run: Run) -> str:
    """The scores of each epoch, with the number of references they were reckoned against."""
    log = run.log()
    epochs = list(by_kind(log, "epoch"))
    if not epochs:
        return ""
    top, kept = best.best(log, run.config.best_by), {checkpoint.epoch for checkpoint in run.checkpoints()}
    names = ("CIDEr", "BLEU-4", "ROUGE-L")
    head = "".join(f"<th>{name}</th>" for name in ("", "validation loss", *names, "distinct captions"))
    rows = "".join(
        f"<tr{' class=best' if r is top else ''}><th>{_epoch_name(r, r is top, kept)}</th><td>{r['validation_loss']:.3f}</td>"
        + "".join(f"<td>{_score(r['scores'].get(name))}</td>" for name in names)
        + f"<td>{r['scores'].get('distinct', 0)} of {r['scores'].get('images', 0)}</td></tr>"
        for r in epochs
    )
    count = epochs[-1]["scores"].get("references", 0)
    references = "reference" if count == 1 else "references"
    return (
        f'<div class="x-scroll x-epochs"><table class="x-runs x-number"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="x-small">Scores over the validation images, {count:g} {references} an image; more references give higher scores. '
        f"The best epoch is that of the {'lowest' if run.config.best_by == 'loss' else 'highest'} {best.NAMES[run.config.best_by]}"
        f"{'; the base was better still' if best.base_is_better(log, run.config.best_by) else ''}.</p>"
    )


def _epoch_name(row: dict, is_best: bool, kept: set[int]) -> str:
    """What the epoch is called, whether it is the best, and whether its weights are still there."""
    if not row["epoch"]:
        return "base"
    gone = "" if row["epoch"] in kept else ' <span class="x-small">captions only</span>'
    return f"epoch {row['epoch']}{' <em>best</em>' if is_best else ''}{gone}"


def _score(value) -> str:
    return "too few images" if value is None else f"{value:.3f}"


def probes_html(context: Context, run: Run, at: int | None = None) -> str:
    """The watched images: caption at base and at a step, changed words marked. ``at``: which frame, None for the latest."""
    examples = run.probe_examples()
    if not examples:
        return ""
    frames = probe_frames(run)
    base = frames[0][1] if frames else [""] * len(examples)
    at = len(frames) - 1 if at is None else min(at, len(frames) - 1)
    step, now = frames[at] if frames else (0, base)
    cards = []
    for example, before, after in zip(examples, base, now, strict=False):
        uri = context.thumb(run.folder / example["path"], example["image_id"])
        cards.append(
            f'<div class="x-probe">{html.picture(uri, example["references"][0])}<p class="base">base: {html.text(before)}</p>'
            f'<p class="now x-words">{html.words(diff(before, after))}</p></div>'
        )
    when = f"{len(cards)} validation images, " + (f"after step {step}" if step else "at base")
    back = html.button("Earlier", "frame", value=at - 1) if at > 0 else ""
    on = html.button("Later", "frame", value=at + 1) if at + 1 < len(frames) else ""
    head = f'<div class="x-toolbar"><span class="x-small">{when}</span><span>{back} {on}</span></div>'
    return f'{head}<div class="x-probes">{"".join(cards)}</div>'


def probe_frames(run: Run) -> list[tuple[int, list[str]]]:
    """(step, captions) of the watched images through the run, the base first."""
    ids = [example["image_id"] for example in run.probe_examples()]
    frames: dict[int, list[str]] = {}
    for epoch in range(run.config.epochs + 1):
        known = captions.read(run.caption_file(epoch))
        step = next((row["step"] for row in by_kind(run.log(), "epoch") if row["epoch"] == epoch), None)
        if step is not None:  # an image that could not be opened has no caption
            frames[step] = [known[image].text if image in known else "" for image in ids]
    frames |= {row["step"]: row["captions"] for row in by_kind(run.log(), "probe") if row["step"] not in frames}
    return sorted(frames.items())


def past_html(context: Context) -> str:
    """All runs, each with its curve, scores and what can be done with it."""
    runs = context.runs()
    if not runs:
        return html.empty("No runs yet", "The runs you start are listed here.")
    rows = "".join(_past_row(context, run) for run in runs)
    head = "".join(f"<th>{name}</th>" for name in ("run", "state", "training loss", "base → last epoch", ""))
    return f'<div class="x-scroll"><table class="x-runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _past_row(context: Context, run: Run) -> str:
    log, state, config = run.log(), run.status(), run.config
    epochs = list(by_kind(log, "epoch"))
    own = run.folder.parent == context.workspace.root
    acts = [html.button("Compare", "compare", run=run.name)] if len(epochs) > 1 else []
    acts.append(html.button("Watch", "watch", run=run.name))
    top = best_checkpoint(run)
    if top and context.may("train"):
        base = f"{run.name}@{top.epoch}"
        acts.append(html.button("Begin from it", "begin", title=f"Take {base} as the base of a new run", run=run.name, base=base))
    if top and context.may("push"):
        acts.append(html.button("Push", "push", title=f"Push {run.name}@{top.epoch} to the Hub", run=run.name, base=f"{run.name}@{top.epoch}"))
    if own and context.may("delete") and state.state != "running" and not _shipped(context, run):
        acts.append(html.button("Delete", "delete", run=run.name))
    made = f"{config.method}, {config.base}"
    return (
        f"<tr><td><strong>{html.text(run.name)}</strong><br><span class='x-small'>{html.text(made)}</span></td>"
        f"<td>{html.text(state.state)}</td><td>{plot.thumbnail_curve([r['loss'] for r in by_kind(log, 'step')])}</td>"
        f"<td class='x-number'>{_gain(epochs)}</td><td>{''.join(acts)}</td></tr>"
    )


def _shipped(context: Context, run: Run) -> bool:
    return run.name == "demo" and run.folder.parent == context.workspace.shipped


def _gain(epochs: list[dict]) -> str:
    if len(epochs) < 2:
        return ""
    first, last = epochs[0], epochs[-1]
    name = "CIDEr" if last["scores"].get("CIDEr") is not None else "ROUGE-L"
    return f"{name} {first['scores'].get(name) or 0:.2f} → {last['scores'].get(name) or 0:.2f}"
