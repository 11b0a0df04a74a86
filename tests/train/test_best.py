"""The best epoch, ending early, and which checkpoints stay.

python -m pytest tests/test_best.py
"""

from __future__ import annotations

from dataclasses import replace

import models
import pytest
from helpers_runs import epoch

from explorer.compare import comparison
from explorer.errors import UserError
from explorer.model.captions import read
from explorer.train import best, worker
from explorer.train.run import RunConfig, add_epochs

CONFIG = RunConfig("n", "b", "d", epochs=9)


def scored(number: int, loss: float, **scores) -> dict:
    row = epoch(number, loss)
    return {**row, "scores": {**row["scores"], **{name.replace("_", "-"): value for name, value in scores.items()}}}


LOG = [
    scored(0, 1.0, CIDEr=0.9, BLEU_4=0.9, ROUGE_L=0.9),
    scored(1, 3.0, CIDEr=0.2, BLEU_4=0.1, ROUGE_L=0.5),
    scored(2, 2.0, CIDEr=0.3, BLEU_4=0.1, ROUGE_L=0.4),
    scored(3, 2.5, CIDEr=0.4, BLEU_4=0.1, ROUGE_L=0.4),
]


@pytest.mark.parametrize(("by", "number"), [("loss", 2), ("CIDEr", 3), ("BLEU-4", 1), ("ROUGE-L", 1)])
def test_the_best_epoch_is_that_of_the_chosen_score_the_earliest_of_equals_and_never_the_base(by, number):
    assert best.best(LOG, by)["epoch"] == number


def test_an_epoch_done_again_counts_with_its_later_row_and_no_number_is_never_best():
    assert best.best([*LOG, scored(2, 2.9)], "loss")["epoch"] == 3
    assert best.best([scored(1, float("nan")), scored(2, 3.0)], "loss")["epoch"] == 2
    assert best.best([scored(1, 3.0, CIDEr=None)], "CIDEr") is None and best.best([], "loss") is None


@pytest.mark.parametrize(("by", "patience", "ends"), [("loss", 0, False), ("loss", 1, True), ("loss", 2, False), ("CIDEr", 1, False)])
def test_a_run_ends_early_once_patience_is_over(by, patience, ends):
    reason = best.reason_to_end(LOG, replace(CONFIG, best_by=by, patience=patience))
    assert (reason is not None) is ends
    if ends:
        assert reason == "the validation loss has not improved for 1 epoch; epoch 2 is the best, and the base was better still"
        assert best.reason_to_end([scored(0, 9.0), *LOG[1:]], replace(CONFIG, patience=1)).endswith("epoch 2 is the best")


def test_a_run_that_stops_improving_ends_early_says_why_and_stays_ended_until_epochs_are_added(workspace, blip, shapes):
    # A rate far too high: after the first epochs nothing improves any more.
    run = models.new_run(workspace, blip, shapes, epochs=12, patience=2, learning_rate=0.3, probes=0)
    list(worker.work(run, workspace))
    log = run.log()
    done = max(run.epochs())
    top = best.best(log, "loss")["epoch"]
    assert done == top + 2 < 12
    assert run.status().state == "finished"
    assert run.status().text.startswith(
        f"finished early, after {done} of 12 epochs: the validation loss has not improved for 2 epochs; epoch {top} is the best"
    )
    list(worker.work(run, workspace))
    assert max(run.epochs()) == done and models.losses(run) == [(r["step"], r["loss"]) for r in log if r["kind"] == "step"]

    more = add_epochs(run, done + 1)
    assert more.config.patience == 0
    list(worker.work(more, workspace))
    assert max(run.epochs()) == done + 1


@pytest.mark.parametrize("keep", ["best", "last"])
def test_dropped_epochs_keep_their_captions_and_their_column(workspace, blip, shapes, keep):
    run = models.new_run(workspace, blip, shapes, epochs=3, keep=keep, learning_rate=0.3, method="lora")
    list(worker.work(run, workspace))
    kept = best.best(run.log(), "loss")["epoch"] if keep == "best" else 3
    assert [checkpoint.epoch for checkpoint in run.checkpoints()] == [kept]
    assert run.epochs() == [1, 2, 3]
    assert [column.epoch for column in comparison.build([run], workspace).columns] == [0, 1, 2, 3]
    gone = next(number for number in (1, 2, 3) if number != kept)
    assert len(read(run.caption_file(gone))) == 12
    with pytest.raises(UserError, match=f"no checkpoint of epoch {gone}; it has: {kept}. It keeps the {keep} only."):
        run.checkpoint(gone)
    assert not list(run.folder.glob(".epoch-*"))


def test_epochs_are_added_to_a_run_that_keeps_the_last(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=1, keep="last")
    list(worker.work(run, workspace))
    list(worker.work(add_epochs(run, 2), workspace))
    assert [checkpoint.epoch for checkpoint in run.checkpoints()] == [2] and run.epochs() == [1, 2]
    with pytest.raises(UserError, match="has 2 epochs already"):
        add_epochs(run, 1)


def test_cider_of_too_few_images_is_refused_before_the_start(workspace, blip, shapes):
    with pytest.raises(UserError, match="CIDEr needs 10 validation images and there are 4"):
        models.new_run(workspace, blip, shapes, best_by="CIDEr", validation_images=4)
    assert not list(workspace.root.glob("*"))


@pytest.mark.parametrize("values", [dict(best_by="METEOR"), dict(keep="none"), dict(patience=-1)])
def test_a_value_that_makes_no_sense_is_named(values):
    ((name, value),) = values.items()
    with pytest.raises(UserError, match=repr(value)):
        replace(CONFIG, **values).check()
