"""Pictures that go bad while a run is under way: each is left out alone, and nothing else changes.

python -m pytest tests/test_eyes.py
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import models
import pytest
import torch

from explorer.data.images import image_id
from explorer.model.captioner import load
from explorer.model.features import FeatureStore
from explorer.train import worker
from explorer.train.eyes import Eyes
from explorer.workspace import Workspace


@pytest.fixture(scope="module")
def captioner(blip):
    return load(blip)


@pytest.fixture
def examples(tmp_path) -> list[dict]:
    draw, found = random.Random(5), []
    for number in range(20):
        path = tmp_path / f"{number}.png"
        models.draw_shape("red", "circle", draw).save(path)
        found.append({"image_id": image_id(path), "file": path.name, "path": str(path), "references": ["a red circle"]})
    return found


def eyes_of(captioner, tmp_path, frozen: bool) -> Eyes:
    return Eyes(captioner, FeatureStore(tmp_path / "cache", captioner) if frozen else None, augment=True)


def ids(examples) -> list[str]:
    return [example["image_id"] for example in examples]


def gone(example) -> str:
    Path(example["path"]).unlink()
    return example["image_id"]


@pytest.mark.parametrize("frozen", [True, False])
def test_only_the_bad_picture_is_left_out_and_its_reason_is_noted(captioner, examples, tmp_path, frozen):
    eyes, bad = eyes_of(captioner, tmp_path, frozen), gone(examples[2])
    kept, seen = eyes.input(examples[:6])
    assert ids(kept) == ids(examples[:2] + examples[3:6]) and len(seen) == 5
    assert eyes.left_out == {bad: "2.png was left out: 2.png cannot be read as a picture: there is no such file."}


def test_the_others_are_seen_as_if_the_bad_picture_had_never_been_there(captioner, examples, tmp_path):
    gone(examples[2])

    def draw(example):
        return torch.Generator().manual_seed(int(example["image_id"], 16) % 2**32)

    _, seen = eyes_of(captioner, tmp_path, frozen=False).input(examples[:6], draw)
    _, without = eyes_of(captioner, tmp_path, frozen=False).input(examples[:2] + examples[3:6], draw)
    assert torch.equal(seen, without)


def test_filling_leaves_out_the_bad_ones_and_keeps_all_others(captioner, examples, tmp_path):
    eyes, bad = eyes_of(captioner, tmp_path, frozen=True), [gone(examples[place]) for place in (0, 3, 18)]
    assert list(eyes.fill(examples)) == [(16, 20), (20, 20)]
    assert list(eyes.left_out) == bad
    assert ids(eyes.features.missing(examples)) == bad


def test_a_picture_whose_features_are_kept_is_not_missed(captioner, examples, tmp_path):
    list(eyes_of(captioner, tmp_path, frozen=True).fill(examples[:4]))
    gone(examples[0])
    bad = gone(examples[5])
    eyes = eyes_of(captioner, tmp_path, frozen=True)
    kept, seen = eyes.input(examples[:6])
    assert list(eyes.left_out) == [bad] and len(seen) == len(kept) == 5


def test_a_batch_of_bad_pictures_alone_shows_nothing(captioner, examples, tmp_path):
    eyes = eyes_of(captioner, tmp_path, frozen=False)
    for example in examples[:3]:
        gone(example)
    assert eyes.input(examples[:3]) == ([], None) == eyes.encoded(examples[:3])


def test_a_fault_that_passes_by_itself_costs_no_picture(captioner, examples, tmp_path):
    """The picture is away at the first look and back when its turn comes to be judged."""

    class Away(Eyes):
        def _leave_out_bad(self, kept):
            os.replace(f"{examples[1]['path']}.away", examples[1]["path"])
            super()._leave_out_bad(kept)

    os.replace(examples[1]["path"], f"{examples[1]['path']}.away")
    eyes = Away(captioner, None, augment=False)
    kept, _ = eyes.input(examples[:3])
    assert ids(kept) == ids(examples[:3]) and eyes.left_out == {}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_stopped_and_resumed_around_a_bad_picture_equals_uninterrupted_and_tells_it_once(tmp_path, blip, method):
    runs = []
    for name in ("whole", "stopped"):
        home = Workspace(tmp_path / name, shipped=tmp_path)
        data = models.draw_shapes(tmp_path / f"data-{name}", train=12, validation=4)
        run = models.new_run(home, blip, data, name="run", method=method, epochs=2, batch_size=4, augment=True)
        for example in (run.examples("train")[0], run.examples("validation")[1]):
            gone(example)
        for progress in worker.work(run, home):
            if (name, progress.kind, progress.step) == ("stopped", "step", 2):
                run.request_stop()
        runs.append((run, home))
    (whole, _), (stopped, home) = runs
    assert stopped.status().state == "stopped"
    list(worker.work(stopped, home))
    assert models.losses(stopped) == models.losses(whole)
    assert weights_of(stopped) == weights_of(whole)
    for run in (stopped, whole):
        codes = [row["code"] for row in run.log() if row["kind"] == "warning" and row["code"].startswith("image:")]
        assert sorted(codes) == sorted(f"image:{e['image_id']}" for e in (run.examples("train")[0], run.examples("validation")[1]))


def weights_of(run) -> list[bytes]:
    return [file.read_bytes() for file in sorted(run.checkpoint(2).folder.glob("*.safetensors"))]
