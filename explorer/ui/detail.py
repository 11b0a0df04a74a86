"""The detail beside the table, as HTML: one picture large, its captions word by word.

Every word is a button: its shade, when asked for, is how sure the model was of it; pressing it shows where every
column looked for it.
"""

from __future__ import annotations

from explorer.compare.comparison import Column, Comparison, sureness
from explorer.compare.judge import Judgement, judge
from explorer.model.captions import Caption
from explorer.ui import html

UNSURE = 0.3
"""The probability below which a word is underlined."""


def detail_html(comparison: Comparison, image: dict, captions: dict[str, Caption], column: Column, large: str | None) -> str:
    """One image large, and the chosen caption as words with their probabilities."""
    caption = captions.get(column.key)
    said = _caption(comparison, image, column, caption) if caption else ""
    return f'<div class="x-detail">{html.picture(large, image["file"], "large")}<span class="x-name">{html.text(image["file"])}</span><dl>{said}</dl></div>'


def rest_html(comparison: Comparison, image: dict, captions: dict[str, Caption], column: Column) -> str:
    """What the chosen caption is judged by: the references, and what the other columns say."""
    references = "".join(f"<li>{html.text(text)}</li>" for text in image["references"])
    told = f'<dt>references</dt><dd><ul class="x-references">{references}</ul></dd>' if references else ""
    others = [_caption(comparison, image, c, captions[c.key]) for c in comparison.columns if c.key in captions and c != column]
    return f'<div class="x-detail"><dl>{told}{"".join(others)}</dl></div>'


def _caption(comparison: Comparison, image: dict, column: Column, caption: Caption) -> str:
    found = judge(comparison)(caption.text, image["references"])
    scores = f'<span class="x-score">{judged_html(found)}</span>' if found else ""
    return (
        f"<dt>{html.text(comparison.label(column))}</dt>"
        f'<dd class="x-words">{words_html(column, caption)}<span class="x-score">{_sure(caption)}</span>{scores}</dd>'
    )


def judged_html(found: Judgement) -> str:
    """The caption's scores against its references, and the things it names that none of them does."""
    cider = "" if found.cider is None else f"CIDEr {found.cider:.2f}, "
    of = f"{found.references} reference{'s' if found.references > 1 else ''}"
    nouns = f"; in no reference: {html.text(', '.join(found.unsupported))}" if found.unsupported else ""
    return f"{cider}BLEU-4 {found.bleu:.2f}, ROUGE-L {found.rouge:.2f} with {of}{nouns}"


def words_html(column: Column, caption: Caption) -> str:
    """A caption as buttons, one a word; ``--sure`` carries its probability to the shading of the style sheet."""
    known = bool(caption.words) and len(caption.words) == len(caption.probabilities)
    chances = caption.probabilities if known else (None,) * len(caption.text.split())
    return " ".join(
        _word(column, place, word, chance) for place, (word, chance) in enumerate(zip(caption.text.split(), chances, strict=False))
    )


def _word(column: Column, place: int, word: str, chance: float | None) -> str:
    told = [] if chance is None else [f"probability {chance:.2f}"]
    told += ["unsure"] if chance is not None and chance < UNSURE else []
    style = "" if chance is None else f' style="--sure:{chance:.2f}"'
    return (
        f'<button type="button" class="x-word{" unsure" if len(told) > 1 else ""}" data-act="word" data-column="{html.text(column.key)}" '
        f'data-place="{place}"{style} title="{", ".join([*told, "press to see where every column looked"])}" '
        f'aria-label="{html.text(", ".join([word, *told]))}">{html.text(word)}</button>'
    )


def _sure(caption: Caption) -> str:
    average, lowest = sureness(caption)
    end = "" if caption.finished else "; stopped for want of room"
    if not caption.words:
        return "no words" + end
    if not caption.probabilities:
        return "word probabilities unknown" + end
    word = caption.words[caption.probabilities.index(lowest)] if len(caption.words) == len(caption.probabilities) else ""
    least = f", least sure of {html.text(word)}" if word and len(caption.words) > 1 else ""
    return f"word probability {average:.2f} on average, {lowest:.2f} at the least{least}{end}"
