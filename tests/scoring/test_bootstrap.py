"""Intervals over images: right on average, paired, and silent where there are too few."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.scoring import bootstrap


def test_the_interval_of_a_mean_is_what_its_standard_error_says():
    values = np.random.default_rng(1).normal(3, 2, 400)
    drawn = bootstrap.means(values, bootstrap.draws(400))
    found = bootstrap.interval(values.mean(), drawn, 400)
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_a_draw_has_as_many_images_as_there_are_and_is_the_same_each_time():
    first = bootstrap.draws(30)
    assert first.shape == (bootstrap.DRAWS, 30) and (first.sum(1) == 30).all()
    assert np.array_equal(first, bootstrap.draws(30))


def test_a_paired_difference_is_clear_where_two_unpaired_intervals_overlap():
    draw = np.random.default_rng(0)
    before = draw.normal(0, 5, 200)
    after = before + 0.5 + draw.normal(0, 0.5, 200)
    weights = bootstrap.draws(200)
    rows = [bootstrap.means(v, weights) for v in (before, after)]
    alone = [bootstrap.interval(v.mean(), r, 200) for v, r in zip((before, after), rows, strict=True)]
    step = bootstrap.interval(after.mean() - before.mean(), rows[1] - rows[0], 200)
    assert alone[0].high > alone[1].low and step.is_clear and step.low > 0


def test_values_that_are_not_known_are_left_out():
    assert bootstrap.means(np.array([1.0, np.nan, 3.0]), np.array([[1.0, 5, 1], [0, 1, 0]])).tolist()[0] == 2
    assert np.isnan(bootstrap.means(np.array([np.nan, 1.0]), np.array([[2.0, 0]])))


def test_too_few_images_have_no_interval_and_nothing_is_clear():
    found = bootstrap.interval(0.5, np.full(100, 0.5), bootstrap.FEWEST - 1)
    assert found.value == 0.5 and np.isnan(found.low) and not found.is_clear


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(2)
    weights = bootstrap.draws(60, 400)
    held = 0
    for _ in range(200):
        values = draw.normal(1, 1, 60)
        found = bootstrap.interval(values.mean(), bootstrap.means(values, weights), 60)
        held += found.low <= 1 <= found.high
    assert 0.88 <= held / 200 <= 0.99
