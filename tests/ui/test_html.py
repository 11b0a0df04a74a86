"""Pieces of HTML: what people wrote is shown, never run."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from explorer.scoring.wording import diff
from explorer.ui import html

HOSTILE = [
    "<script>x()</script>",
    '" onclick="x()',
    "' onload='x()",
    "${x()}",
    "{{x}}",
    "`x`",
    "</button><img src=x onerror=x()>",
    "&lt;b&gt;",
]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words.append(data)


def parsed(code: str) -> Reader:
    reader = Reader()
    reader.feed(code)
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_every_piece(text):
    pieces = [
        html.text(text),
        html.note(text),
        html.empty(text, text),
        html.button(text, text, title=text, value=text),
        html.bar(0.5, text),
        html.picture("data:image/webp;base64,AA", text),
        html.picture(None, text),
        html.counts([(text, 1)], "act", text),
        html.words(diff(text, "other")),
        html.words(diff("other", text)),
    ]
    for piece in pieces:
        reader = parsed(piece)
        assert not {"script", "b"} & set(reader.tags)
        assert not any(name.startswith("on") for name in reader.attributes)
        assert "${" not in piece and "{{" not in piece and "`" not in piece
    assert "".join(parsed(html.text(text)).words) == text


def test_added_and_dropped_words_are_marked_without_colour():
    assert html.words(diff("a red ball", "a pink tongue")) == "a <del>red ball</del> <ins>pink tongue</ins>"


@pytest.mark.parametrize("seconds,said", [(None, "a moment"), (0.2, "1 s"), (59.6, "60 s"), (200, "3 min"), (7200, "2.0 h")])
def test_times_are_said_as_people_say_them(seconds, said):
    assert html.duration(seconds) == said


@pytest.mark.parametrize("count,said", [(12, "12 B"), (1500, "1.5 kB"), (2_400_000, "2.4 MB"), (31e9, "31 GB")])
def test_sizes_carry_a_unit(count, said):
    assert html.size(count) == said
