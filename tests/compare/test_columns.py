"""Captions of any column: read where they are kept, generated once where they are not.

python -m pytest tests/test_columns.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import models
import pytest

from explorer.compare import columns
from explorer.compare.columns import Shelf
from explorer.data.images import open_image
from explorer.errors import UserError
from explorer.model import captions as kept
from explorer.model.captioner import ModelError
from explorer.model.captions import Decoding
from explorer.train import worker
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


def alike(found, expected) -> None:
    """The same captions; their probabilities may differ in the last digits, as sums in batches of other sizes do."""
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.finished) == (other.text, other.finished)
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-3, abs=1e-4)


def of_picture(shelf, run, epochs, picture, decoding) -> list:
    found = dict(columns.caption_picture(shelf, [(run, epoch) for epoch in epochs], picture, decoding))
    return [found[run, epoch] for epoch in epochs]


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_what_the_run_kept_is_what_the_shelf_generates(home, run, epoch):
    shelf = Shelf(home)
    own = kept.read(run.caption_file(epoch))
    assert len(own) == 12
    for example in run.examples("validation"):
        again = of_picture(shelf, run, [epoch], open_image(Path(example["path"])), run.config.decoding)[0]
        assert own[example["image_id"]].text == again.text
        assert own[example["image_id"]].finished == again.finished
        assert own[example["image_id"]].probabilities == pytest.approx(again.probabilities, abs=0.02)


def test_captions_that_are_kept_need_no_model(home, run):
    shelf = Shelf(home)
    assert list(columns.fill(shelf, [(run, 2)], run.config.decoding, run.examples("validation"))) == []
    assert not shelf.models


def test_missing_captions_are_generated_once_and_kept(home, run, monkeypatch):
    shelf = Shelf(home)
    examples = run.examples("train")[:5]
    monkeypatch.setattr(columns, "TOGETHER", 2)
    assert list(columns.fill(shelf, [(run, 1)], OTHER, examples)) == [(2, 5), (4, 5), (5, 5)]
    found = columns.known(home, run, 1, OTHER)
    assert set(found) == {e["image_id"] for e in examples}
    assert all(caption.text.startswith("a") for caption in found.values())
    assert list(columns.fill(Shelf(home), [(run, 1)], OTHER, examples)) == []
    assert columns.known(home, run, 2, OTHER) == {}


def test_epochs_share_one_loaded_base_and_do_not_mix(home, run):
    shelf = Shelf(home)
    picture = open_image(Path(run.examples("validation")[0]["path"]))
    first = of_picture(shelf, run, (0, 1, 2), picture, run.config.decoding)
    again = [of_picture(shelf, run, [epoch], picture, run.config.decoding)[0] for epoch in (2, 0, 1)]
    alike(first, [again[1], again[2], again[0]])
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
        list(columns.fill(shelf, [(run, 1)], OTHER, run.examples("validation")[:1]))
        found += [caption.probabilities for caption in columns.known(home, run, 1, OTHER).values()]
        shutil.rmtree(run.folder)
    assert len(found) == 2 and found[0] != found[1]


def test_columns_filled_together_say_what_each_says_alone_and_a_column_is_not_filled_twice(home, run):
    examples, decoding = run.examples("train")[:6], Decoding(max_tokens=5)
    list(columns.fill(Shelf(home), [(run, 1)], decoding, examples[:2]))
    alone = columns.known(home, run, 1, decoding)
    seen = list(columns.fill(Shelf(home), [(run, 0), (run, 1), (run, 2)], decoding, examples))
    assert seen[-1] == (16, 16)
    assert {image: columns.known(home, run, 1, decoding)[image] for image in alone} == alone
    shelf = Shelf(home)
    for epoch in (0, 1, 2):
        found = columns.known(home, run, epoch, decoding)
        for example in examples:
            alike([found[example["image_id"]]], of_picture(shelf, run, [epoch], open_image(Path(example["path"])), decoding))
        rows = columns.cache_file(home, run, epoch, decoding).read_text("utf-8").splitlines()
        assert len(rows) == len(found)


@pytest.mark.parametrize("method", ["full", "decoder", "lora", "lora-vision"])
def test_every_method_s_epochs_can_be_filled_at_once(home, blip, shapes, method):
    run = models.new_run(home, blip, shapes, name=f"at-once-{method}", method=method, epochs=2, learning_rate=3e-2)
    list(worker.work(run, home))
    examples = run.examples("validation")[:3]
    list(columns.fill(Shelf(home), [(run, epoch) for epoch in (0, 1, 2)], OTHER, examples))
    for epoch in (0, 1, 2):
        found = columns.known(home, run, epoch, OTHER)
        for example in examples:
            alike([found[example["image_id"]]], of_picture(Shelf(home), run, [epoch], open_image(Path(example["path"])), OTHER))


def test_epochs_that_share_the_tower_look_at_an_image_once_for_good(home, blip, shapes, monkeypatch):
    from explorer.model.captioner import Captioner

    run = models.new_run(home, blip, shapes, name="once", method="lora", epochs=2)
    list(worker.work(run, home))
    looks, encode = [], Captioner.encode
    monkeypatch.setattr(Captioner, "encode", lambda self, images: looks.extend(images) or encode(self, images))
    list(columns.fill(Shelf(home), [(run, 0), (run, 1), (run, 2)], OTHER, run.examples("validation")))
    assert looks == []  # the run has kept the features of its own images
    picture = open_image(Path(run.examples("validation")[0]["path"]))
    assert len(of_picture(Shelf(home), run, (0, 1, 2), picture, OTHER)) == 3
    assert len(looks) == 1
