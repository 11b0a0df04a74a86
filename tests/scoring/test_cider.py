from __future__ import annotations

import pytest

from explorer.scoring.cider import Cider

CAPTIONS = [
    ["a dog runs in the snow", "a brown dog in snow"],
    ["a man on a bike", "a person rides a bike"],
    ["two children play with a ball", "children and a ball"],
]


def test_it_is_the_librarys_cider_when_the_whole_set_is_scored():
    from pycocoevalcap.cider.cider import Cider as Library

    said = ["a dog in the snow", "a man on a bike", "a ball"]
    _, known = Library().compute_score(dict(enumerate(CAPTIONS)), {place: [text] for place, text in enumerate(said)})
    assert Cider(CAPTIONS)(said, CAPTIONS) == pytest.approx(list(known), rel=1e-5)


def test_words_are_weighed_by_the_set_not_by_what_is_scored_beside():
    cider = Cider(CAPTIONS)
    alone = cider(["a dog in the snow"], CAPTIONS[:1])
    among = cider(["a dog in the snow", "a man on a bike"], CAPTIONS[:2])
    assert alone[0] == among[0] > 0
