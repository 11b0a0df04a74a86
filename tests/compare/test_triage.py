"""The queue: each signal by itself, all together, and how well an order finds the worst."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.compare import triage
from explorer.model.captions import Caption


def said(text: str, *chances: float, finished: bool = True) -> Caption:
    words = tuple(text.split())
    return Caption(text, words, chances or (0.9,) * len(words), finished)


GOOD = said("a dog on the grass")


def first(columns, name: str) -> int:
    return int(np.nanargmax(triage.SIGNALS[name](columns)))


def test_each_signal_puts_its_own_bad_caption_first():
    assert first([[GOOD, said("a dog on the grass", 0.9, 0.2, 0.3, 0.4, 0.5)]], "unsure") == 1
    assert (
        first([[said("a dog on the grass", 0.1, 0.9, 0.1, 0.1, 0.9), said("a dog on the grass", 0.9, 0.9, 0.9, 0.9, 0.5)]], "least sure")
        == 1
    )
    assert first([[GOOD, GOOD], [GOOD, said("two men in a boat")]], "disagreement") == 1
    assert first([[GOOD, said("a dog dog on the grass")]], "broken") == 1
    assert first([[GOOD, said("a dog on the")]], "broken") == 1
    assert first([[*[GOOD] * 9, said("a tuba on the grass")]], "rare noun") == 9


def test_the_nearer_epoch_weighs_more_in_disagreement():
    other = said("two men in a boat")
    near, far = [[GOOD], [other], [GOOD]], [[other], [GOOD], [GOOD]]
    assert triage.disagreement(near)[0] > triage.disagreement(far)[0] > 0


def test_missing_captions_and_probabilities_say_nothing_and_stand_in_the_middle():
    columns = [[GOOD, None, Caption("a dog")], [GOOD, None, Caption("a dog")]]
    found = triage.signals(columns)
    assert all(np.isnan(values[1]) for values in found.values())
    doubt = triage.doubts(found)
    assert doubt[1] == pytest.approx(0.5) and not np.isnan(doubt).any() and ((doubt >= 0) & (doubt <= 1)).all()


def test_no_reference_is_read():
    """Signals take captions alone: there is nowhere to hand an image's references in."""
    assert set(triage.WEIGHTS) == {*triage.SIGNALS, "irrelevant", "unlike neighbours"}
    assert triage.signals([]) == {} and len(triage.doubts({})) == 0


def test_what_was_seen_in_the_pictures_moves_a_caption_in_the_queue():
    columns = [[GOOD, GOOD, GOOD]]
    doubt = triage.doubts(triage.signals(columns, {"unlike neighbours": np.array([-1.0, 1.0, -0.5])}))
    assert doubt.argmax() == 1 and doubt.argmin() == 0


def test_places_share_ties_and_leave_the_unknown_in_the_middle():
    assert triage.place_shares(np.array([3.0, 1.0, 1.0, np.nan])).tolist() == [1.0, 0.25, 0.25, 0.5]
    assert triage.place_shares(np.array([np.nan, 4.0])).tolist() == [0.5, 0.5]


def test_gain_over_chance_counts_the_worst_in_the_first_fifth():
    worst = np.zeros(10, bool)
    worst[[0, 1]] = True
    assert triage.gain_over_chance(np.arange(10), worst) == (pytest.approx(5), 2, 2)
    assert triage.gain_over_chance(np.arange(10)[::-1], worst)[0] == 0
    assert triage.gain_over_chance(np.array([0, 9, 1, 2, 3, 4, 5, 6, 7, 8]), worst)[0] == pytest.approx(2.5)
