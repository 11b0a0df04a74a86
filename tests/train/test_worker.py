"""The live run as a real process: started, stopped, killed, resumed; never said to run when it does not.

python -m pytest tests/test_worker.py
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import models
import psutil
import pytest

from explorer.errors import UserError
from explorer.model import captions as kept
from explorer.model.captioner import load
from explorer.train import worker
from explorer.train.run import change_config

PATIENCE = 300
"""Seconds until a test gives up on a child."""


def wait_for(what, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def wait_for_end(run) -> None:
    wait_for(lambda: run.status().state != "running")


def steps_done(run) -> int:
    return run.status().step


def outcome(run) -> tuple:
    captions = {epoch: kept.read(run.caption_file(epoch)) for epoch in range(run.config.epochs + 1)}
    weights = {c.epoch: [f.read_bytes() for f in sorted(c.folder.glob("*.safetensors"))] for c in run.checkpoints()}
    return models.losses(run), captions, weights


def test_killed_and_resumed_it_ends_like_an_uninterrupted_run(workspace, tmp_path, blip, shapes):
    calm = type(workspace)(tmp_path / "calm", shipped=tmp_path)
    values = dict(method="lora-vision", epochs=4, augment=True, batch_size=2)
    expected = models.new_run(calm, blip, shapes, **values)
    list(worker.work(expected, calm))

    run, draw = models.new_run(workspace, blip, shapes, **values), random.Random()
    pid = worker.start(run, workspace)
    assert run.status().state == "running"
    wait_for(run.checkpoints)
    time.sleep(draw.uniform(0, 0.25))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_working(pid))
    status = run.status()
    assert status.state == "died" and status.text.startswith(f"died at step {status.step}")
    for checkpoint in run.checkpoints():  # whole, or not there at all
        load(blip).use(checkpoint.folder)
    worker.start(run, workspace)
    wait_for_end(run)
    assert run.status().state == "finished", (run.folder / "output.txt").read_text()
    assert outcome(run) == outcome(expected)
    assert not list(run.folder.glob(".epoch-*"))


def is_working(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stop_ends_within_one_step_and_a_second_start_is_refused_meanwhile(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=500, batch_size=4)
    with ThreadPoolExecutor(2) as pool:  # two starts in one moment: one of them wins
        told = [future.exception() for future in [pool.submit(worker.start, run, workspace) for _ in range(2)]]
    assert [type(error) for error in told].count(UserError) == 1
    assert [run.name for run in worker.running(workspace)] == ["run"]
    wait_for(lambda: steps_done(run) >= 3)
    with pytest.raises(UserError, match="running already"):
        worker.start(run, workspace)
    with pytest.raises(UserError, match="being trained by another process"):
        list(worker.work(run, workspace))
    before = steps_done(run)
    run.request_stop()
    wait_for_end(run)
    status = run.status()
    assert status.state == "stopped" and status.text.startswith(f"stopped at step {status.step} of")
    # Steps done between reading the status and asking are no fault of the stop; they take milliseconds.
    assert status.step - before <= 3
    assert len(models.losses(run)) == status.step
    assert worker.running(workspace) == [] and not (run.folder / "stop").exists()


def test_a_base_that_is_gone_fails_with_a_sentence_in_the_status(workspace, tmp_path, blip, shapes):
    run = models.new_run(workspace, str(tmp_path / "gone"), shapes)
    with pytest.raises(UserError, match="no such folder"):
        list(worker.work(run, workspace))
    status = run.status()
    assert status.state == "failed" and "no such folder" in status.text and "Traceback" not in status.text


def test_a_run_left_by_its_reader_is_not_said_to_run(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    for progress in worker.work(run, workspace):
        if progress.kind == "step":
            break
    assert run.status().state == "stopped"


def test_status_says_steps_and_time_left(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=2)
    assert run.status().state == "waiting"
    left = []
    for progress in worker.work(run, workspace):
        if progress.kind == "step":
            left.append(run.status().seconds_left)
            assert (run.status().state, run.status().step, run.status().steps) == ("running", progress.step, 6)
    assert left[:2] == [None, None] and all(seconds >= 0 for seconds in left[2:])
    assert left[-1] == 0


def test_a_run_in_a_process_of_its_own_leaves_the_page_quick(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=500)
    child = psutil.Process(worker.start(run, workspace))
    try:
        assert child.nice() >= 5
        assert child.environ()["GOMP_SPINCOUNT"] == os.environ.get("GOMP_SPINCOUNT", "1000")
    finally:
        child.kill()
        wait_for(lambda: not is_working(child.pid))


def test_time_left_is_told_without_reading_the_log_again(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=2)
    for progress in worker.work(run, workspace):
        if progress.kind == "step":
            (run.folder / "log.jsonl").unlink()
    assert run.status().seconds_left == 0


def test_epochs_added_in_a_process_of_its_own(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    list(worker.work(run, workspace))
    run = change_config(run, epochs=2)
    worker.start(run, workspace)
    wait_for_end(run)
    assert run.status().state == "finished"
    assert [checkpoint.epoch for checkpoint in run.checkpoints()] == [1, 2]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("The thing is so."), "The thing is so."),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (MemoryError(), "smaller base"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "smaller base"),
        (ZeroDivisionError("one\ntwo"), "ZeroDivisionError: one."),
        (ValueError(), "ValueError: no message."),
    ],
)
def test_every_error_is_a_sentence_of_one_line(error, said):
    assert said in worker.sentence(error) and "\n" not in worker.sentence(error)
