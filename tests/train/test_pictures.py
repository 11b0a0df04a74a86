"""Pixels for training: fresh views that keep a caption true, and a plain look that is anybody's.

python -m pytest tests/test_pictures.py
"""

from __future__ import annotations

import models
import pytest
import torch
from PIL import Image

from explorer.data.images import open_image
from explorer.model.captioner import load
from explorer.train import pictures as module
from explorer.train.pictures import Pictures, view


@pytest.fixture(scope="module")
def captioner(blip):
    return load(blip)


@pytest.fixture
def example(tmp_path) -> dict:
    """Red on the left, blue on the right, larger than the model sees."""
    picture = Image.new("RGB", (300, 200), "red")
    picture.paste("blue", (150, 0, 300, 200))
    picture.save(tmp_path / "sides.png")
    return {"image_id": "sides", "path": str(tmp_path / "sides.png"), "references": ["a red square and a blue square"]}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int):
    """Views drawn with ``seed``, the same whoever else is in the batch."""
    return lambda example: generator(seed)


def is_mirrored(pixels: torch.Tensor) -> bool:
    red, blue = pixels[0], pixels[2]
    return bool((red - blue)[:, 0].mean() < (red - blue)[:, -1].mean())


def test_the_same_draw_gives_the_same_view_and_another_another(captioner, example):
    pictures = Pictures(captioner, augment=True)
    one, same, other = (pictures.pixels([example], drawn(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_plain_look_is_the_processor_s_own(captioner, example):
    plain = captioner.pixels([open_image(example["path"])])
    assert torch.equal(Pictures(captioner, augment=True).pixels([example]), plain)
    assert torch.equal(Pictures(captioner, augment=False).pixels([example]), plain)


def test_without_augmentation_every_epoch_sees_the_same(captioner, example):
    pictures = Pictures(captioner, augment=False)
    assert torch.equal(pictures.pixels([example], drawn(1)), pictures.pixels([example], drawn(2)))


def test_views_are_mirrored_unless_a_reference_says_left_or_right(captioner, example):
    pictures = Pictures(captioner, augment=True)
    mirrored = [is_mirrored(pictures.pixels([example], drawn(seed))[0]) for seed in range(20)]
    assert {True, False} == set(mirrored)
    for text in ("red on the left", "Blue on the RIGHT, red on the other side"):
        sided = {**example, "references": ["two squares", text]}
        assert not any(is_mirrored(pictures.pixels([sided], drawn(seed))[0]) for seed in range(20))


def test_bright_and_copyright_do_not_stop_the_mirror():
    assert module.SIDED.search("on the left") and not module.SIDED.search("a bright copyright leftover")


def test_views_keep_at_least_four_fifths_of_the_area():
    picture = Image.new("RGB", (100, 100), "white")
    for seed in range(50):
        width, height = view(picture, ["a"], generator(seed)).size
        assert 0.78 * 100 * 100 <= width * height <= 100 * 100


@pytest.mark.parametrize("family", models.MAKERS)
def test_pictures_of_any_shape_become_what_the_model_sees(bases, tmp_path, family):
    captioner = load(bases[family])
    shapes = [(1, 1), (500, 3), (3, 500), (31, 33)]
    examples = []
    for number, size in enumerate(shapes):
        Image.new("RGB", size, "green").save(tmp_path / f"{number}.png")
        examples.append({"image_id": str(number), "path": str(tmp_path / f"{number}.png"), "references": ["a"]})
    for draw in (None, drawn(0)):
        assert Pictures(captioner, augment=True).pixels(examples, draw).shape == (4, 3, 32, 32)


def test_kept_pictures_stay_within_their_room(captioner, example, monkeypatch):
    monkeypatch.setattr(module, "ROOM", 1)
    pictures = Pictures(captioner, augment=True)
    for name in "abc":
        pictures.picture({**example, "image_id": name})
    assert len(pictures.kept) == 1
    assert max(pictures.kept["a"].size) == 64
