"""Nouns learned from captions: what is found, what is not, and what counts as unsupported."""

from __future__ import annotations

import pytest

from explorer import scenes
from explorer.scoring import nouns


@pytest.fixture(scope="module")
def drawn():
    return [text for seed in range(80) for text in scenes.scene(2 * seed, "pets", 32)[1].references]


def test_the_nouns_of_the_drawn_world_are_found_and_its_colours_and_deeds_are_not(drawn):
    found = nouns.learned(drawn)
    assert {"dog", "cat", "ball", "yarn", "bowl", "bed", "tongue", "grass", "street"} <= found
    assert not found & {"a", "the", "black", "white", "spotted", "sits", "runs", "jumps", "sleeping", "eats", "with", "its", "wooden"}


def test_texts_without_articles_have_no_nouns():
    assert nouns.learned(["", "rennt schnell", "!!!", "el perro corre"]) == frozenset()


def test_a_noun_is_unsupported_when_no_reference_says_it_in_either_number(drawn):
    known = nouns.learned(drawn)
    references = ["two dogs on the grass", "a puppy with balls"]
    assert nouns.unsupported("a dog with a ball on the street", references, known) == ["street"]
    assert nouns.unsupported("a spotted cat", references, known) == ["cat"]
    assert nouns.unsupported("", references, known) == []
    assert nouns.unsupported("a dog", [], known) == ["dog"]
