import random

import pytest

from explorer.scoring.wording import Piece, common_length, diff, likeness, nearest, plain, tokens


def kinds(old: str, new: str) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in diff(old, new)]


def test_diff_names_what_was_added_and_dropped_word_by_word():
    assert kinds("a dog with a ball", "a black dog with a tongue") == [
        ("same", "a"), ("added", "black"), ("same", "dog with a"), ("dropped", "ball"), ("added", "tongue"),
    ]  # fmt: skip


def test_diff_ignores_case_and_punctuation_and_keeps_the_new_spelling():
    assert diff("a dog , on grass", "A dog, on grass.") == [Piece("A dog,", "same"), Piece(",", "dropped"), Piece("on grass.", "same")]
    assert diff("a dog on grass", "A dog, on grass.") == [Piece("A dog, on grass.", "same")]


def test_diff_of_nothing_is_all_added_or_all_dropped():
    assert kinds("", "a dog") == [("added", "a dog")]
    assert kinds("a dog", "") == [("dropped", "a dog")]
    assert kinds("", "") == []


def test_new_and_old_can_be_read_back_from_any_diff():
    draw = random.Random(0)
    words = ["a", "b", "c", "dog,", "Dog", "🐱", "$x$", "<i>", "का", "कि"]
    for _ in range(300):
        old, new = (" ".join(draw.choices(words, k=draw.randrange(9))) for _ in range(2))
        pieces = diff(old, new)
        assert " ".join(piece.text for piece in pieces if piece.kind != "dropped") == new
        kept = " ".join(piece.text for piece in pieces if piece.kind != "added")
        assert [plain(word) or word for word in kept.split()] == [plain(word) or word for word in old.split()]


@pytest.mark.parametrize("old, new", [("का", "कि"), ("🐱", "🐶"), ("3", "4"), ("кот", "код")])
def test_words_of_any_script_that_differ_are_marked(old, new):
    assert kinds(old, new) == [("dropped", old), ("added", new)]


def test_tokens_are_lower_case_words_without_punctuation():
    assert tokens("A well-fed DOG, by its owner’s (red) car!") == ("a", "well-fed", "dog", "by", "its", "owner's", "red", "car")
    assert tokens(" -- ' . ") == ()
    assert tokens("Cafe\u0301") == tokens("café") == ("café",)


def slow_common_length(a, b) -> int:
    """The textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_longest_common_subsequence_equals_the_textbook_table():
    draw = random.Random(1)
    for _ in range(2000):
        a, b = (draw.choices("abcde", k=draw.choice((0, 1, 5, 12, 80))) for _ in range(2))
        assert common_length(a, b) == slow_common_length(a, b)


def test_likeness_is_one_for_the_same_words_and_nought_for_none_in_common():
    assert likeness("A red dog.", "a red dog") == pytest.approx(1)
    assert likeness("a dog", "two cats") == 0
    assert likeness("", "a dog") == likeness("", "") == 0


def test_nearest_is_the_reference_most_like_the_caption_the_first_of_equals():
    assert nearest("a dog runs on sand", ["a cat", "a dog on sand", "sand"]) == 1
    assert nearest("zebra", ["a cat", "a dog"]) == 0
    with pytest.raises(ValueError):
        nearest("a dog", [])
