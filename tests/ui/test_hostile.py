"""Nothing that a caption, a reference, a file name or a link contains becomes more than text anywhere on Compare."""

from __future__ import annotations

from dataclasses import asdict
from html.parser import HTMLParser

import pytest
from hostile import HOSTILE, drawn

from explorer.compare import scorecard
from explorer.compare.comparison import LEFT, REFERENCE, Column, Comparison, View
from explorer.model.captions import Caption
from explorer.ui import detail, head, looked_view, photo, scores_view, table

PLAIN = ["a dog on grass", "two cats on a bed", "a ball in the snow", "a bird", "nothing"] * 5
ASKED = [text for text in (*HOSTILE, *drawn(60, seed=7)) if text.split()]


class Page(HTMLParser):
    """The tags with the names of their attributes, and all that is text, in a piece of HTML."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.signs, self.said = set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.signs |= {tag, *(f"{tag} {name}" for name, _ in attributes)}
        self.said += " ".join(value or "" for _, value in attributes)

    def handle_data(self, data):
        self.said += data

    def handle_comment(self, data):
        self.signs.add(f"comment {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def comparison(texts: list[str]) -> Comparison:
    """Every text as a caption of two columns, as a reference, as a file name; every other caption without probabilities."""
    images = [{"image_id": f"{n:016x}", "file": text, "path": "gone.png", "references": [text, "a dog"]} for n, text in enumerate(texts)]

    def said(text: str, place: int) -> Caption:
        words = tuple(text.split())
        return Caption(text, words, tuple(0.1 for _ in words) if place % 2 else (), place % 3 > 0)

    columns = {f"run@{epoch}": [said(text, at) for at, text in enumerate(order)] for epoch, order in enumerate((texts, texts[::-1]))}
    return Comparison([Column("run", 0), Column("run", 1)], images, columns)


def pieces(texts: list[str]) -> dict[str, str]:
    """All that Compare shows of these texts, by what it is."""
    shown = comparison(texts)
    first, last = shown.columns
    image = shown.images[0]
    found = {
        f"table {against}": table.table_html(shown, shown.page(View(page_size=1000, against=against)), None, lambda *_: None, against)
        for against in (LEFT, REFERENCE, "run@0")
    }
    choices = [(text, text) for text in texts]
    settings = [(text, texts[:2]) for text in texts[:20]]
    own = {"image_id": texts[0], "labels": dict(choices), "captions": {text: asdict(Caption(text, (), ())) for text in texts}}
    looks = [looked_view.Look(last, text, place % 2 == 0, 0.1, None, text) for place, text in enumerate(texts)]
    return found | {
        "details": "".join(
            detail.detail_html(shown, each, {c.key: shown.captions[c.key][at] for c in shown.columns}, last, None)
            + detail.rest_html(shown, each, {c.key: shown.captions[c.key][at] for c in shown.columns}, first)
            for at, each in enumerate(shown.images)
        ),
        "choice": "".join(table.choice_html({**image, "file": text}, text, text, text) for text in texts),
        "chips": head.columns_html(choices, texts[::2]),
        "settings": head.settings_html(texts, settings),
        "photo": photo.photo_html(own, ""),
        "looked": "".join(looked_view.looked_html(shown, text, None, [look], text) for text, look in zip(texts, looks, strict=True)),
        "scores": scores_view.card_html(scorecard.card(shown)),
    }


@pytest.fixture(scope="module")
def usual() -> dict[str, set[str]]:
    return {name: Page(text).signs for name, text in pieces(PLAIN).items()}


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return pieces(ASKED)


PARTS = ("table left", "table reference", "table run@0", "details", "choice", "chips", "settings", "photo", "looked", "scores")


@pytest.mark.parametrize("name", PARTS)
def test_hostile_texts_add_no_tag_and_no_attribute(shown, usual, name):
    assert Page(shown[name]).signs <= usual[name] | {"td", "span", "span class", "ins", "del", "li", "li class"}


@pytest.mark.parametrize("name", ["table reference", "details", "choice", "chips", "settings", "photo"])
def test_they_are_shown_as_they_are(shown, name):
    said = "".join(Page(shown[name]).said.split())
    texts = ASKED[:20] if name == "settings" else ASKED
    assert [text for text in texts if "".join(text.split()) not in said] == []
