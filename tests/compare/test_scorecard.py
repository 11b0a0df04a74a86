"""The scorecard: every score as its own scorer has it, and better only where it is so."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from helpers_runs import example, make_images, make_run

from explorer.compare import comparison, review, scorecard
from explorer.compare.relevance import Relevance
from explorer.errors import UserError
from explorer.scoring import metrics

WORDS = ("dog", "cat", "ball", "bowl", "bed", "street", "stick", "bone")


def texts(count: int) -> list[str]:
    return [f"a {WORDS[n % 8]} is on the {WORDS[(3 * n + 1) % 8]} near the {WORDS[(5 * n + 2) % 8]}" for n in range(count)]


@pytest.fixture
def compared(tmp_path, workspace):
    """Base: wrong of every second image; epoch 1: right of all; epoch 2: as epoch 1 but for one image."""

    def make(count: int = 24, references: bool = True):
        right = texts(count)
        base = [text if n % 2 else "a tuba is on the tuba near the tuba" for n, text in enumerate(right)]
        second = [*right[:-1], "a dog"]
        examples = [
            example(path, [text] if references else []) for path, text in zip(make_images(tmp_path / "i", count), right, strict=True)
        ]
        return comparison.build([make_run(workspace.root, examples, [base, right, second])], workspace)

    return make


def score(card, name: str):
    return next(each for each in card.scores if each.measure.name == name)


def test_values_are_those_of_the_scorers(compared):
    found = compared()
    card = scorecard.card(found)
    for at, column in enumerate(found.columns):
        whole = metrics.score(found.texts(column), [image["references"] for image in found.images])
        for name in ("CIDEr", "BLEU-4", "ROUGE-L"):
            assert score(card, name).values[at].value == pytest.approx(whole[name], abs=1e-9)


def test_bleu_of_any_resample_is_what_scoring_the_resample_gives():
    said, references = texts(12), [[text, "a dog on a bed"] for text in texts(13)[1:]]
    counts = metrics.bleu_counts(said, references)
    pick = np.random.default_rng(3).integers(0, 12, 12)
    weights = np.bincount(pick, minlength=12)[None].astype(float)
    whole = metrics.score([said[p] for p in pick], [references[p] for p in pick])["BLEU-4"]
    assert metrics.bleu_of(weights @ counts)[0] == pytest.approx(whole, abs=1e-9)


def test_better_is_said_only_of_a_difference_that_is_clear(compared):
    verdicts = scorecard.card(compared()).verdicts()
    assert any(line.startswith("CIDEr: epoch 1 is better than base") for line in verdicts)
    assert any(line.startswith("CIDEr: 24 images cannot tell epoch 2 from epoch 1") for line in verdicts)
    assert any(line.startswith("unsupported nouns: epoch 1 is better than base") for line in verdicts)
    assert not any("distinct" in line for line in verdicts)


def test_unsupported_nouns_are_counted_over_all_nouns(compared):
    card = scorecard.card(compared(8))
    assert score(card, "captions with one").values[0].value == pytest.approx(0.5)
    assert score(card, "unsupported nouns").values[0].value == pytest.approx(0.5)
    assert score(card, "unsupported nouns").values[1].value == 0


def test_without_references_only_what_needs_none_is_scored(compared):
    card = scorecard.card(compared(references=False))
    assert {each.measure.group for each in card.scores} == {"coherence"} and card.references == 0


def test_relevance_is_in_the_card_once_it_is_known(compared):
    found = compared(12)
    known = {
        (i["image_id"], c.text): Relevance(0.5, 1, 12)
        for key in found.captions
        for i, c in zip(found.images, found.captions[key], strict=True)
    }
    card = scorecard.card(found, known)
    assert score(card, "gain").values[0].value == 0.5 and score(card, "own image first").values[2].value == 1
    assert not [each for each in scorecard.card(found).scores if each.measure.group == "relevance"]


def test_too_few_images_have_values_and_no_verdicts(compared):
    card = scorecard.card(compared(4))
    assert card.verdicts() == [] and score(card, "ROUGE-L").values[1].value == 1
    assert not [each for each in card.scores if each.measure.name == "CIDEr"]


def test_images_that_a_column_lacks_are_scored_in_none(tmp_path, workspace):
    right = texts(12)
    examples = [example(path, [text]) for path, text in zip(make_images(tmp_path / "i", 12), right, strict=True)]
    found = comparison.build([make_run(workspace.root, examples, [right, [None, *right[1:]]])], workspace)
    assert scorecard.card(found).images == 11 and scorecard.card(found).of == 12
    assert scorecard.card(comparison.Comparison([], [], {})).images == 0


def test_every_measure_says_what_it_means_and_when_not_to_trust_it():
    for measure in scorecard.MEASURES.values():
        assert measure.meaning.endswith(".") and measure.doubt.endswith(".")
        assert measure.group in ("accuracy", "relevance", "coherence", "hallucination")


def test_distinct_counts_different_stretches_of_words():
    assert metrics.distinct(["a dog", "a cat"], 1) == 3 / 4
    assert metrics.distinct(["a dog a dog"], 2) == 2 / 3
    assert np.isnan(metrics.distinct(["dog"], 2))


# --- for the command line ---------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, workspace, blip):
    """24 images; the base says the truth surely, but of six something else, unsurely."""
    from explorer.model.captions import Caption

    right = texts(24)
    bad = Caption("a tuba tuba in a tuba", tuple("a tuba tuba in a tuba".split()), (0.2,) * 6)
    said = [bad if n % 4 == 0 else text for n, text in enumerate(right)]
    examples = [example(path, [text]) for path, text in zip(make_images(tmp_path / "i", 24), right, strict=True)]
    return make_run(workspace.root, examples, [right, said], base=blip)


def test_triage_prints_how_many_of_the_worst_come_first(workspace, run):
    lines = list(review.describe_triage(workspace, "pets"))
    assert lines[0].startswith("pets, epoch 1: 24 validation images, 7 signals")
    assert "queue" in lines[1] and "first 5 of 24 hold   5 of the 5 worst by CIDEr: 4.80 times chance" in lines[1]
    assert lines[lines.index("first in the queue") + 1].endswith("a tuba tuba in a tuba")


def test_scores_prints_the_card_and_writes_a_row_an_image_and_column(tmp_path, workspace, run):
    lines = list(review.describe_scores(workspace, "pets", tmp_path / "scores.csv"))
    assert lines[0].startswith("pets: 24 of 24 images, 1.00 references an image")
    assert any(line.startswith("CIDEr: epoch 1 is worse than base") for line in lines)
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48 and rows[0]["column"] == "base" and float(rows[0]["ROUGE-L"]) == 1 and int(rows[0]["rank"]) >= 1
    assert rows[24]["unsupported"].split()[0] == "tuba"


def test_a_run_without_captions_is_told(workspace, tmp_path):
    with pytest.raises(UserError, match="run.json cannot be read|nobody"):
        list(review.describe_triage(workspace, "nobody"))
    make_run(workspace.root, [example(path, ["a dog"]) for path in make_images(tmp_path / "i", 2)], [[None, None]])
    with pytest.raises(UserError, match="has no captions of validation images yet"):
        list(review.describe_scores(workspace, "pets"))
