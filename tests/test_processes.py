"""A run is never said to run when its process is gone, whatever happens to pids and clocks.

python -m pytest tests/test_processes.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import models
import psutil
import pytest

from explorer import files, processes
from explorer.train import worker

PROJECT = Path(__file__).parents[1]


def test_a_pid_that_is_somebody_else_s_now_does_not_keep_a_run_alive(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    worker.write_status(run, "running", os.getpid(), step=4)
    assert run.status().state == "running"
    row = files.read_json(run.folder / "status.json")
    files.write_json(run.folder / "status.json", {**row, "born": row["born"] + "0"})  # the same pid, born at another tick
    assert run.status().state == "died" and "died at step 4" in run.status().text


def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = processes.born(child.pid)
    assert processes.is_alive(child.pid, mark)
    child.stdin.close()
    end = time.monotonic() + 20
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not processes.is_alive(child.pid, mark)
    child.wait()
    assert not processes.is_alive(child.pid, mark) and not processes.is_alive(None, None)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux shows processes under /proc")
def test_a_clock_set_back_an_hour_changes_when_a_process_seems_to_have_begun_but_not_who_it_is(tmp_path, monkeypatch):
    """The kernel's own files as they read after the clock is set back: the moment of boot moves, ticks since it do not."""
    pid = os.getpid()
    mark = processes.born(pid)
    for name in (f"{pid}/stat", f"{pid}/status", "sys/kernel/random/boot_id"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"/proc/{name}", tmp_path / name)
    lines = Path("/proc/stat").read_text().splitlines()
    lines = [f"btime {int(line.split()[1]) - 3600}" if line.startswith("btime") else line for line in lines]
    (tmp_path / "stat").write_text("\n".join(lines) + "\n")
    before = psutil.Process(pid).create_time()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert before - psutil.Process(pid).create_time() == pytest.approx(3600, abs=5)
    assert processes.born(pid, proc=tmp_path) == mark
    assert processes.is_alive(pid, mark)


def test_a_status_from_the_future_is_believed_when_its_process_lives(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    worker.write_status(run, "running", os.getpid(), step=1)
    row = files.read_json(run.folder / "status.json")
    files.write_json(run.folder / "status.json", {**row, "updated": time.time() + 86_400})
    assert run.status().state == "running"


def test_a_run_gives_way_to_everybody_else(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    processes.give_way(child.pid)
    group = Path(f"/proc/{child.pid}/autogroup")
    assert psutil.Process(child.pid).nice() == 19
    if group.exists():
        assert group.read_text().rstrip().endswith("nice 19")
    child.communicate(b"\n")
    processes.give_way(child.pid)  # gone: nothing to do, and nothing goes wrong


def test_what_is_drawn_ahead_ends_with_the_page_that_asked_for_it_and_leaves_nothing_half_made(tmp_path):
    code = "import sys; from explorer.train import plan; from explorer.workspace import Workspace; from pathlib import Path\n"
    code += "plan.draw_ahead(Workspace(Path(sys.argv[1]))); print('begun', flush=True); input()"
    page = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    page.stdout.readline()
    drawing = psutil.Process(page.pid).children()
    datasets = tmp_path / "datasets"
    end = time.monotonic() + 90
    while not any(datasets.glob(".scenes.*.part/*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    page.kill()
    page.wait()
    assert len(drawing) == 1 and psutil.wait_procs(drawing, 90)[1] == []
    assert list(datasets.iterdir()) == []
