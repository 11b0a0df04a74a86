"""The relabelled dataset as HTML: what it would change, and what came of it."""

from __future__ import annotations

from explorer.flag.helped import BROKEN, FIXED, WRONG, Help, Outcome
from explorer.flag.relabel import Edit, Plan
from explorer.scoring.wording import diff
from explorer.ui import html
from explorer.ui.context import Context


def plan_html(context: Context, plan: Plan) -> str:
    """What a new version would change, image by image."""
    changed = plan.changed
    if not plan.edits:
        return html.empty("No corrected flag of this dataset is open", "Correct flags first: r takes a reference, e another epoch's caption.")
    agree = len(plan.edits) - len(changed)
    told = f"{_count(len(plan.flags), 'corrected flag')} of {_count(len(plan.edits), 'image')}: {_count(len(changed), 'image')} would get other references"
    told += f", {agree} agree with their flags already" if agree else ""
    told += f"; {_count(len(plan.elsewhere), 'corrected flag')} of images that are not in this dataset" if plan.elsewhere else ""
    rows = "".join(_edit(context, edit) for edit in changed[:60])
    more = f'<p class="x-small">and {len(changed) - 60:,} more images</p>' if len(changed) > 60 else ""
    return f'{html.note(told + ".")}<div class="x-edits">{rows}</div>{more}'


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _edit(context: Context, edit: Edit) -> str:
    uri = context.thumb(edit.example.path, edit.example.image_id)
    gone = [f"<li><del>{html.text(text)}</del></li>" for text in edit.before if text not in edit.after]
    new = [f"<li><ins>{html.text(text)}</ins></li>" for text in edit.after if text not in edit.before]
    kept = sum(text in edit.after for text in edit.before)
    told = f'<li class="x-small">{kept} kept</li>' if kept else ""
    return f'<div class="x-edit">{html.picture(uri, edit.example.file_name)}<ul class="x-words x-references">{"".join(gone + new)}{told}</ul></div>'


def help_html(context: Context, found: Help) -> str:
    """The flagged images before and after, the others that broke, and the scores of both parts apart."""
    before, after = _epoch(found.before), _epoch(found.after)
    cells = [(found.counts[FIXED], "fixed"), (found.counts[WRONG], "still wrong"), (found.counts[BROKEN], "newly broken, of those nobody flagged")]
    counts = "".join(f"<div><dt>{label}</dt><dd>{count:,}</dd></div>" for count, label in cells)
    shown = [o for verdict in (WRONG, BROKEN, FIXED) for o in found.outcomes if o.verdict == verdict]
    rows = "".join(_outcome(context, outcome) for outcome in shown[:60])
    more = f'<p class="x-small">and {len(shown) - 60:,} more images</p>' if len(shown) > 60 else ""
    return (
        f'<p class="x-small">before: {html.text(before)} · after: {html.text(after)}</p><dl class="x-facts">{counts}</dl>'
        f'{_scores(found)}<div class="x-edits">{rows}</div>{more}'
    )


def _epoch(column: tuple[str, int]) -> str:
    return f"{column[0]}, {f'epoch {column[1]}' if column[1] else 'base'}"


def _outcome(context: Context, outcome: Outcome) -> str:
    uri = context.thumb(outcome.path, outcome.image_id)
    kind = {FIXED: "good", WRONG: "bad", BROKEN: "bad"}[outcome.verdict]
    return (
        f'<div class="x-edit">{html.picture(uri, outcome.file)}<div><span class="x-mark {kind}">{html.text(outcome.verdict)}</span>'
        f'<p class="x-words">{html.words(diff(outcome.before, outcome.after))}</p></div></div>'
    )


def _scores(found: Help) -> str:
    rows = []
    for flagged, title in ((True, "flagged"), (False, "all others")):
        scores = found.scores(flagged)
        if not found.part(flagged):
            continue
        for when, values in zip(("before", "after"), scores, strict=True):
            numbers = "".join(f"<td>{_score(values[name])}</td>" for name in ("CIDEr", "BLEU-4", "ROUGE-L"))
            rows.append(f"<tr><th>{title}, {when}</th>{numbers}<td>{values['images']}</td><td>{values['references']:g}</td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", "CIDEr", "BLEU-4", "ROUGE-L", "images", "references an image"))
    return (
        f'<div class="x-scroll"><table class="x-runs x-number"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        '<p class="x-small">Both sides are scored against the new references.</p>'
    )


def _score(value: float | None) -> str:
    return "too few images" if value is None else f"{value:.3f}"

