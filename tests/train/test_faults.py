"""Impossible to lose: runs that are killed, starved of disk, left by their page, or started twice at once.

python -m pytest tests/test_faults.py
EXPLORER_KILLS=50 python -m pytest tests/test_faults.py -k killed      # as many kills as the promise names
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import models
import pytest
import torch
from forks import Forks

from explorer import files
from explorer.errors import UserError
from explorer.model import captions as kept
from explorer.model.captioner import load
from explorer.train import plan, worker
from explorer.train.run import Run
from explorer.workspace import Workspace

PROJECT = Path(__file__).parents[2]
KILLS = int(os.environ.get("EXPLORER_KILLS", "10"))


def wait_for(what, seconds: float = 300) -> None:  # a run gives way to whatever else the machine does
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def outcome(run: Run) -> tuple:
    """All that an uninterrupted run leaves: losses, scores, captions, weights."""
    epochs = [(r["epoch"], r.get("loss"), r["validation_loss"], r["scores"]) for r in run.log() if r["kind"] == "epoch"]
    captions = {epoch: kept.read(run.caption_file(epoch)) for epoch in range(run.config.epochs + 1)}
    weights = {c.epoch: [file.read_bytes() for file in sorted(c.folder.glob("*.safetensors"))] for c in run.checkpoints()}
    return models.losses(run), epochs, captions, weights


# --- killed -----------------------------------------------------------------------------------------------


@pytest.fixture
def forks():
    found = Forks()
    yield found
    found.close()


def half_saved(run: Run) -> bool:
    """Whether a save is under way, or was when the process was killed."""
    return any(run.folder.glob(".epoch-*")) or (run.folder / "resume" / "state.part").exists()


def kill(run: Run, pid: int, draw: random.Random, in_a_save: bool) -> None:
    """SIGKILL at a random moment, or the moment a save begins; then the run is said to have died, within seconds."""
    wait_for(lambda: files.read_json(run.folder / "status.json")["pid"] == pid)
    if in_a_save:
        end = time.monotonic() + 30
        while not half_saved(run) and time.monotonic() < end:
            pass
        time.sleep(draw.choice((0, 0.001, 0.003)))
    else:
        time.sleep(draw.uniform(0, 0.8))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: run.status().state == "died", seconds=3)
    assert run.status().text.startswith(f"died at step {run.status().step}: its process is gone; resume goes on")


def check_all_loads(run: Run, base: str, known: set[int]) -> None:
    """Every checkpoint not looked at before opens, and so does the state that a resume needs."""
    for checkpoint in run.checkpoints():
        if checkpoint.epoch not in known:
            load(base).use(checkpoint.folder)
            known.add(checkpoint.epoch)
    if (run.folder / "resume" / "state.pt").exists():
        torch.load(run.folder / "resume" / "state.pt", weights_only=True)


def test_killed_at_random_moments_and_in_saves_it_ends_as_if_nothing_had_been(workspace, tmp_path, blip, shapes, forks):
    calm = Workspace(tmp_path / "calm", shipped=tmp_path)
    values = dict(method="lora-vision", epochs=2 * KILLS, augment=True, batch_size=8, validation_images=4, references="sample")
    expected, run = (models.new_run(home, blip, shapes, **values) for home in (calm, workspace))
    forks.start(expected, calm)
    draw, known, in_saves = random.Random(), set(), 0
    for number in range(KILLS):
        kill(run, started(forks, run, workspace), draw, in_a_save=number % 2 == 0)
        in_saves += half_saved(run)
        check_all_loads(run, blip, known)
    assert in_saves, "no kill fell into a save"
    started(forks, run, workspace)
    for each in (run, expected):
        wait_for(lambda: each.status().state == "finished", 300)  # noqa: B023
    assert outcome(run) == outcome(expected)
    assert not half_saved(run)


def started(forks: Forks, run: Run, workspace: Workspace) -> int:
    pid = forks.start(run, workspace)
    wait_for(lambda: (files.read_json(run.folder / "status.json") or {}).get("pid") == pid)
    return pid


# --- no room on the disk ----------------------------------------------------------------------------------

FULL = """
import os, shutil, sys
from pathlib import Path
sys.path[:0] = ["tests", "."]
import torch
torch.set_num_threads(1)
import models
from explorer.train import worker
from explorer.workspace import Workspace

home, base, shapes, free = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
workspace = Workspace(home / "home", home)
run = models.new_run(workspace, base, shapes, method="full")
filler = home / "filler"
with open(filler, "wb") as file:
    file.write(bytes(max(0, shutil.disk_usage(home).free - free * 1024)))
try:
    list(worker.work(run, workspace))
    print("no error")
except Exception as error:
    print("error", type(error).__name__)
