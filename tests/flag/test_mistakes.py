"""What flags say: which word is taken for which, which words are wrong, what kind of image it is."""

from __future__ import annotations

import pytest

from explorer.flag import mistakes
from explorer.flag.flags import Flag, now
from explorer.flag.mistakes import Mistake


def flag(number: int, caption: str, correction: str = "", references=(), file: str = "a.png") -> Flag:
    return Flag(f"f{number}", now(), now(), "r", "base", f"i{number}", file, tuple(references), caption, "other", correction, "", "open", "")


@pytest.mark.parametrize(
    "caption,correction,wrong,right",
    [
        ("a dog with a ball in its mouth", "a dog with its tongue out", ("ball", "mouth"), ("tongue",)),
        ("a dog runs", "a dog running", (), ()),
        ("a dog and a cat", "a dog", ("cat",), ()),
        ("a dog", "a dog with its tongue out", (), ("tongue",)),
    ],
)
def test_a_correction_names_the_wrong_and_the_right_words(caption, correction, wrong, right):
    assert mistakes.mistake(caption, correction) == Mistake(wrong, right)


def test_a_text_makes_the_mistake_when_it_says_the_wrong_word_and_not_the_right_one():
    made = Mistake(("ball",), ("tongue",))
    assert made.is_in("two balls") and not made.is_in("a ball and a tongue") and not made.is_in("a dog")
    assert not Mistake((), ("tongue",)).is_in("a dog")


def test_the_sentence_tells_what_is_taken_for_what_in_how_many_images():
    colours = ("red", "blue", "green")
    flags = [flag(n, f"a dog with a {colours[n % 3]} ball in its mouth", "a dog with its tongue out on grass") for n in range(14)]
    flags += [flag(20 + n, "a cat on a bed", "a dog on a bed") for n in range(2)] + [flag(30, "a fox", "a bear")]
    told = mistakes.sentences(flags)
    assert [sentence for sentence, _ in told] == ["tongue is taken for a ball in 14 images", "dog is taken for a cat in 2 images"]
    assert told[0][1].flags == tuple(f"f{n}" for n in range(14))


def test_a_thing_is_named_rather_than_the_place_it_is_said_to_be_in():
    flags = [flag(n, "a dog with a ball in its mouth", "a dog with its tongue out") for n in range(6)]
    flags += [flag(10 + n, "a dog with a bone in its mouth", "a dog with its tongue out") for n in range(4)]
    told = [sentence for sentence, _ in mistakes.sentences(flags)]
    assert told == ["tongue is taken for a ball in 6 images", "tongue is taken for a bone in 4 images"]


def test_what_is_made_up_or_left_out_is_told_as_such():
    made_up = [flag(n, "a dog with a hat", "a dog") for n in range(2)]
    left_out = [flag(n + 5, "a dog", "a dog with its tongue out") for n in range(3)]
    assert [s for s, _ in mistakes.sentences(made_up + left_out)] == ["tongue is left out in 3 images", "hat is made up in 2 images"]


def test_two_flags_of_one_image_count_once():
    same = [flag(0, "a cat", "a dog"), flag(0, "a cat sits", "a dog sits")]
    assert mistakes.sentences(same) == []


def test_wrong_words_are_those_the_correction_or_else_every_reference_lacks():
    flags = [flag(0, "a cat runs", "a dog runs"), flag(1, "a cat sleeps", references=("a dog sleeping",)), flag(2, "a hat")]
    assert mistakes.wrong_words(flags) == {"cat": 2}
    assert mistakes.by_word(flags, "cat") == {"f0", "f1"}


def test_the_kind_of_image_is_its_folder_or_what_its_references_are_about():
    flags = [
        flag(0, "x", file="train/beagle/a.png"),
        flag(1, "x", references=("a kitten sleeps", "a cat"), file="validation/b.png"),
        flag(2, "x", references=("a tabby",)),
        flag(3, "x"),
    ]
    assert mistakes.by_subject(flags) == {"cat": {"f1", "f2"}, "beagle": {"f0"}}
