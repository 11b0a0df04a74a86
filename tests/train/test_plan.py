"""From choices to a run: the same config from page and command line, a price, and data found or named.

python -m pytest tests/test_plan.py
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import models
import pytest

from explorer import __main__ as main
from explorer.errors import UserError
from explorer.model.captioner import load
from explorer.model.captions import Decoding
from explorer.train import methods, plan, worker
from explorer.train.run import METHODS, RunConfig

CONFIGS = [
    {},
    dict(epochs=7, batch_size=3, accumulate=4, learning_rate=1.25e-5, method="full", seed=12, images=20),
    dict(validation=0.35, validation_images=9, augment=False, references="sample", label_smoothing=0.0),
    dict(weight_decay=0.0, warmup=0.0, lora_rank=3, probes=0, method="lora-vision"),
    dict(decoding=Decoding(beams=4, max_tokens=12, prompt="- a photo of 'one' $HOME")),
]


@pytest.mark.parametrize("values", CONFIGS)
def test_the_command_line_of_a_config_gives_that_config_back(workspace, blip, shapes, values):
    config = RunConfig("my-run", blip, str(shapes), **values)
    words = shlex.split(plan.command_line(config))
    assert words[:4] == ["python", "-m", "explorer", "finetune"]
    options = main.parser().parse_args(words[3:])
    assert main.chosen_config(options, workspace) == config


def test_without_choices_the_advised_values_are_taken(workspace, blip, shapes):
    options = main.parser().parse_args(["finetune", "--base", blip, "--data", str(shapes)])
    config, advice = main.chosen_config(options, workspace), plan.advise(workspace, blip)
    assert (config.method, config.batch_size, config.learning_rate) == (advice.method, advice.batch_size, advice.learning_rate)
    assert config.name == "blip-shapes"


def test_a_method_of_one_s_own_gets_its_own_learning_rate(workspace, blip, shapes):
    options = main.parser().parse_args(["finetune", "--base", blip, "--data", str(shapes), "--method", "full"])
    assert main.chosen_config(options, workspace).learning_rate == methods.SMALL_RATES["full"]


# --- the price --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", models.MAKERS)
def test_every_method_has_a_price(workspace, bases, shapes, family, method):
    config = RunConfig("n", bases[family], str(shapes), method=method)
    found = plan.estimate(workspace, config, train=24, validation=12, references=1.5)
    assert found.seconds > 0 and found.memory > 0 and found.disk > 0 and not found.measured
    more = plan.estimate(workspace, replace(config, epochs=6), train=24, validation=12, references=1.5)
    assert more.seconds > found.seconds and more.disk > found.disk


@pytest.mark.parametrize("family", models.MAKERS)
def test_facts_read_off_the_config_are_those_of_the_loaded_model(bases, family):
    facts, captioner = plan.base_facts(bases[family], 4), load(bases[family])
    assert facts.size == sum(weight.numel() for weight in captioner.model.parameters())
    features = captioner.encode_pixels(captioner.pixels([models.Image.new("RGB", (40, 40))]))
    assert (facts.patches, facts.width) == features.shape[1:]
    for method in METHODS:
        learner = load(bases[family])
        learn = methods.prepare(learner, method, 4, "base")
        assert facts.trained[method] == sum(weight.numel() for weight in learn.values())


def test_a_finished_run_makes_the_next_price_a_measured_one(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    list(worker.work(run, workspace))
    found = plan.estimate(workspace, run.config, train=24, validation=12, references=1)
    assert found.measured and 0 < found.seconds < 60
    assert not plan.estimate(workspace, replace(run.config, method="lora"), 24, 12, 1).measured


# --- the data ---------------------------------------------------------------------------------------------


def test_data_is_found_as_folder_zip_and_name(workspace, shapes, tmp_path):
    assert plan.find_dataset(str(shapes), workspace) == shapes.resolve()
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", shapes)
    unpacked = plan.find_dataset(archive, workspace)
    assert unpacked.parent == workspace.datasets
    assert plan.find_dataset(unpacked.name, workspace) == unpacked


@pytest.mark.parametrize("data", ["nowhere", "/no/such/folder", "missing.zip", "../outside"])
def test_data_that_is_not_there_is_named_with_what_would_do(workspace, data):
    with pytest.raises(UserError, match="was not found: name an image folder, a zip, or a Hub dataset") as raised:
        plan.find_dataset(data, workspace)
    assert repr(data) in str(raised.value)


def test_a_hub_dataset_that_cannot_be_reached_is_named(workspace):
    with pytest.raises(UserError, match="someone/some-photos could not be loaded"):
        plan.find_dataset("someone/some-photos", workspace)


def test_a_zip_that_is_none_is_named(workspace, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="broken.zip is not a readable zip"):
        plan.find_dataset(str(tmp_path / "broken.zip"), workspace)


# --- the run ----------------------------------------------------------------------------------------------


def test_a_run_s_folder_holds_config_and_examples(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, images=12, validation_images=2)
    assert len(run.examples("train")) == 8 and len(run.examples("validation")) == 2
    assert RunConfig.from_dict(json.loads((run.folder / "run.json").read_text())["config"]) == run.config
    assert not set(e["image_id"] for e in run.examples("train")) & set(e["image_id"] for e in run.examples("validation"))


def test_a_taken_name_is_told_and_the_next_one_is_free(workspace, blip, shapes):
    models.new_run(workspace, blip, shapes, name="blip-shapes")
    with pytest.raises(UserError, match="'blip-shapes' already: choose another name"):
        models.new_run(workspace, blip, shapes, name="blip-shapes")
    assert plan.next_name(workspace, blip, str(shapes)) == "blip-shapes-2"


@pytest.mark.parametrize(
    "values",
    [
        dict(epochs=0),
        dict(batch_size=0),
        dict(learning_rate=0.0),
        dict(learning_rate=float("nan")),
        dict(validation=1.0),
        dict(images=1),
        dict(method="magic"),
        dict(references="some"),
        dict(seed=-1),
        dict(probes=51),
        dict(validation_images=0),
        dict(warmup=1.5),
        dict(label_smoothing=-0.1),
        dict(weight_decay=-0.5),
        dict(name="../up"),
        dict(name="cache"),
        dict(name=""),
    ],
)
def test_a_value_that_makes_no_sense_is_named_and_leaves_no_folder(workspace, blip, shapes, values):
    ((name, value),) = values.items()
    with pytest.raises(UserError) as raised:
        models.new_run(workspace, blip, shapes, **values)
    assert repr(value) in str(raised.value)
    assert not list(workspace.root.glob("*"))


@pytest.mark.parametrize(
    ("decoding", "said"),
    [
        (Decoding(beams=0), "beams is 0: take a whole number from 1 to 10"),
        (Decoding(beams=11), "beams is 11: take"),
        (Decoding(max_tokens=0), "max tokens is 0: take a whole number from 1 to 200"),
        (Decoding(max_tokens=201), "max tokens is 201: take"),
    ],
)
def test_a_decoding_that_makes_no_sense_is_named_with_what_would_do(decoding, said):
    with pytest.raises(UserError, match=said):
        RunConfig("n", "b", "d", decoding=decoding).check()


def test_captions_longer_than_the_base_takes_are_told_by_file(workspace, blip, tmp_path):
    from pictures_helper import add_row, folder_of, picture

    from explorer.data.dataset import read

    root = folder_of(tmp_path / "photos", 2)
    picture(9).save(root / "long.png")
    add_row(root, {"file_name": "long.png", "text": "a red square " * 100})
    assert [problem.file for problem in plan.long_captions(workspace, blip, read(root))] == ["long.png"]


def test_scenes_that_are_being_drawn_ahead_are_waited_for_not_drawn_twice(workspace):
    folder = workspace.datasets / "scenes"
    few = [sys.executable, "-m", "explorer.scenes", str(folder), "--train", "3", "--validation", "2"]
    plan._ahead[folder] = subprocess.Popen(few, cwd=plan.PROJECT)
    assert plan.scenes_folder(workspace) == folder
    assert len(list(folder.rglob("*.png"))) == 5
    plan.draw_ahead(workspace)
    assert folder not in plan._ahead  # they are there
