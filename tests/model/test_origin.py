"""A run may begin from any checkpoint of any run, whatever becomes of that run afterwards.

python -m pytest tests/test_origin.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import models
import pytest
import torch

from explorer.compare import columns
from explorer.data.images import open_image
from explorer.errors import UserError
from explorer.model import captions
from explorer.model.captioner import load
from explorer.train import worker
from explorer.train.run import METHODS


@pytest.fixture
def first(workspace, blip, shapes):
    """A LoRA run over every layer, so that both the vision tower and the decoder have moved."""
    run = models.new_run(workspace, blip, shapes, name="first", method="lora-vision", epochs=2)
    list(worker.work(run, workspace))
    return run


def logits(captioner, run):
    pictures = [open_image(Path(e["path"])) for e in run.examples("validation")[:3]]
    captioner.dtype = None
    ids, mask = captioner.ids(["a red square"] * 3)
    with torch.no_grad():
        return captioner.logits(captioner.encode_pixels(captioner.pixels(pictures)), ids, mask)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_from_a_checkpoint_where_that_one_ended(workspace, first, shapes, method):
    second = models.new_run(workspace, "first@1", shapes, name="second", method=method)
    list(worker.work(second, workspace))
    assert second.config.base == "first@1"
    assert captions.read(second.caption_file(0)) == captions.read(first.caption_file(1))
    ended, began = (
        next(row["validation_loss"] for row in run.log() if row["kind"] == "epoch" and row["epoch"] == number)
        for run, number in ((first, 1), (second, 0))
    )
    assert began == pytest.approx(ended, rel=1e-3)


def test_a_third_run_from_the_second_outlives_both_and_is_what_they_were_together(workspace, first, shapes):
    second = models.new_run(workspace, "first@2", shapes, name="second", method="lora")
    list(worker.work(second, workspace))
    third = models.new_run(workspace, "second@1", shapes, name="third", method="lora")
    shelf = columns.Shelf(workspace)
    expected = logits(shelf.captioner(second, 1), second)
    for run in (first, second):
        shutil.rmtree(run.folder)
    list(worker.work(third, workspace))
    assert third.status().state == "finished"
    assert torch.allclose(logits(load(third.base(workspace)), third), expected, atol=1e-4)
    shelf = columns.Shelf(workspace)
    own = captions.read(third.caption_file(1))
    for example in third.examples("validation"):
        ((_, said),) = columns.caption_picture(shelf, [(third, 1)], open_image(Path(example["path"])), third.config.decoding)
        assert said.text == own[example["image_id"]].text


def test_what_a_run_began_from_takes_no_room_of_its_own(workspace, first, shapes):
    second = models.new_run(workspace, "first@1", shapes, name="second")
    name = "adapter_model.safetensors"
    assert (second.folder / "start" / "1" / name).samefile(first.checkpoint(1).folder / name)


def test_a_whole_model_hides_what_it_was_made_from(workspace, first, shapes):
    second = models.new_run(workspace, "first@1", shapes, name="second", method="full")
    list(worker.work(second, workspace))
    third = models.new_run(workspace, "second@1", shapes, name="third")
    assert [part.name for part in (third.folder / "start").iterdir()] == ["1"]
    weights = dict(load(str(second.checkpoint(1).folder)).model.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in load(third.base(workspace)).model.named_parameters())


@pytest.mark.parametrize("base", ["first@7", "nobody@1"])
def test_a_checkpoint_that_is_not_there_is_named_and_leaves_no_folder(workspace, first, shapes, base):
    with pytest.raises(UserError, match=f"{base!r} cannot be opened: the run '.*' has no checkpoint of epoch"):
        models.new_run(workspace, base, shapes, name="second")
    assert not (workspace.root / "second").exists() and not list(workspace.root.glob(".second*"))
