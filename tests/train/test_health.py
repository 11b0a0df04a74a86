import json
import math
import random

import pytest
from helpers_runs import epoch, step

from explorer.train.health import check

VOCABULARY = 3000
NOTHING = math.log(VOCABULARY)


def codes(rows: list[dict]) -> list[str]:
    return [warning.code for warning in check(rows, VOCABULARY)]


def log(curve, count: int, noise: float = 0.0, seed: int = 0) -> list[dict]:
    """A log of ``count`` steps, the loss following ``curve`` from 0 to 1."""
    draw = random.Random(seed)
    steps = [step(n, curve(n / count) + draw.gauss(0, noise)) for n in range(1, count + 1)]
    return [{"kind": "start", "epoch": 0, "step": 0, "steps": count}, *steps]


def said_on_the_way(rows: list[dict]) -> set[str]:
    """Every code a run would have been told, step by step."""
    return {code for end in range(len(rows) + 1) for code in codes(rows[:end])}


def probe(number: int, *captions: str) -> dict:
    return {"kind": "probe", "epoch": 1, "step": number, "captions": list(captions)}


def test_an_empty_log_is_healthy():
    assert codes([]) == []


@pytest.mark.parametrize("count", [4, 12, 60, 300])
@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize(
    "curve",
    [
        lambda t: 2 + 2 * math.exp(-4 * t),  # a usual fine-tune
        lambda t: 2 + (NOTHING - 2) * math.exp(-4 * t),  # from random weights
        lambda t: 3.4 - t + (0.2 * math.sin(20 * t) if t < 0.15 else 0),  # a bump while the rate warms up
    ],
    ids=["usual", "from random", "warm-up bump"],
)
def test_a_falling_loss_is_never_complained_of(curve, noise, count):
    assert said_on_the_way(log(curve, count, noise)) == set()


def test_a_loss_that_is_no_number_names_the_first_step_and_silences_the_rest():
    rows = [step(1, 3.0), step(2, float("inf")), step(3, float("nan")), *(step(n, NOTHING) for n in range(4, 40))]
    rows = [json.loads(json.dumps(row)) for row in rows]  # as the log keeps them
    [warning] = check(rows, VOCABULARY)
    assert warning.code == "nan" and "step 2" in warning.text and "learning rate" in warning.text


def test_a_validation_loss_that_is_no_number_is_told():
    assert codes([epoch(0, 3.0), epoch(1, float("nan"), 2.9)]) == ["nan"]


def test_a_loss_at_ln_vocabulary_is_told_with_that_value():
    [warning] = check(log(lambda t: NOTHING + 0.01, 12), VOCABULARY)
    assert warning.code == "predicts-nothing"
    assert "8.02" in warning.text and "ln(3,000) = 8.01" in warning.text and "predicts nothing" in warning.text


def test_a_model_that_collapses_is_told_what_to_do_instead_of_to_learn_faster():
    said = said_on_the_way(log(lambda t: 2.5 if t < 0.4 else NOTHING, 100, 0.1))
    assert said == {"rising", "predicts-nothing"}


def test_under_ten_steps_a_loss_at_ln_vocabulary_says_nothing():
    assert codes(log(lambda t: NOTHING, 9)) == []


def test_an_epoch_at_ln_vocabulary_is_told_however_few_its_steps():
    assert codes([epoch(0, 3.1), step(1, 3.0), epoch(1, NOTHING - 0.1, 6.0)]) == ["predicts-nothing"]
    assert codes([epoch(0, 3.1), step(1, 3.0), epoch(1, NOTHING - 0.3, 6.0)]) == []


def test_an_untrained_base_is_not_blamed_on_the_learning_rate():
    start = [epoch(0, NOTHING), step(1, NOTHING), epoch(1, NOTHING - 0.05, NOTHING)]
    assert codes(start) == []
    [warning] = check([*start, *(step(n, NOTHING) for n in range(2, 14))], VOCABULARY)
    assert warning.code == "predicts-nothing" and "trained base" in warning.text and "learning rate" not in warning.text


@pytest.mark.parametrize("count, noise", [(40, 0.05), (120, 0.2)])
def test_a_flat_loss_is_told_once_half_the_run_is_over(count, noise):
    rows = log(lambda t: 2.5, count, noise)
    assert "not-falling" in said_on_the_way(rows)
    assert codes(rows[: count // 2 - 1]) == []


def test_a_flat_loss_too_noisy_to_tell_is_not_called_flat():
    assert "not-falling" not in said_on_the_way(log(lambda t: 2.5, 28, 1.0))


@pytest.mark.parametrize("count, noise", [(40, 0.1), (200, 0.3)])
def test_a_rising_loss_is_told_with_a_smaller_rate_and_never_called_flat(count, noise):
    rows = log(lambda t: 2 + t, count, noise)
    assert said_on_the_way(rows) == {"rising"}
    assert "Take a third of it" in check(rows, VOCABULARY)[0].text


def test_one_caption_for_all_watched_images_in_three_probes_is_told():
    same = [probe(n, "A dog.", "a dog", "a dog") for n in (1, 2, 3)]
    [warning] = check(same, VOCABULARY)
    assert warning.code == "same-captions" and "a dog" in warning.text.lower() and "All 3 watched images" in warning.text


def test_one_caption_for_all_is_not_told_of_the_base_nor_of_a_passing_moment_nor_of_two_images():
    assert codes([probe(0, "a dog", "a dog", "a dog")] * 4) == []
    assert codes([probe(1, "a dog", "a dog", "a cat"), *[probe(n, "a dog", "a dog", "a dog") for n in (2, 3)]]) == []
    assert codes([probe(n, "a dog", "a dog") for n in (1, 2, 3, 4)]) == []


def test_one_caption_for_all_validation_images_is_told_after_an_epoch_but_not_of_the_base():
    assert codes([epoch(0, 3.0, distinct=1)]) == []
    assert codes([epoch(0, 3.0, distinct=1), epoch(1, 2.9, 3.0, distinct=1)]) == ["same-captions"]
    assert codes([epoch(0, 3.0, distinct=1), epoch(1, 2.9, 3.0, distinct=2)]) == []
    assert codes([epoch(0, 3.0), epoch(1, 2.9, 3.0, images=4, distinct=1)]) == []


def test_validation_loss_rising_for_two_epochs_names_the_best_epoch():
    rows = [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.1, 1.8), epoch(3, 2.3, 1.2)]
    [warning] = check(rows, VOCABULARY)
    assert warning.code == "overfitting" and "(2.00, 2.10, 2.30)" in warning.text and "Epoch 1 was best" in warning.text


def test_a_base_that_was_best_is_said_after_two_epochs():
    [warning] = check([epoch(0, 2.0), epoch(1, 2.2, 2.4), epoch(2, 2.4, 1.8)], VOCABULARY)
    assert warning.code == "overfitting" and "The base was best" in warning.text


@pytest.mark.parametrize(
    "rows",
    [
        [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.1, 1.8)],  # one epoch up
        [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.1, 1.8), epoch(3, 2.05, 1.2)],  # and down again
        [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.1, 2.5), epoch(3, 2.3, 2.6)],  # the training loss rises too
        [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.005, 1.8), epoch(3, 2.01, 1.2)],  # by a hair
    ],
    ids=["one epoch", "down again", "training rises", "by a hair"],
)
def test_other_validation_losses_are_no_overfitting(rows):
    assert codes(rows) == []


def test_an_epoch_logged_twice_counts_once_with_its_later_row():
    assert codes([epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.2, 1.8), epoch(2, 2.3, 1.8)]) == []
