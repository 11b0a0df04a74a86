"""A run in parts: whatever the lender does, what comes of it is what an uninterrupted run would be.

The parts run in forked processes whose arguments and results are pickled, as on ZeroGPU.

python -m pytest tests/train/test_chunks.py
"""

from __future__ import annotations

import contextvars
import multiprocessing
import os
import pickle
import threading
import time

import models
import numpy as np
import pytest

from explorer import machine
from explorer.compare import columns, heatmaps
from explorer.compare.columns import Shelf
from explorer.model import captions as kept
from explorer.model.captions import Decoding
from explorer.train import chunks, worker

FORK = multiprocessing.get_context("fork")


class Refusal(Exception):
    """As gradio's Error: what it says is its message."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


def lent(work):
    """``work`` as a lent GPU would run it: pickled to a forked process, and what it gives pickled back."""

    def call(*arguments):
        sent, (reading, writing) = pickle.dumps(arguments), FORK.Pipe(duplex=False)
        process = FORK.Process(target=lambda: writing.send(work(*pickle.loads(sent))), daemon=True)
        process.start()
        writing.close()
        try:
            assert reading.poll(120), "nothing came back"
            return reading.recv()
        except EOFError:
            raise Refusal("GPU task aborted") from None
        finally:
            process.join(60)

    return call


@pytest.fixture
def parts(monkeypatch) -> list[str]:
    """Parts run in forks; the list tells how each ended."""
    told, real = [], lent(chunks.part)

    def counted(*arguments):
        told.append(real(*arguments))
        return told[-1]

    monkeypatch.setattr(chunks, "part", counted)
    return told


def outcome(run) -> tuple:
    said = {epoch: kept.read(run.caption_file(epoch)) for epoch in range(run.config.epochs + 1)}
    weights = {c.epoch: [f.read_bytes() for f in sorted(c.folder.glob("*.safetensors"))] for c in run.checkpoints()}
    return models.losses(run), said, weights


@pytest.fixture
def expected(tmp_path, workspace, blip, shapes):
    """A function that gives what an uninterrupted run of the same values comes to."""

    def train(**values):
        calm = type(workspace)(tmp_path / "calm", shipped=tmp_path)
        run = models.new_run(calm, blip, shapes, **values)
        list(worker.work(run, calm))
        return outcome(run)

    return train


@pytest.mark.parametrize("method", ["lora-vision", "decoder"])
def test_in_parts_of_one_step_each_it_ends_like_an_uninterrupted_run(workspace, blip, shapes, expected, parts, method):
    values = dict(method=method, epochs=2, augment=True, batch_size=8)
    run = models.new_run(workspace, blip, shapes, **values)
    chunks.drive(run, workspace, seconds=0)
    assert run.status().state == "finished", run.status()
    assert parts.count("paused") >= 6 and parts[-1] == "finished"
    assert outcome(run) == expected(**values)
    assert [row["state"] for row in run.log() if row["kind"] == "end"] == ["finished"]
    assert len([row for row in run.log() if row["kind"] == "epoch"]) == 3


def test_between_parts_the_run_is_running_in_the_name_of_the_page(workspace, blip, shapes, monkeypatch):
    run, seen = models.new_run(workspace, blip, shapes), []
    real = lent(chunks.part)

    def watched(*arguments):
        state = real(*arguments)
        seen.append((run.status().state, run.status().step, worker.running(workspace) != []))
        return state

    monkeypatch.setattr(chunks, "part", watched)
    chunks.drive(run, workspace, seconds=0)
    assert seen[0] == ("running", 1, True) and seen[-1] == ("finished", 3, False)


def test_a_stop_asked_for_between_two_parts_is_heeded_and_resume_goes_on(workspace, blip, shapes, expected, parts, monkeypatch):
    values = dict(method="lora", epochs=2)
    run, counted = models.new_run(workspace, blip, shapes, **values), chunks.part

    def stopping(*arguments):
        state = counted(*arguments)
        if len(parts) == 3:
            run.request_stop()
        return state

    monkeypatch.setattr(chunks, "part", stopping)
    chunks.drive(run, workspace, seconds=0)
    assert (run.status().state, len(parts)) == ("stopped", 3) and not (run.folder / "stop").exists()
    chunks.drive(run, workspace, seconds=60)
    assert outcome(run) == expected(**values)


def test_when_no_more_is_lent_the_reason_is_told_and_resume_goes_on(workspace, blip, shapes, expected, parts, monkeypatch):
    run, counted = models.new_run(workspace, blip, shapes, epochs=2), chunks.part

    def refusing(*arguments):
        if len(parts) == 2:
            raise Refusal("You have exceeded your free ZeroGPU quota (60s requested vs. 12s left). Try again in 3:12:00. ")
        return counted(*arguments)

    monkeypatch.setattr(chunks, "part", refusing)
    chunks.drive(run, workspace, seconds=0)
    status = run.status()
    assert status.state == "stopped" and "Try again in 3:12:00; resume goes on" in status.text and status.step > 0
    monkeypatch.setattr(chunks, "part", counted)
    chunks.drive(run, workspace, seconds=60)
    assert outcome(run) == expected(epochs=2)


def test_a_busy_lender_is_asked_again(workspace, blip, shapes, parts, monkeypatch):
    run, counted, waited = models.new_run(workspace, blip, shapes), chunks.part, []

    def busy(*arguments):
        if len(waited) < 2:
            raise Refusal("No GPU was available after 60s. Retry later")
        return counted(*arguments)

    monkeypatch.setattr(chunks, "part", busy)
    monkeypatch.setattr(chunks.time, "sleep", waited.append)
    chunks.drive(run, workspace, seconds=60)
    assert run.status().state == "finished" and waited == [5, 10]


def test_a_part_that_is_killed_loses_no_more_than_itself(workspace, blip, shapes, expected, parts, monkeypatch):
    run, counted = models.new_run(workspace, blip, shapes, epochs=2), chunks.part

    def dies(run, workspace, owner, seconds):
        for progress in worker.work(run, workspace, enough=lambda: False, owner=owner):
            if progress.kind == "step" and progress.step == 4:
                os._exit(9)

    def killed_once(*arguments):
        return lent(dies)(*arguments) if len(parts) == 2 else counted(*arguments)

    monkeypatch.setattr(chunks, "part", killed_once)
    chunks.drive(run, workspace, seconds=0)
    assert run.status().state == "stopped" and "GPU task aborted" in run.status().text
    monkeypatch.setattr(chunks, "part", counted)
    chunks.drive(run, workspace, seconds=60)
    assert outcome(run) == expected(epochs=2)


def test_what_cannot_be_trained_fails_with_its_reason(workspace, tmp_path, blip, shapes, parts):
    run = models.new_run(workspace, str(tmp_path / "gone"), shapes)
    chunks.drive(run, workspace, seconds=0)
    assert parts == ["failed"] and run.status().state == "failed" and "no such folder" in run.status().text


def test_on_zerogpu_a_run_is_started_in_parts_that_are_asked_for_in_the_name_of_who_started_it(workspace, blip, shapes, monkeypatch):
    run, asked, names = models.new_run(workspace, blip, shapes), contextvars.ContextVar("asked", default="nobody"), []
    real, go_on = lent(chunks.part), threading.Event()

    def noted(run, workspace, owner, seconds):
        names.append(asked.get())
        if len(names) == 2:
            go_on.wait(60)
        return real(run, workspace, owner, 0)

    monkeypatch.setattr(chunks, "part", noted)
    monkeypatch.setattr(machine, "here", lambda: machine.ZEROGPU)
    asked.set("ada")
    assert worker.start(run, workspace) == os.getpid()
    with pytest.raises(Exception, match="running already"):
        worker.start(run, workspace)
    asked.set("ada, a minute later")
    chunks.renew(run)
    go_on.set()
    end = time.monotonic() + 120
    while str(run.folder) in chunks._asked_by and time.monotonic() < end:
        time.sleep(0.02)
    assert run.status().state == "finished"
    assert names[0] == "ada" and names[-1] == "ada, a minute later"


def test_captions_and_heat_maps_from_a_lent_gpu_are_those_of_this_process(workspace, blip, shapes, monkeypatch):
    run = models.new_run(workspace, blip, shapes, method="lora")
    list(worker.work(run, workspace))
    images = [{**row, "path": str(run.folder / row["path"])} for row in run.examples("train")][:5]
    here, how = Shelf(workspace), Decoding(max_tokens=6)
    expected = here.captions([(run, 0), (run, 1)], images, how)
    caption = expected[1][0]
    maps = [m.grid for m in heatmaps.of_caption(here, run, 1, "here", images[0]["path"], caption)] if caption.words else []
    monkeypatch.setattr(Shelf, "captions", lent(Shelf.captions))
    monkeypatch.setattr(heatmaps, "_made", lent(heatmaps._made))
    away = Shelf(workspace)
    list(columns.fill(away, [(run, 0), (run, 1)], how, images))
    assert not away.models  # the models are in the other process
    for epoch in (0, 1):
        known = columns.known(workspace, run, epoch, how)
        assert [known[image["image_id"]] for image in images] == expected[epoch]
    if maps:
        found = heatmaps.of_caption(away, run, 1, "away", images[0]["path"], caption)
        assert all(np.array_equal(a, b.grid) for a, b in zip(maps, found, strict=True))
