"""A run as the page shows it: how it ended, its best epoch, what is kept.

python -m pytest tests/ui/test_run_view.py
"""

from __future__ import annotations

import os
import shutil

import pytest
from helpers_runs import epoch, example, make_images, make_run

from explorer import files
from explorer.settings import Settings
from explorer.train import worker
from explorer.train.run import Run, change_config
from explorer.ui import finetune_form, run_view
from explorer.ui.context import Context
from explorer.ui.plot import loss_plot
from explorer.workspace import Workspace


@pytest.fixture
def run(tmp_path) -> Run:
    shown = [example(path, ["a dog"]) for path in make_images(tmp_path / "photos", 2)]
    log = [epoch(0, 3.0), epoch(1, 2.0, 2.4), epoch(2, 2.5, 1.8)]
    return make_run(tmp_path / "home", shown, [["a", "b"]] * 3, log=log)


def status(run: Run, state: str, **values) -> str:
    worker.write_status(run, state, os.getpid(), **values)
    return run_view.status_html(run)


def test_the_best_epoch_is_marked_and_one_whose_weights_are_gone_says_so(run):
    shutil.rmtree(run.folder / "epoch-2")
    shown = run_view.scores_html(run)
    assert "epoch 1 <em>best</em></th>" in shown and shown.count("<em>best</em>") == 1
    assert 'epoch 2 <span class="x-small">captions only</span>' in shown
    assert "that of the lowest validation loss." in shown
    assert run_view.best_checkpoint(run).epoch == 1
    assert "that of the highest ROUGE-L" in run_view.scores_html(change_config(run, best_by="ROUGE-L"))


def test_a_base_that_no_epoch_reached_is_named(run):
    files.write_jsonl(run.folder / "log.jsonl", [epoch(0, 1.0), epoch(1, 2.0)])
    assert "lowest validation loss; the base was better still." in run_view.scores_html(run)


def test_a_run_without_its_process_died_at_a_step_and_tells_the_way_on(run):
    status(run, "running", step=12, steps=40)
    row = files.read_json(run.folder / "status.json")
    files.write_json(run.folder / "status.json", {**row, "born": "another"})
    shown = run_view.status_html(run)
    assert "Died at step 12: its process is gone; resume goes on from the last save" in shown and 'role="alert"' in shown


def test_an_early_end_says_why_and_where_the_best_model_is(run):
    shown = status(run, "finished", text="finished early, after 2 of 9 epochs: the loss; epoch 1 is the best")
    assert "Finished early, after 2 of 9 epochs: the loss; epoch 1 is the best." in shown
    assert "epoch-1." in shown and "epoch-2" not in shown


def test_the_best_epoch_is_ringed_in_the_drawing_and_only_when_there_is_one(run):
    epochs = [row for row in run.log() if row["kind"] == "epoch"]
    assert loss_plot([], epochs, 8, best=4).count('class="ring"') == 1
    assert "ring" not in loss_plot([], epochs, 8)


CHOICE = dict(
    dataset="", base="", method="lora", epochs=2, batch_size=4, rate=1e-3, images=0, share=0.2, seed=1, references="all", augment=True
)


def test_the_form_makes_the_config_it_shows(tmp_path, shapes):
    context = Context(Settings(home=tmp_path), Workspace(tmp_path))
    choice = {**CHOICE, "dataset": str(shapes), "base": "pets@2", "best_by": "BLEU-4", "keep": "best", "patience": 3, "name": "n"}
    assert set(choice) == set(finetune_form.FORM)
    config = finetune_form.make_config(context, choice)
    assert (config.base, config.best_by, config.keep, config.patience, config.images) == ("pets@2", "BLEU-4", "best", 3, None)


def test_checkpoints_of_runs_are_offered_as_bases(run, tmp_path):
    context = Context(Settings(home=tmp_path / "home"), Workspace(tmp_path / "home", shipped=tmp_path / "none"))
    assert finetune_form.base_choices(context)[-2:] == ["pets@2", "pets@1"]
    assert 'data-base="pets@1"' in run_view.past_html(context)
