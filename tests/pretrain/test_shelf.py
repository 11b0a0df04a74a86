"""Pictures on a shelf, and the views a training takes of them."""

from __future__ import annotations

import torch

from explorer.pretrain.shelf import Batch, Shelf

CPU = torch.device("cpu")


def encode(texts: list[str]) -> torch.Tensor:
    """A token a word, numbered by its length, after the start 5 and before the end 3."""
    rows = [[5, *(10 + len(word) for word in text.split()), 3] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def no_words(groups: list[list[str]]) -> torch.Tensor:
    return torch.zeros(len(groups), 0)


def half_white(count: int) -> torch.Tensor:
    """Pictures [count, 40, 40, 3] whose left half is white."""
    pixels = torch.zeros(count, 40, 40, 3, dtype=torch.uint8)
    pixels[:, :, :20] = 255
    return pixels


def shelf_of(texts: list[list[str]], room: int = 8) -> Shelf:
    shelf = Shelf(room, max(map(len, texts)), CPU)
    shelf.put(half_white(len(texts)), texts, encode, no_words)
    return shelf


def views(shelf: Shelf, rows: list[int], seed: int, side: int = 24) -> torch.Tensor:
    torch.manual_seed(seed)
    return Batch(shelf, torch.tensor(rows), crop=0.9).seen(side)


def test_a_full_shelf_gives_up_its_oldest():
    shelf = Shelf(3, 1, CPU)
    for value in range(5):
        shelf.put(torch.full((1, 4, 4, 3), value, dtype=torch.uint8), [["a dog"]], encode, no_words)
    assert shelf.filled == 3
    assert sorted(shelf.pixels[:, 0, 0, 0].tolist()) == [2, 3, 4]


def test_a_longer_caption_later_keeps_the_earlier_whole():
    shelf = shelf_of([["a dog"]], room=2)
    shelf.put(half_white(1), [["a dog that runs far"]], encode, no_words)
    shelf.put(half_white(1), [["a fox"]], encode, no_words)  # in the place of the first
    assert shelf.ids[0, 0].tolist() == [5, 11, 13, 3, 0, 0, 0]
    assert shelf.ids[1, 0].tolist() == [5, 11, 13, 14, 14, 13, 3]


def test_no_caption_comes_twice_while_there_are_enough():
    shelf = shelf_of([["a", "bb", "ccc"], ["dddd"]])
    for seed in range(10):
        torch.manual_seed(seed)
        ids = Batch(shelf, torch.tensor([0, 1]), crop=0.9).some_ids(2)
        assert ids.shape == (4, 3)
        assert ids[0, 1] != ids[1, 1] and {*ids[:2, 1].tolist()} <= {11, 12, 13}
        assert ids[2:, 1].tolist() == [14, 14]


def test_a_picture_whose_caption_says_left_is_never_mirrored():
    shelf = shelf_of([["a dog on the left"], ["a dog"]])
    mirrored = 0
    for seed in range(20):
        sided, free = views(shelf, [0, 1], seed)
        assert sided[..., :6].mean() > sided[..., -6:].mean()
        mirrored += bool(free[..., :6].mean() < free[..., -6:].mean())
    assert 0 < mirrored < 20


def test_the_same_views_are_seen_at_any_side():
    batch = Batch(shelf_of([["a dog"]] * 4), torch.arange(4), crop=0.3)
    small, large = batch.seen(24), batch.seen(96)
    assert small.shape == (4, 3, 24, 24) and small.min() >= 0 and small.max() <= 255
    assert torch.allclose(small.mean((2, 3)), large.mean((2, 3)), atol=8)
