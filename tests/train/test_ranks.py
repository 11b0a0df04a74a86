"""Several processes train as one: the same loss curve, one writer, and one end for all.

python -m pytest tests/test_ranks.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import models
import psutil
import pytest
import torch

from explorer.model import captions as kept
from explorer.train import plan, worker
from explorer.train.ranks import Ranks, buckets
from explorer.train.run import Run
from explorer.workspace import Workspace

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> str:
    """A base that drops nothing out: what is dropped would be drawn by each process for its own share."""
    return str(models.make_blip(tmp_path_factory.mktemp("calm") / "blip", dropout=0.0))


def torchrun(workspace, *words: str) -> subprocess.Popen:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port), "-m", "explorer", *words],
        cwd=PROJECT,
        env={**os.environ, "EXPLORER_HOME": str(workspace.root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finetune_words(base, data, **more) -> list[str]:
    given = {"base": base, "data": str(data), "name": "run", "epochs": 2, "batch-size": 5, "accumulate": 2, "method": "lora-vision"}
    given |= {"learning-rate": 0.005, "lora-rank": 4, "max-tokens": 8, "probes": 2, **more}
    return ["finetune", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def scored(run: Run) -> list:
    return [(row["epoch"], row.get("loss", 0.0), row["validation_loss"]) for row in run.log() if row["kind"] == "epoch"]


def test_two_processes_learn_what_one_learns_and_only_one_writes(workspace, tmp_path, calm, shapes):
    both = torchrun(workspace, *finetune_words(calm, shapes))
    said, _ = both.communicate(timeout=240)
    assert both.returncode == 0, said[-3000:]
    run = Run(workspace.root / "run")
    elsewhere = Workspace(tmp_path / "alone", shipped=tmp_path)
    alone = plan.make_run(elsewhere, run.config)
    list(worker.work(alone, elsewhere))

    (steps, losses), (same_steps, expected) = (zip(*models.losses(each), strict=True) for each in (run, alone))
    assert steps == same_steps and len(steps) == 6
    assert losses == pytest.approx(expected, rel=1e-5)
    assert [row[0] for row in scored(run)] == [0, 1, 2]
    for mine, other in zip(scored(run), scored(alone), strict=True):
        assert mine[1:] == pytest.approx(other[1:], rel=1e-5)
    assert list(kept.read(run.caption_file(2))) == list(kept.read(alone.caption_file(2)))
    start = next(row for row in run.log() if row["kind"] == "start")
    assert start["processes"] == 2 and [row["kind"] for row in run.log()] == [row["kind"] for row in alone.log()]
    assert said.count("epoch 2 step 6 loss") == 1 and run.status().state == "finished"


def wait_for(what, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if "explorer" in " ".join(child.cmdline())]


def test_a_killed_one_takes_the_other_with_it_and_a_stop_ends_both(workspace, calm, shapes):
    run = Run(workspace.root / "run")
    long = torchrun(workspace, *finetune_words(calm, shapes, epochs=500))
    wait_for(lambda: run.status().step >= 2)
    found = workers_of(long)
    assert sorted(worker.environ()["RANK"] for worker in found) == ["0", "1"]
    next(worker for worker in found if worker.environ()["RANK"] == "1").kill()
    long.communicate(timeout=60)
    assert long.returncode != 0 and not [worker for worker in found if worker.is_running()]
    status = run.status()  # the first process tells, unless it is ended before it can
    assert status.state in ("failed", "died") and "resume goes on from the last save" in status.text

    again = torchrun(workspace, "finetune", "--resume", "run")
    wait_for(lambda: run.status().state == "running" and run.status().step >= 2)
    run.request_stop()
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0, said[-3000:]
    assert run.status().state == "stopped" and len(models.losses(run)) == run.status().step


def test_a_mistake_is_told_once_and_ends_both(workspace):
    both = torchrun(workspace, "finetune", "--resume", "nobody")
    said, _ = both.communicate(timeout=120)
    assert both.returncode != 0
    assert said.count("error: The run 'nobody' has no readable run.json") == 1


def test_alone_every_sum_is_what_was_given():
    ranks = Ranks()
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), 3.0)
    ranks.sum_gradients([weight])
    assert weight.grad.tolist() == [3.0, 3.0]
    assert ranks.sum(1.5, 2) == [1.5, 2] and ranks.any(True) and not ranks.any(False)
    assert ranks.gather("x") == ["x"] and ranks.share([1, 2, 3]) == [1, 2, 3] and ranks.agree(lambda: 7) == 7


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_shares_of_all_processes_are_everything_once(size, count):
    items = list(range(count))
    assert sorted(item for rank in range(size) for item in Ranks(rank, size).share(items)) == items


def test_buckets_hold_every_weight_once_in_order():
    weights = [torch.nn.Parameter(torch.zeros(count)) for count in (3, 1, 9, 2, 2)]
    found = list(buckets(weights, size=4))
    assert [weight.numel() for bucket in found for weight in bucket] == [3, 1, 9, 2, 2]
    assert [len(bucket) for bucket in found] == [2, 1, 2]
