"""Bootstrap: how far a score over images would move with other images of the same kind, without a loop over draws.

Images are drawn with replacement; a draw is told by how often each image is in it. All columns get the same draws,
so that the difference of two columns is paired (Efron and Tibshirani, "An introduction to the bootstrap", 1993;
Koehn, "Statistical significance tests for machine translation evaluation", 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 1000
LEVEL = 0.95
FEWEST = 10
"""Images below which an interval would be a guess about a guess."""


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its 95 % percentile interval; nan ends when there are too few images."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def draws(images: int, count: int = DRAWS, seed: int = 0) -> np.ndarray:
    """[count, images] float64: how often each image is in a draw; every row sums to ``images``."""
    if not images:
        return np.zeros((count, 0))
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=count).astype(float)


def interval(value: float, drawn: np.ndarray, images: int) -> Interval:
    """The interval of a score from its values [draws]; draws without a value are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if images < FEWEST or not len(drawn) or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[rows] weighted means of values [images] by weights [rows, images]; nan values are left out of both sums."""
    known = ~np.isnan(values)
    total = weights @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights @ np.where(known, values, 0) / total, np.nan)
