"""Memory that runs out costs time and not the run: the same step in smaller parts.

python -m pytest tests/test_memory.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import models
import pytest
import torch

from explorer.errors import UserError
from explorer.model import memory
from explorer.train.engine import Engine
from explorer.train.schedule import plan_epoch

PROJECT = Path(__file__).parents[2]


def short_of_memory(run, workspace, room: int) -> Engine:
    """An engine whose model holds no more than ``room`` pictures at a time: more raise what a GPU raises."""
    engine = Engine(run, workspace, stop=lambda: False)
    engine.load()
    engine.captioner.dtype = None
    for module in engine.captioner.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tower = engine.captioner.family.vision(engine.captioner.model)

    def weigh(module, given, kwargs):
        if len(given[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    tower.register_forward_pre_hook(weigh, with_kwargs=True)
    engine.optimizer = torch.optim.SGD(engine.weights.values(), lr=1.0)  # the weights then show the gradient itself
    return engine


@pytest.mark.parametrize("room", [4, 3, 1])
def test_a_step_in_parts_is_the_step_it_would_have_been(workspace, blip, shapes, room):
    run = models.new_run(workspace, blip, shapes, batch_size=8, accumulate=2)
    whole, parts = short_of_memory(run, workspace, 99), short_of_memory(run, workspace, room)
    step = plan_epoch(whole.train_examples, run.config, 1)[0]
    expected, found = (engine.learn(engine.prepare(step, 0)) for engine in (whole, parts))
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5) and found["images"] == expected["images"] == 16
    assert all(torch.allclose(whole.weights[name], parts.weights[name], atol=2e-6) for name in whole.weights)
    assert parts.pieces == {4: 2, 3: 4, 1: 8}[room] and whole.notes == {}
    told = list(parts.notes.values())[-1]
    assert told.startswith("The memory ran out at step 1: from here each batch is learned ") and "still counts 16 images" in told


def test_one_image_that_does_not_fit_ends_the_run_with_the_remedy(workspace, blip, shapes):
    engine = short_of_memory(models.new_run(workspace, blip, shapes), workspace, room=0)
    step = plan_epoch(engine.train_examples, engine.config, 1)[0]
    with pytest.raises(UserError, match="ran out even with one image at a time. Take the method lora"):
        engine.learn(engine.prepare(step, 0))


def test_halving_keeps_the_order_and_asks_for_no_more_than_fits():
    asked = []

    def work(items):
        asked.append(len(items))
        if len(items) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return list(items)

    assert [item for part in memory.halving(range(10), work) for item in part] == list(range(10))
    assert asked == [10, 5, 2, 3, 5, 2, 3]


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape mismatch")])
def test_other_errors_are_not_taken_for_want_of_memory(error):
    with pytest.raises(type(error)):
        memory.halving([1, 2], lambda items: (_ for _ in ()).throw(error))


LIMITED = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from explorer.train import worker
from explorer.train.engine import Engine
from explorer.train.run import Run
from explorer.workspace import Workspace

run, workspace, room = Run(Path(sys.argv[1])), Workspace(Path(sys.argv[2]), Path(sys.argv[2])), int(sys.argv[3])
engine = Engine(run, workspace, stop=lambda: False)
engine.load()
batch = engine.train_examples[:2]  # what is needed once, whatever the batch
kept, seen = engine.eyes.input(batch)
engine.captioner.encode_pixels(seen).sum().backward()
del engine, kept, seen
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + room, size + room))
for progress in worker.work(run, workspace):
    print(progress.kind, progress.step, progress.values.get("text", ""), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux limits a process's memory this way")
def test_a_process_that_is_given_too_little_memory_halves_its_batches_and_finishes(workspace, tmp_path, shapes):
    base = models.make_blip(tmp_path / "large", side=256)
    for room in (100, 120, 140, 80):  # MB; what a batch of 24 takes differs from one build of torch to another
        run = models.new_run(workspace, str(base), shapes, name=f"room-{room}", batch_size=24, probes=1, validation_images=2)
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(run.folder), str(workspace.root), str(room * 1024**2)],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        told = [row["text"] for row in run.log() if row["kind"] == "warning" and row["code"].startswith("memory:")]
        if told:
            break
    assert told and "The memory ran out at step 1" in told[0], done.stderr[-3000:]
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert run.status().state == "finished"
    assert [row["images"] for row in run.log() if row["kind"] == "step"] == [24]
