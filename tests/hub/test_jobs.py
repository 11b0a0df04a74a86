"""A fine-tune sent to Jobs: the stand-in really runs the command it is given, with the real client on both ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import models
import pytest
from hub_server import TOKEN, HubServer

from explorer import files
from explorer.compare import comparison
from explorer.errors import UserError
from explorer.hub import at_work, jobs, parcel
from explorer.hub.client import HubError
from explorer.train import worker
from explorer.train.run import Run
from explorer.workspace import Workspace


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as served:
        served.point(monkeypatch, tmp_path)
        yield served


def test_a_run_on_two_gpus_is_followed_live_and_comes_back_whole(hub, workspace, blip, shapes, tmp_path):
    """The command line, a machine with two GPUs, a base that is a folder of this machine: two processes, as torchrun starts them."""
    environment = {**os.environ, **hub.environment(tmp_path), "EXPLORER_HOME": str(workspace.root)}
    words = ["--base", blip, "--data", str(shapes), "--name", "far", "--epochs", "2", "--method", "lora", "--max-tokens", "8", "--on", "a10g-largex2"]
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "finetune", *words], env=environment, capture_output=True, text=True, timeout=550, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-1500:] + done.stdout[-1500:]
    run = Run(workspace.root / "far")
    assert run.status().state == "finished" and [c.epoch for c in run.checkpoints()] == [1, 2]
    assert next(row for row in run.log() if row["kind"] == "start")["processes"] == 2
    shown = comparison.build([run], workspace)
    assert all(caption for column in shown.captions.values() for caption in column) and len(shown.columns) == 3
    assert all(Path(image["path"]).is_file() for image in shown.images)
    (job,) = hub.jobs.values()
    assert job.spec["flavor"] == "a10g-largex2" and job.spec["timeoutSeconds"] == 6 * 3600 and job.spec["secrets"] == {"HF_TOKEN": TOKEN}
    assert hub.repo("owner/explorer-jobs", "dataset").private
    # The token is the Job's secret, and nowhere else.
    asked = [body.decode("utf-8", "replace") for method, path, body in hub.asked if not (method == "POST" and path == "/api/jobs/owner")]
    kept = [data for data in hub.repo("owner/explorer-jobs", "dataset").files.values()]
    left = [path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()]
    assert TOKEN not in done.stdout + done.stderr + str(job.lines) + "".join(asked) and not any(TOKEN.encode() in data for data in kept + left)


def test_a_stopped_job_saves_itself_and_the_run_goes_on_here(hub, workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, name="far", method="lora", epochs=400)
    jobs.ask(run, jobs.machine("t4-small"))
    kinds = set()
    for progress in jobs.work(run, workspace):
        kinds.add(progress.kind)
        if progress.kind == "step" and not (run.folder / "stop").exists():
            assert run.status().state == "running"
            run.request_stop()
    assert {"start", "step", "end"} <= kinds and run.status().state == "stopped" and not jobs.asked(run)
    done = max(run.epochs(), default=0)
    run = jobs_change(run, done + 1)
    for _ in worker.work(run, workspace):
        pass
    assert run.status().state == "finished"
    steps = [row["step"] for row in run.log() if row["kind"] == "step"]
    assert steps == list(range(1, 3 * (done + 1) + 1))


def jobs_change(run: Run, epochs: int) -> Run:
    from explorer.train.run import change_config

    return change_config(run, epochs=epochs)


def quick(monkeypatch, script: str) -> None:
    """A Job that does something else than train."""
    monkeypatch.setattr(jobs, "BOOT", script)


def test_a_job_that_fails_is_told_with_its_last_words(hub, workspace, blip, shapes, monkeypatch):
    quick(monkeypatch, f"echo no space left on $EXPLORER_JOB_RUN; echo {TOKEN}; exit 3")
    run = models.new_run(workspace, blip, shapes, name="far")
    jobs.ask(run, jobs.machine("cpu-basic"))
    with pytest.raises(UserError, match="The Job of far ended with ERROR before the run did. Its last words: no space left on far / hf_"):
        list(jobs.work(run, workspace))
    assert run.status().state == "failed" and TOKEN not in run.status().text + (run.folder / "output.txt").read_text()
    assert not jobs.asked(run)


def test_a_follower_that_was_killed_follows_again_and_repeats_nothing(hub, workspace, blip, shapes, monkeypatch):
    rows = [{"kind": "step", "epoch": 1, "step": n, "time": float(n), "loss": 1.0, "rate": 0.1, "seconds": n, "images": 8} for n in (1, 2, 3)]
    said = "\n".join(f"echo '{at_work.MARK}{json.dumps(row)}'" for row in rows)
    quick(monkeypatch, f"{said}\nwhile [ ! -e go ]; do sleep 0.1; done")
    run = models.new_run(workspace, blip, shapes, name="far")
    jobs.ask(run, jobs.machine("cpu-basic"))
    following = jobs.work(run, workspace)
    assert next(progress.step for progress in following if progress.kind == "step") == 1
    following.close()
    assert run.status().state == "stopped" and "its Job goes on" in run.status().text and jobs.asked(run)
    threading.Timer(0.5, lambda: Path(next(iter(hub.jobs.values())).place.name, "go").touch()).start()
    with pytest.raises(UserError, match="ended with COMPLETED before the run did"):
        list(jobs.work(run, workspace))
    assert [row["step"] for row in run.log() if row["kind"] == "step"] == [1, 2, 3] and len(hub.jobs) == 1


def test_the_hub_away_for_a_while_does_not_end_the_following(hub, workspace, blip, shapes, monkeypatch):
    quick(monkeypatch, "while [ ! -e go ]; do sleep 0.1; done; echo done")
    run = models.new_run(workspace, blip, shapes, name="far")
    jobs.ask(run, jobs.machine("cpu-basic"))
    seen: list[str] = []

    def follow():
        try:
            list(jobs.work(run, workspace))
        except UserError as error:
            seen.append(str(error))

    thread = threading.Thread(target=follow)
    thread.start()
    end = time.monotonic() + 60
    while not hub.jobs and time.monotonic() < end:
        time.sleep(0.05)
    hub.die()
    Path(next(iter(hub.jobs.values())).place.name, "go").touch()
    time.sleep(0.5)
    hub.start()
    thread.join(60)
    assert seen and "ended with COMPLETED" in seen[0]


def test_refusals_come_before_anything_is_sent(hub, workspace, blip, shapes, monkeypatch, tmp_path):
    run = models.new_run(workspace, blip, shapes, name="far")
    with pytest.raises(HubError, match="Jobs has no machine 'moon': take one of cpu-basic, t4-small, a10g-largex2"):
        jobs.ask(run, jobs.machine("moon"))
    hub.point(monkeypatch, tmp_path, None)
    with pytest.raises(HubError, match="There is no Hugging Face token here"):
        jobs.ask(run, jobs.machine("t4-small"))
    assert not jobs.asked(run) and not hub.repos
    hub.point(monkeypatch, tmp_path)
    jobs.ask(run, jobs.machine("t4-small"))
    hub.fail("POST /api/jobs", 403)
    with pytest.raises(HubError, match="Could not send far to Jobs: this token has no right"):
        list(jobs.work(run, workspace))
    assert run.status().state == "failed" and jobs.asked(run) and "id" not in files.read_json(run.folder / "job.json")


def test_machines_come_with_their_price(hub):
    small = {machine.name: machine for machine in jobs.machines()}["t4-small"]
    assert small.sentence() == "Nvidia T4 - small: 0.40 USD an hour, by the minute; it ends by itself after 6 h at the latest (2.40 USD)."


def test_a_parcel_is_the_same_each_time_and_names_no_folder_of_this_machine(workspace, blip, shapes, tmp_path):
    assert parcel.project(blip) == parcel.project(blip)
    run = models.new_run(workspace, blip, shapes, name="far")
    (tmp_path / "run.tar.gz").write_bytes(parcel.run(run, workspace)[0])
    parcel.unpack(tmp_path / "run.tar.gz", tmp_path / "there" / "far")
    there = Run(tmp_path / "there" / "far")
    assert [row["image_id"] for row in there.examples()] == [row["image_id"] for row in run.examples()]
    assert all((there.folder / row["path"]).is_file() and not row["path"].startswith("/") for row in there.examples())
    assert there.base(Workspace(tmp_path / "there")) == str(there.folder / "start")