print("told", run.status().state, run.status().text)
print("left", sorted(p.name for p in run.folder.rglob("*") if p.name.endswith((".part", ".old"))), [c.epoch for c in run.checkpoints()])
filler.unlink()
list(worker.work(run, workspace))
print("then", run.status().state)
shutil.copytree(run.folder, sys.argv[5])
"""


def can_mount() -> bool:
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no right to mount a small disk here")
@pytest.mark.parametrize("free", [40, 200, 420], ids=["at once", "in the checkpoint", "in the state"])
def test_a_full_disk_is_told_leaves_nothing_half_written_and_a_resume_goes_on(workspace, tmp_path, blip, shapes, free):
    (tmp_path / "disk").mkdir()
    words = [tmp_path / "disk", blip, shapes, free, tmp_path / "result"]
    mount = f'mount -t tmpfs -o size=6m none "{tmp_path / "disk"}" && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", FULL, *map(str, words)],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "error" in lines, done.stdout
    assert lines["told"].startswith("failed The disk is full: free some space, then resume"), lines
    assert lines["left"].startswith("[] "), lines
    assert lines["then"] == "finished"
    expected = models.new_run(workspace, blip, shapes, method="full")
    list(worker.work(expected, workspace))
    assert outcome(Run(tmp_path / "result")) == outcome(expected)


# --- damaged and other people's features ------------------------------------------------------------------


def test_damaged_features_and_another_model_s_are_made_anew_told_and_change_nothing(workspace, tmp_path, blip, shapes):
    calm = Workspace(tmp_path / "calm", shipped=tmp_path)
    runs = [models.new_run(home, blip, shapes, method="lora") for home in (calm, workspace)]
    list(worker.work(runs[0], calm))
    shutil.copytree(calm.cache, workspace.cache)
    first, second, *_ = kept_features = sorted(workspace.cache.glob("features/*/*.npy"))
    assert len(kept_features) == 36
    first.write_bytes(first.read_bytes()[:-40])
    shutil.copyfile(kept_features[2], second)  # as whole as can be, and of another image
    list(worker.work(runs[1], workspace))
    assert outcome(runs[1]) == outcome(runs[0])
    told = [row["text"] for row in runs[1].log() if row["kind"] == "warning" and row["code"] == "features"]
    assert len(told) == 1 and "damaged and have been made anew: nothing is lost" in told[0]

    other = models.make_blip(tmp_path / "other", side=64)
    list(worker.work(models.new_run(workspace, str(other), shapes, name="other", method="lora"), workspace))
    assert len(list(workspace.cache.glob("features/*"))) == 2


# --- the page goes, others come ---------------------------------------------------------------------------

START = "import sys; from pathlib import Path; from explorer.train import worker; from explorer.train.run import Run; from explorer.workspace import Workspace; "


def test_a_run_outlives_the_page_that_started_it_and_the_next_page_finds_and_stops_it(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=500)
    page = subprocess.Popen(
        [sys.executable, "-c", START + f"worker.start(Run(Path({str(run.folder)!r})), Workspace(Path({str(workspace.root)!r}))); input()"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
    )
    wait_for(lambda: run.status().state == "running")
    page.kill()
    page.wait()
    wait_for(lambda: run.status().step >= 2)
    assert [found.name for found in worker.running(workspace)] == ["run"]
    run.request_stop()
    wait_for(lambda: run.status().state != "running")
    assert run.status().state == "stopped" and len(models.losses(run)) == run.status().step


def test_of_many_who_take_one_name_at_once_one_gets_it_whole(workspace, blip, shapes):
    config = models.new_run(workspace, blip, shapes, name="first").config

    def take(seed: int):
        try:
            return plan.make_run(workspace, type(config)(**{**vars(config), "name": "wanted", "seed": seed}))
        except UserError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, range(8)))
    (winner,) = [run for run in found if isinstance(run, Run)]
    assert all("'wanted'" in str(error) and "hoose another name" in str(error) for error in found if error is not winner)
    assert found[winner.config.seed] == winner and len(winner.examples()) == 36
    assert sorted(path.name for path in workspace.root.iterdir()) == ["first", "wanted"]


def test_of_two_pages_that_start_at_once_one_is_refused(workspace, blip, shapes):
    runs = [models.new_run(workspace, blip, shapes, name=name, epochs=500) for name in ("one", "two")]

    def start(run):
        try:
            with worker.one_at_a_time(workspace):
                return worker.start(run, workspace)
        except UserError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(start, runs))
    (pid,) = [answer for answer in found if isinstance(answer, int)]
    (refused,) = [answer for answer in found if isinstance(answer, UserError)]
    assert "is still training: stop it or wait" in str(refused)
    assert len(worker.running(workspace)) == 1
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not worker.running(workspace))
