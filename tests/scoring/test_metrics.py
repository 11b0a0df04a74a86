import pytest

from explorer.scoring import metrics
from explorer.scoring.wording import likeness

REFERENCES = [
    [f"a {color} {animal} runs on the {place}", f"the {animal} is {color} and on the {place}"]
    for color in ("red", "white", "black")
    for animal in ("dog", "cat")
    for place in ("grass", "beach")
]
CAPTIONS = [group[0] for group in REFERENCES]


def test_captions_equal_to_a_reference_score_highest():
    best = metrics.score(CAPTIONS, REFERENCES)
    shifted = metrics.score(CAPTIONS[1:] + CAPTIONS[:1], REFERENCES)
    assert best["BLEU-4"] == pytest.approx(1) and best["ROUGE-L"] == pytest.approx(1)
    assert all(best[name] > shifted[name] for name in ("CIDEr", "BLEU-4", "ROUGE-L"))


def test_cider_equals_ten_for_captions_that_are_the_only_reference():
    """pycocoevalcap's scale: 1.0 is written 100, and the most there is is 10."""
    assert metrics.score(CAPTIONS, [[text] for text in CAPTIONS])["CIDEr"] == pytest.approx(10)


def test_counts_of_images_references_and_distinct_captions_come_with_the_scores():
    scores = metrics.score(["a dog", "A dog.", "a cat"], [["a dog"], ["a dog", "one dog"], ["a cat"]])
    assert (scores["images"], scores["references"], scores["distinct"]) == (3, 1.33, 2)


def test_cider_is_left_out_for_fewer_than_ten_images():
    assert metrics.score(CAPTIONS[:9], REFERENCES[:9])["CIDEr"] is None
    assert metrics.score(CAPTIONS[:10], REFERENCES[:10])["CIDEr"] > 0
    assert metrics.score([], [])["CIDEr"] is None and metrics.score([], [])["images"] == 0


def test_case_and_punctuation_do_not_move_a_score():
    loud = [f"{caption.upper()} !" for caption in CAPTIONS]
    assert metrics.score(loud, REFERENCES) == metrics.score(CAPTIONS, REFERENCES)


def test_empty_captions_and_missing_references_score_nought_without_failing():
    scores = metrics.score([""] * 12, [[]] * 12)
    assert scores["CIDEr"] == 0 and scores["ROUGE-L"] == 0 and scores["BLEU-4"] < 1e-6


def test_scores_an_image_average_to_the_scores_of_the_set():
    captions = CAPTIONS[2:] + CAPTIONS[:2]
    whole, each = metrics.score(captions, REFERENCES), metrics.per_image(captions, REFERENCES)
    for name in ("CIDEr", "ROUGE-L"):
        assert sum(row[name] for row in each) / len(each) == pytest.approx(whole[name])
    assert len(each) == len(captions) and metrics.per_image([], []) == []


def test_likeness_is_the_rouge_l_of_coco():
    for caption, (reference, _) in zip(CAPTIONS[3:] + CAPTIONS[:3], REFERENCES, strict=True):
        assert metrics.per_image([caption], [[reference]])[0]["ROUGE-L"] == pytest.approx(likeness(caption, reference))


def test_scoring_prints_nothing(capsys):
    metrics.score(CAPTIONS, REFERENCES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("caption", ["a dog dog", "with a with a ball", "A cat, a cat on grass", "the the"])
def test_words_said_twice_in_a_row_are_found(caption):
    assert metrics.repeats_words(caption)


@pytest.mark.parametrize("caption", ["", "a dog and a dog", "a dog on a mat with a ball", "a black dog and a black cat", "bye"])
def test_words_said_again_later_are_no_repetition(caption):
    assert not metrics.repeats_words(caption)


@pytest.mark.parametrize("caption", ["", "a dog with a", "a dog sitting on", "a dog and", "a cat with his"])
def test_captions_that_stop_in_the_middle_are_unfinished(caption):
    assert metrics.is_unfinished(caption)


@pytest.mark.parametrize("caption", ["a dog with a ball next to it", "a man walks by", "a girl and a dog beside her", "a dog lies down"])
def test_whole_sentences_are_finished_unless_the_room_ran_out(caption):
    assert not metrics.is_unfinished(caption) and metrics.is_unfinished(caption, finished=False)


@pytest.mark.parametrize(
    "caption, far",
    [
        ("a brown dog runs on the grass", False),
        ("a brown dog running on grass", False),
        ("dog, brown, running in the green grass", False),
        ("a plate of food on a table", True),
        ("", True),
        ("a a a the of", True),
    ],
)
def test_a_caption_is_far_from_its_references_when_few_of_its_words_are_in_one(caption, far):
    references = ["a brown dog is running on the grass", "the dog runs through green grass"]
    assert (metrics.goodness(caption, references) < metrics.RIGHT) is far


def test_more_references_never_make_a_caption_worse():
    caption = "a white cat sleeps on a sofa"
    references = ["a plate", "a cat on a couch", "white cat sleeping on a sofa"]
    grades = [metrics.goodness(caption, references[:count]) for count in range(4)]
    assert grades == sorted(grades) and grades[0] == 0


def test_a_caption_is_common_from_five_images_and_a_twentieth_of_all():
    others = [f"a dog number{number}" for number in range(200)]
    assert metrics.common(["A dog."] * 5 + others[:95]) == {"a dog"}
    assert metrics.common(["A dog."] * 4 + others[:10]) == set()
    assert metrics.common(["A dog."] * 5 + others[:196]) == set()
