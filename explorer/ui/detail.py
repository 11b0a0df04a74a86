"""The detail beside the table, as HTML: one picture large, its captions word by word.

Every word is a button: its shade is how sure the model was of it, pressing it shows where the model looked.
"""

from __future__ import annotations

from explorer.captions import Caption
from explorer.comparison import Column, Comparison, sureness
from explorer.ui import html


def detail_html(comparison: Comparison, image: dict, captions: dict[str, Caption], column: Column, large: str | None) -> str:
    """One image large, and the chosen caption as words with their probabilities."""
    caption = captions.get(column.key)
    said = _caption(comparison, column, caption) if caption else ""
    return f'<div class="x-detail">{html.picture(large, image["file"], "large")}<span class="x-name">{html.text(image["file"])}</span><dl>{said}</dl></div>'


def rest_html(comparison: Comparison, image: dict, captions: dict[str, Caption], column: Column) -> str:
    """What the chosen caption is judged by: the references, and what the other columns say."""
    references = "".join(f"<li>{html.text(text)}</li>" for text in image["references"])
    told = f'<dt>references</dt><dd><ul class="x-references">{references}</ul></dd>' if references else ""
    others = [_caption(comparison, c, captions[c.key]) for c in comparison.columns if c.key in captions and c != column]
    return f'<div class="x-detail"><dl>{told}{"".join(others)}</dl></div>'


def _caption(comparison: Comparison, column: Column, caption: Caption) -> str:
    return (
        f"<dt>{html.text(comparison.label(column))}</dt>"
        f'<dd class="x-words">{_words(caption)}<span class="x-score">{_sure(caption)}</span></dd>'
    )


def _words(caption: Caption) -> str:
    if not caption.words or len(caption.words) != len(caption.probabilities):
        return html.text(caption.text)
    spans = []
    for word, probability in zip(caption.words, caption.probabilities, strict=True):
        unsure = " class='unsure'" if probability < 0.3 else ""
        spans.append(f'<span{unsure} title="probability {probability:.2f}">{html.text(word)}</span>')
    return " ".join(spans)


def _sure(caption: Caption) -> str:
    average, lowest = sureness(caption)
    end = "" if caption.finished else "; stopped for want of room"
    return f"word probability {average:.2f} on average, {lowest:.2f} at the least{end}" if caption.words else "no words"
