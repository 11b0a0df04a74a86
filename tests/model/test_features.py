"""Kept features: made once, shared, never another's, never damaged ones.

python -m pytest tests/test_features.py
"""

from __future__ import annotations

import random
import threading
from pathlib import Path

import models
import numpy as np
import pytest
import torch

from explorer.data.images import ImageError, image_id, open_image
from explorer.model.captioner import load
from explorer.model.features import FeatureStore


@pytest.fixture(scope="module")
def captioner(blip):
    return load(blip)


@pytest.fixture
def examples(tmp_path) -> list[dict]:
    draw, found = random.Random(5), []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        models.draw_shape("red", "circle", draw).save(path)
        found.append({"image_id": image_id(path), "path": str(path), "references": ["a red circle"]})
    return found


def fresh(captioner, examples) -> torch.Tensor:
    return captioner.encode([open_image(Path(e["path"])) for e in examples])


def test_kept_features_are_those_of_a_fresh_look(captioner, examples, tmp_path):
    store = FeatureStore(tmp_path, captioner)
    assert list(store.fill(examples, batch_size=2)) == [(2, 5), (4, 5), (5, 5)]
    found = store.get(examples)
    assert (found.dtype, found.shape) == (torch.float32, (5, 17, 32))
    assert torch.allclose(found, fresh(captioner, examples), atol=1e-2)


def test_each_image_is_looked_at_once(captioner, examples, tmp_path):
    list(FeatureStore(tmp_path, captioner).fill(examples))
    for example in examples:
        Path(example["path"]).unlink()
    again = FeatureStore(tmp_path, captioner)
    assert list(again.fill(examples)) == []
    assert again.get(examples).shape == (5, 17, 32)


def other_shape(store, ids):
    np.save(file := store.path(ids[0]).with_suffix(".tmp.npy"), np.zeros((3, 4), np.float16))
    file.replace(store.path(ids[0]))


DAMAGES = {
    "empty": lambda store, ids: store.path(ids[0]).write_bytes(b""),
    "cut short": lambda store, ids: store.path(ids[0]).write_bytes(store.path(ids[0]).read_bytes()[:-100]),
    "one bit turned": lambda store, ids: store.path(ids[0]).write_bytes(
        bytes(byte ^ (place == 400) for place, byte in enumerate(store.path(ids[0]).read_bytes()))
    ),
    "noise": lambda store, ids: store.path(ids[0]).write_bytes(random.Random(1).randbytes(1216)),
    "another image's": lambda store, ids: store.path(ids[0]).write_bytes(store.path(ids[1]).read_bytes()),
    "of another shape": other_shape,
    "gone": lambda store, ids: store.path(ids[0]).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_file_is_made_anew(captioner, examples, tmp_path, damage):
    store = FeatureStore(tmp_path, captioner)
    list(store.fill(examples))
    expected, data = store.get(examples), store.path(examples[0]["image_id"]).read_bytes()
    DAMAGES[damage](store, [e["image_id"] for e in examples])
    assert torch.allclose(FeatureStore(tmp_path, captioner).get(examples), expected, atol=1e-2)
    assert len(store.path(examples[0]["image_id"]).read_bytes()) == len(data)


def test_features_of_another_model_are_never_taken(captioner, examples, tmp_path, git):
    ours, theirs = FeatureStore(tmp_path, captioner), FeatureStore(tmp_path, load(git))
    list(ours.fill(examples))
    list(theirs.fill(examples))
    assert ours.folder != theirs.folder
    name = examples[0]["image_id"]
    expected = ours.get(examples)
    ours.path(name).write_bytes(theirs.path(name).read_bytes())  # same shape, another tower's
    assert torch.allclose(ours.get(examples), expected, atol=1e-2)


def test_features_beyond_half_precision_stay_finite(blip, examples, tmp_path):
    captioner = load(blip)
    with torch.no_grad():
        captioner.model.vision_model.post_layernorm.weight.mul_(1e9)
    assert torch.isfinite(FeatureStore(tmp_path, captioner).get(examples)).all()


def test_an_image_that_is_gone_is_named(captioner, examples, tmp_path):
    Path(examples[3]["path"]).unlink()
    with pytest.raises(ImageError, match="3.png cannot be read as a picture: there is no such file"):
        FeatureStore(tmp_path, captioner).get(examples)


def test_encoding_in_another_thread_leaves_the_decoder_learning(captioner, examples, tmp_path):
    captioner.model.train()
    thread = threading.Thread(target=FeatureStore(tmp_path, captioner).get, args=(examples,))
    thread.start()
    thread.join()
    assert captioner.model.text_decoder.training
    assert not captioner.model.vision_model.training
