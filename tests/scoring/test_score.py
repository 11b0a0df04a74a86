"""The scores of the model card are those of the captions."""

from __future__ import annotations

from explorer.model.captions import Decoding
from explorer.scoring.score import score_dataset, share_saying


def test_the_share_that_says_a_word_is_over_images_that_show_it():
    captions = ["a dog runs", "two dogs", "a ball", "a cat"]
    references = [["a dog"], ["dogs play"], ["a brown dog sits"], ["a cat"]]
    assert share_saying("dog", captions, references) == (2 / 3, 3)


def test_a_dataset_is_scored_with_its_number_of_references(workspace, blip, shapes):
    lines = list(score_dataset(workspace, blip, shapes / "validation" if (shapes / "validation").exists() else shapes, Decoding(), "red"))
    assert "images" in lines[0] and "references an image" in lines[1] and lines[2].startswith("distinct captions:")
    assert lines[3].startswith("captions that say red:")
