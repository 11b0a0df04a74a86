"""Captions of any column: read where they are kept, generated once where they are not.

python -m pytest tests/test_columns.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import models
import pytest

from explorer import captions as kept
from explorer import columns, worker
from explorer.captioner import ModelError
from explorer.captions import Decoding
from explorer.columns import Shelf
from explorer.errors import UserError
from explorer.images import open_image
from explorer.workspace import Workspace

OTHER = Decoding(beams=2, max_tokens=6, prompt="a")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("columns")
    return Workspace(root / "home", shipped=root / "shipped")


@pytest.fixture(scope="module")
def run(home, blip, shapes):
    run = models.new_run(home, blip, shapes, name="run-1.0", method="lora-vision", epochs=2, learning_rate=3e-2)
    list(worker.work(run, home))
    return run


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_what_the_run_kept_is_what_the_shelf_generates(home, run, epoch):
    shelf = Shelf(home)
    own = kept.read(run.caption_file(epoch))
    assert len(own) == 12
    for example in run.examples("validation"):
        again = columns.caption_picture(shelf, run, epoch, open_image(Path(example["path"])), run.config.decoding)
        assert own[example["image_id"]].text == again.text
        assert own[example["image_id"]].finished == again.finished
        assert own[example["image_id"]].probabilities == pytest.approx(again.probabilities, abs=0.02)


def test_captions_that_are_kept_need_no_model(home, run):
    shelf = Shelf(home)
    assert list(columns.fill(shelf, run, 2, run.config.decoding, run.examples("validation"))) == []
    assert not shelf.models


def test_missing_captions_are_generated_once_and_kept(home, run):
    shelf = Shelf(home)
    examples = run.examples("train")[:5]
    assert list(columns.fill(shelf, run, 1, OTHER, examples, batch_size=2)) == [(2, 5), (4, 5), (5, 5)]
    found = columns.known(home, run, 1, OTHER)
    assert set(found) == {e["image_id"] for e in examples}
    assert all(caption.text.startswith("a") for caption in found.values())
    assert list(columns.fill(Shelf(home), run, 1, OTHER, examples)) == []
    assert columns.known(home, run, 2, OTHER) == {}


def test_epochs_share_one_loaded_base_and_do_not_mix(home, run):
    shelf = Shelf(home)
    picture = open_image(Path(run.examples("validation")[0]["path"]))
    first = [columns.caption_picture(shelf, run, epoch, picture, run.config.decoding) for epoch in (0, 1, 2)]
    again = [columns.caption_picture(shelf, run, epoch, picture, run.config.decoding) for epoch in (2, 0, 1)]
    assert first == [again[1], again[2], again[0]]
    assert len(shelf.models) == 1
    assert len({caption.probabilities for caption in first}) == 3


def test_the_shelf_keeps_no_more_models_than_it_has_room_for(home, bases, shapes):
    shelf = Shelf(home, room=2)
    for number, base in enumerate(bases.values()):
        shelf.captioner(models.new_run(home, base, shapes, name=f"shelf-{number}"), 0)
    assert [name for name, _ in shelf.models] == list(bases.values())[1:]


def test_an_epoch_that_is_not_there_is_told(home, run):
    with pytest.raises(UserError, match="has no checkpoint of epoch 7; it has: 1, 2"):
        Shelf(home).captioner(run, 7)


def test_a_damaged_checkpoint_is_told(home, blip, shapes):
    run = models.new_run(home, blip, shapes, name="damaged", method="lora")
    list(worker.work(run, home))
    (run.checkpoint(1).folder / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="its adapter cannot be read"):
        Shelf(home).captioner(run, 1)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_new_run_under_an_old_name_gets_captions_of_its_own(home, blip, shapes, method):
    shelf, name, found = Shelf(home), f"again-{method}", []
    for seed in (1, 2):
        run = models.new_run(home, blip, shapes, name=name, method=method, seed=seed, learning_rate=3e-2)
        list(worker.work(run, home))
        list(columns.fill(shelf, run, 1, OTHER, run.examples("validation")[:1]))
        found += [caption.probabilities for caption in columns.known(home, run, 1, OTHER).values()]
        shutil.rmtree(run.folder)
    assert len(found) == 2 and found[0] != found[1]
