from __future__ import annotations

import pytest

from explorer.compare.comparison import Column, Comparison
from explorer.compare.judge import judge
from explorer.model.captions import Caption
from explorer.scoring import metrics

SAID = ["a dog with a ball on the grass", "a cat sleeps on the bed", "two cats on the snow"] * 5
TOLD = [["a dog with its tongue out on the grass", "a dog on grass"], ["a cat sleeps on the bed"], ["two cats in the snow"]] * 5


def table(count: int) -> Comparison:
    images = [{"image_id": str(n), "file": f"{n}.png", "path": f"{n}.png", "references": TOLD[n]} for n in range(count)]
    said = [Caption(text, tuple(text.split()), (0.5,) * len(text.split())) for text in SAID[:count]]
    return Comparison([Column("run", 1)], images, {"run@1": said})


def test_a_single_caption_scores_as_it_does_among_all():
    found, rows = judge(table(15)), metrics.per_image(SAID, TOLD)
    for text, references, row in zip(SAID, TOLD, rows, strict=True):
        one = found(text, references)
        assert (one.cider, one.bleu, one.rouge) == pytest.approx((row["CIDEr"], row["BLEU-4"], row["ROUGE-L"]), rel=1e-5)
        assert one.references == len(references)


def test_things_that_no_reference_names_are_told():
    found = judge(table(15))
    assert found(SAID[0], TOLD[0]).unsupported == ("ball",)
    assert found(SAID[1], TOLD[1]).unsupported == ()


def test_a_set_too_small_to_weigh_words_gives_no_cider_and_an_image_without_references_no_scores():
    found = judge(table(3))
    assert found(SAID[0], TOLD[0]).cider is None
    assert found(SAID[0], []) is None
    assert found("", TOLD[0]).rouge == 0
