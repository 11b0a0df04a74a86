"""Pictures that look alike, found by their 64-bit difference hashes (see images.perceptual_hash)."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

NEAR = 4
"""Bits in which the hashes of near duplicates may differ."""
BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""(first bit, width) of 5 bands: hashes that differ in at most 4 bits agree in one of them (pigeonhole)."""


def near_groups(hashes: Sequence[int]) -> list[list[int]]:
    """Places of hashes that differ in at most `NEAR` bits, chained together; groups of one are left out.

    Only hashes that share a band are compared, and equal ones once: plain pictures all have the hash 0.
    """
    distinct, which = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    parent = _joined(distinct)
    groups = collections.defaultdict(list)
    for place, number in enumerate(which.tolist()):
        groups[_root(parent, number)].append(place)
    return [places for places in groups.values() if len(places) > 1]


def _joined(hashes: np.ndarray) -> list[int]:
    """A union-find forest over places of distinct ``hashes``, near ones in one tree."""
    parent = list(range(len(hashes)))
    for shift, width in BANDS:
        bands = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(bands, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(bands[order])) + 1):
            for at, place in enumerate(group[:-1]):
                others = group[at + 1 :]
                close = np.bitwise_count(hashes[others] ^ hashes[place]) <= NEAR
                for other in others[close]:
                    parent[_root(parent, int(other))] = _root(parent, int(place))
    return parent


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place
