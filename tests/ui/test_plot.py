"""The loss plot is useful from the second step on and never breaks on odd numbers."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from explorer.ui.plot import loss_plot, smooth, thumbnail_curve, ticks


def rows(losses):
    return [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]


def drawing(code: str):
    return ElementTree.fromstring(code[code.index("<svg") : code.index("</svg>") + 6])


def test_two_steps_make_a_line():
    svg = drawing(loss_plot(rows([3.0, 2.5]), [], 10))
    assert len(svg.findall("circle")) == 2 and len(svg.findall("polyline")) == 1


def test_nothing_to_show_shows_nothing():
    assert loss_plot([], [], 10) == ""


def test_losses_that_are_no_numbers_are_left_out():
    svg = drawing(loss_plot(rows([3.0, math.nan, math.inf, 2.0]), [{"step": 4, "validation_loss": math.nan}], 4))
    assert len(svg.findall("circle")) == 2 and not svg.findall("path")


def test_validation_is_marked_at_its_step():
    svg = drawing(loss_plot(rows([3.0, 2.0]), [{"step": 0, "validation_loss": 3.1}, {"step": 2, "validation_loss": 2.2}], 2))
    assert len(svg.findall("path")) == 2
    assert "validation loss 2.20 at step 2" in svg.get("aria-label")


def test_a_flat_loss_can_be_drawn():
    assert drawing(loss_plot(rows([2.0, 2.0, 2.0]), [], 3)).findall("circle")
    assert thumbnail_curve([2.0, 2.0]) and thumbnail_curve([1.0]) == ""


def test_many_steps_stay_a_small_drawing():
    assert len(drawing(loss_plot(rows([3.0] * 20_000), [], 20_000)).findall("circle")) <= 800


def test_the_smooth_line_starts_at_the_first_value():
    assert smooth([5.0, 5.0, 5.0]) == [5.0, 5.0, 5.0]


def test_ticks_are_round_and_within():
    assert ticks(0, 10) == [0, 5, 10]
    assert all(0.13 <= tick <= 0.37 for tick in ticks(0.13, 0.37))
