"""Words against references: what is right in other words is not marked wrong."""

import random

import pytest

from explorer.compare.differences import against_references
from explorer.scoring.wording import Piece


def marks(caption: str, *references: str) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in against_references(caption, references)]


def test_the_nearest_reference_is_the_one_compared_with():
    assert marks("a brown dog runs", "two men on a train", "a brown dog runs") == [("same", "a brown dog runs")]


def test_a_word_of_another_reference_is_right_and_nothing_is_missed_in_its_place():
    assert marks("a puppy runs on grass", "a dog runs on grass", "one small puppy") == [
        ("same", "a"), ("other", "puppy"), ("same", "runs on grass"),
    ]  # fmt: skip


def test_a_word_in_no_reference_is_added_and_what_the_reference_has_instead_is_dropped():
    assert marks("a cat runs on grass", "a dog runs on grass", "a puppy runs") == [
        ("same", "a"), ("dropped", "dog"), ("added", "cat"), ("same", "runs on grass"),
    ]  # fmt: skip


def test_little_words_and_other_endings_are_never_marked():
    kinds = {kind for kind, _ in marks("the dogs are running through a field", "a dog runs in the field")}
    assert kinds == {"other", "same"}


def test_a_word_said_elsewhere_in_the_caption_is_not_missed():
    assert "dropped" not in [kind for kind, _ in marks("on the grass a dog", "a dog on the grass")]


def test_all_but_the_dropped_pieces_read_as_the_caption():
    draw = random.Random(0)
    words = ["a", "the", "dog", "dogs", "cat,", "Runs", "<b>", "🐱", "का", "grass."]
    for _ in range(500):
        caption = " ".join(draw.choices(words, k=draw.randrange(9)))
        references = [" ".join(draw.choices(words, k=draw.randrange(7))) for _ in range(draw.randrange(1, 4))]
        pieces = against_references(caption, references)
        assert " ".join(piece.text for piece in pieces if piece.kind != "dropped") == caption
        assert against_references(references[0], references) == ([Piece(references[0], "same")] if references[0] else [])


def test_without_references_there_is_nothing_to_compare_with():
    with pytest.raises(ValueError):
        against_references("a dog", [])
