from __future__ import annotations

import numpy as np

from explorer.compare import warming
from explorer.compare.comparison import View
from explorer.compare.comparison_bench import made_up


def test_a_small_comparison_is_reckoned_when_asked_and_nothing_is_waited_for():
    assert warming.progress(made_up(50)) is None


def test_a_large_one_is_reckoned_beside_the_page_and_then_is_what_it_would_have_been(monkeypatch):
    monkeypatch.setattr(warming, "AT_ONCE", 100)
    table, plain = made_up(3000), made_up(3000)
    done, total = warming.progress(table)
    assert 0 <= done <= total == 3000
    table.findings.kept["warming", *sorted(table.keys)].thread.join(120)
    assert warming.progress(table) is None
    assert not table.findings.lacking(table.keys)
    assert np.array_equal(table.goodness, plain.goodness) and table.learning == plain.learning
    assert np.array_equal(table.select(View(frozenset(["regressed"]))), plain.select(View(frozenset(["regressed"]))))


def test_columns_put_off_or_in_another_order_are_not_reckoned_again(monkeypatch):
    table = made_up(300)
    assert table.goodness.shape == (300, 5)
    monkeypatch.setattr(warming, "AT_ONCE", 100)
    assert warming.progress(table.only(table.columns[::-1])) is None


def test_only_views_that_need_scores_wait_for_them():
    assert not warming.needs_scores(View(search="dog", order="file name", filters=frozenset(["flagged"])))
    assert all(
        warming.needs_scores(view) for view in (View(filters=frozenset(["wrong"])), View(order="worst first"), View(learning="never"))
    )
