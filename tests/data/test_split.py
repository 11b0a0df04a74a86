"""Near duplicates are found, and the split keeps them on one side; the same seed gives the same split."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer.data import dataset
from explorer.data.dataset import Dataset, DatasetError, Example
from explorer.data.duplicates import near_groups


def test_near_groups_are_those_within_four_bits_chained():
    random = np.random.default_rng(0)
    hashes = [int(h) for h in random.integers(0, 2**64, 300, dtype=np.uint64)]
    flip = lambda value, count: value ^ sum(1 << int(bit) for bit in random.choice(64, count, replace=False))  # noqa: E731
    near = [flip(h, 4) for h in hashes[:100]]
    chained = [flip(h, 4) for h in near[:20]]
    groups = {frozenset(g) for g in near_groups([*hashes, *near, *chained])}
    assert groups == {frozenset({n, 300 + n} | ({400 + n} if n < 20 else set())) for n in range(100)}
    assert near_groups([0, 31]) == [] and near_groups([]) == []


@pytest.mark.parametrize("alike", [True, False])
def test_near_duplicates_of_many_images_are_found_at_once(alike):
    hashes = [0] * 20_000 if alike else np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64).tolist()
    started = time.process_time()
    assert len(near_groups(hashes)) == (1 if alike else 0)
    assert time.process_time() - started < 3


def examples(count: int, hashes=None, split=None) -> tuple[Example, ...]:
    hashes = hashes or np.random.default_rng(1).integers(0, 2**63, count).tolist()
    sides = split or [None] * count
    return tuple(Example(f"{n:016x}", Path(f"{n}.png"), f"{n}.png", (f"text {n}",), 64, 64, sides[n], hashes[n]) for n in range(count))


def made(*found: Example) -> Dataset:
    return Dataset("pets", Path("pets"), found, ())


def ids(side) -> list[str]:
    return [e.image_id for e in side]


def test_split_is_the_same_for_the_same_seed_in_whatever_order():
    found = examples(50)
    one, other = dataset.split(made(*found), seed=3), dataset.split(made(*reversed(found)), seed=3)
    assert one == other
    assert (len(one.train), len(one.validation)) == (40, 10)
    assert {*ids(one.train), *ids(one.validation)} == set(ids(found))
    assert dataset.split(made(*found), seed=4) != one


def test_no_near_duplicate_sits_on_both_sides():
    looks = np.random.default_rng(2).integers(0, 2**63, 30).tolist()
    hashes = [looks[n // 3] ^ (0, 1, 6)[n % 3] for n in range(90)]  # threes that differ in one to three bits
    for seed in range(10):
        parts = dataset.split(made(*examples(90, hashes)), seed=seed)
        groups = [{int(e.image_id, 16) // 3 for e in side} for side in (parts.train, parts.validation)]
        assert not groups[0] & groups[1] and len(parts.validation) == 18


def test_near_duplicates_across_the_sources_own_split_go_to_validation():
    found = examples(4, [5, 6, 0x7777777777777777, 0x0F0F0F0F0F0F0F0F], ["train", "validation", "train", "train"])
    parts = dataset.split(made(*found))
    assert set(ids(parts.validation)) == {found[0].image_id, found[1].image_id}


@pytest.mark.parametrize("count", [2, 3, 5, 100])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.99, 1.0])
@pytest.mark.parametrize("alike", [True, False])
def test_both_sides_have_an_image_whatever_the_share(count, share, alike):
    parts = dataset.split(made(*examples(count, [0] * count if alike else None)), share)
    assert parts.train and parts.validation and len(parts.train) + len(parts.validation) == count


@pytest.mark.parametrize("limit", [2, 3, 10, 49, 50, 99])
def test_limit_is_the_number_of_images_used(limit):
    found = made(*examples(50))
    parts = dataset.split(found, limit=limit)
    assert len(parts.train) + len(parts.validation) == min(limit, 50) and parts.train and parts.validation
    assert set(ids(parts.train)) <= set(ids(dataset.split(found).train))
    assert parts != dataset.split(found, limit=limit, seed=1)


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_limit_below_two_is_told(limit):
    with pytest.raises(DatasetError, match=f"images to use is {limit}: take at least 2"):
        dataset.split(made(*examples(5)), limit=limit)


def test_only_captioned_images_are_split():
    found = examples(10)
    bare = [replace(e, references=()) for e in found[:4]]
    parts = dataset.split(made(*bare, *found[4:]))
    assert set(ids((*parts.train, *parts.validation))) == set(ids(found[4:]))


def test_too_few_captioned_images_are_told():
    found = examples(2)
    bare = replace(found[1], references=())
    with pytest.raises(DatasetError, match="pets has 1 captioned image; fine-tuning needs at least 2: add captions"):
        dataset.split(made(found[0], bare))
    with pytest.raises(DatasetError, match="pets has no captioned image"):
        dataset.split(made(bare))
