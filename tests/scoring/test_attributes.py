"""The rule-based reader of captions: what it must understand, on its own words and on other people's.

python -m pytest tests/test_attributes.py
"""

from __future__ import annotations

from dataclasses import asdict
from random import Random

import pytest

from explorer.scoring.attributes import NAMES, Attributes, accuracy, read

SENTENCES = [
    ("a ginger kitten is seated on the lawn holding a ball in its mouth", Attributes("cat", "orange", "sitting", "ball", "grass", "ball")),
    ("A brown dog runs through the grass.", Attributes("dog", "brown", "running", None, "grass", None)),
    ("the grey puppy sticks out its tongue next to a stick on the beach", Attributes("dog", "gray", None, "stick", "sand", "tongue")),
    ("a black cat lying asleep in a blue bed on the floor", Attributes("cat", "black", "sleeping", "bed", "floor", None)),
    ("a small white bunny leaps over a ball of red yarn in the snow", Attributes("rabbit", "white", "jumping", "yarn", "snow", None)),
    (
        "a football player in a red shirt runs on the grass with a ball",
        Attributes("football player", "red", "running", "ball", "grass", None),
    ),
    ("a soccer player in a blue jersey jumps", Attributes("football player", "blue", "jumping", None, None, None)),
    ("a football player holding a ball", Attributes("football player", None, None, "ball", None, None)),
    ("a lamb is eating from a green bowl on the road", Attributes("sheep", None, "eating", "bowl", "street", None)),
    (
        "a black and white dog with a red ball in his mouth runs along a sandy beach",
        Attributes("dog", "spotted", "running", "ball", "sand", "ball"),
    ),
    ("a dog with brown fur sits near a red ball with a stick in its mouth", Attributes("dog", "brown", "sitting", "ball", None, None)),
    ("a white fox with its tongue hanging out sits beside a ball", Attributes("fox", "white", "sitting", "ball", None, "tongue")),
    ("a dog near a black cat", Attributes(species="dog")),
    ("white snow on a red ball", Attributes(object="ball", place="snow")),
]
STRANGE = ["", " ", "\n\t", "...", "狗在草地上", "DOG" * 5000, "ball of " * 500, "\x00\ud800", "([{*+?"]


@pytest.mark.parametrize(("caption", "expected"), SENTENCES, ids=[text[:40] for text, _ in SENTENCES])
def test_reader_understands_everyday_english(caption, expected):
    assert read(caption) == expected


@pytest.mark.parametrize("caption", STRANGE, ids=range(len(STRANGE)))
def test_reader_never_raises(caption):
    assert isinstance(read(caption), Attributes)


def test_reader_never_raises_on_shuffled_words():
    rng = Random(0)
    vocabulary = " ".join(text for text, _ in SENTENCES).split() + ["shirt", "of", "ball", "mouth", "", "'", "-"]
    for _ in range(300):
        assert isinstance(read(" ".join(rng.choices(vocabulary, k=rng.randint(0, 30)))), Attributes)


def test_accuracy_counts_each_attribute_on_its_own():
    truth = Attributes("dog", "brown", "running", "none", "grass", "tongue")
    captions = ["a brown dog with its tongue out runs through the grass", "a white fox runs with a ball in its mouth"]
    expected = {"species": 0.5, "coat": 0.5, "action": 1.0, "object": 0.5, "place": 0.5, "mouth": 0.5}
    assert accuracy(captions, [truth, asdict(truth)]) == {**expected, "all": pytest.approx(3.5 / 6)}


def test_unsaid_object_and_mouth_are_right_when_there_is_none():
    truth = Attributes("dog", "brown", "running", "none", "grass", "neither")
    assert accuracy(["something"], [truth]) == {
        **dict.fromkeys(NAMES, 0.0),
        "object": 1.0,
        "mouth": 1.0,
        "all": pytest.approx(2 / 6),
    }


@pytest.mark.parametrize(("captions", "truths"), [([], []), (["a dog"], [])])
def test_accuracy_refuses_what_it_cannot_pair(captions, truths):
    with pytest.raises(ValueError, match="cannot be scored"):
        accuracy(captions, truths)
