"""A dataset as HTML: what it holds, how it is split, what is wrong with it."""

from __future__ import annotations

from explorer.data import dataset as datasets
from explorer.errors import UserError
from explorer.ui import html
from explorer.ui.context import Context


def data_report(context: Context, dataset: datasets.Dataset, share: float, seed: int, images: int | None) -> str:
    """What the dataset holds, how it is split and what is wrong with it."""
    facts = dataset.summary()
    rows = [("images", f"{facts['images']:,}"), ("with captions", f"{facts['captioned']:,}")]
    if facts["captioned"]:
        rows += [("references an image", f"{facts['references']:.1f}"), ("words a reference", f"{facts['words']:.0f}")]
    rows.append(("sides in pixels", f"{facts['smallest']} to {facts['largest']}"))
    try:
        parts = datasets.split(dataset, share, seed, limit=images)
        rows.append(("training / validation", f"{len(parts.train):,} / {len(parts.validation):,}"))
        shown, warning = [*parts.validation[:3], *parts.train[:9]], ""
    except UserError as error:
        shown, warning = dataset.examples[:12], html.note(str(error), "warning")
    cells = "".join(f"<div><dt>{html.text(k)}</dt><dd>{html.text(v)}</dd></div>" for k, v in rows)
    return f'<dl class="x-facts">{cells}</dl>{warning}{_gallery(context, shown)}{_problems(dataset.problems)}'


def _gallery(context: Context, examples) -> str:
    figures = [
        f"<figure>{html.picture(context.thumb(e.path, e.image_id), e.references[0] if e.references else e.file_name)}"
        f"<figcaption>{html.text(e.references[0] if e.references else 'no caption')}</figcaption></figure>"
        for e in examples
    ]
    return f'<div class="x-gallery">{"".join(figures)}</div>'


def _problems(problems) -> str:
    if not problems:
        return '<p class="x-small">No problems found.</p>'
    left = sum(problem.left_out for problem in problems)
    rows = "".join(
        f"<li><strong>{html.text(p.file)}</strong>: {html.text(p.reason)}{' (left out)' if p.left_out else ''}</li>" for p in problems[:200]
    )
    more = f"<li>and {len(problems) - 200:,} more</li>" if len(problems) > 200 else ""
    count = "1 problem" if len(problems) == 1 else f"{len(problems):,} problems"
    return f"<details {'open' if len(problems) < 6 else ''}><summary>{count}, {left:,} left out</summary><ul class='x-problems'>{rows}{more}</ul></details>"
