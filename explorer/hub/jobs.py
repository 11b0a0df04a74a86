"""A fine-tune on Hugging Face Jobs: sent with its data, followed live, its checkpoints and captions brought back.

    python -m explorer finetune --data FOLDER --name pets --on a10g-small

The run's folder stays here and is followed like any other. job.json in it says where it is: a private dataset of one's
own, <me>/explorer-jobs, holds what was sent (code, run, pictures) and what comes back. The process here only follows:
when it ends the Job goes on, and `finetune --resume NAME` follows it again.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from explorer import files
from explorer.errors import UserError
from explorer.hub import at_work, client, parcel
from explorer.hub.client import HubError
from explorer.train import worker
from explorer.train.run import Progress, Run
from explorer.workspace import Workspace

IMAGE = "python:3.12"
"""torch comes by pip, with CUDA: a minute or two longer than an image that has it, and the version requirements.txt asks for."""

LIMIT_HOURS = 6
OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
PATIENCE = 120
"""Seconds a Job has to stop by itself before it is cancelled."""

BOOT = """set -e
python -m pip install -q huggingface_hub
python -c "import os, tarfile; from huggingface_hub import hf_hub_download as get; tarfile.open(get(os.environ['EXPLORER_JOB_REPO'], \
os.environ['EXPLORER_JOB_FOLDER'] + '/project.tar.gz', repo_type='dataset')).extractall('explorer-job', filter='data')"
cd explorer-job
python -m pip install -q -r requirements.txt
exec python -m explorer.hub.at_work"""


@dataclass(frozen=True)
class Machine:
    """A kind of machine Jobs has. ``gpus``: 0 for one without; ``price``: US dollars an hour."""

    name: str
    title: str
    gpus: int
    price: float

    def sentence(self) -> str:
        return f"{self.title}: {self.price:.2f} USD an hour, by the minute; it ends by itself after {LIMIT_HOURS} h at the latest ({self.price * LIMIT_HOURS:.2f} USD)."


def machines() -> list[Machine]:
    """What Jobs offers now, the cheapest first. Raises HubError."""
    from huggingface_hub import HfApi

    with client.telling("the Hub", "ask what Jobs offers"):
        found = HfApi().list_jobs_hardware()
    scale = {"second": 3600, "minute": 60, "hour": 1}
    rows = [
        Machine(h.name, h.pretty_name, int(h.accelerator.quantity) if h.accelerator else 0, h.unit_cost_usd * scale.get(h.unit_label, 60))
        for h in found
    ]
    return sorted(rows, key=lambda machine: machine.price)


def machine(flavor: str) -> Machine:
    """The machine of Jobs called ``flavor``. Raises HubError for an unknown one, or when there is no token to send anything with."""
    client.connect()
    known = {machine.name: machine for machine in machines()}
    if flavor not in known:
        raise HubError(f"Jobs has no machine {flavor!r}: take one of {', '.join(known)}.")
    return known[flavor]


def ask(run: Run, where: Machine) -> None:
    """Note that ``run`` is to go to Jobs; the process that works on it sends it."""
    files.write_json(run.folder / "job.json", {"flavor": where.name, "processes": max(1, where.gpus)})


def asked(run: Run) -> bool:
    """Whether ``run`` is to be sent to Jobs, or is there."""
    job = files.read_json(run.folder / "job.json")
    return bool(job) and not job.get("over")


def work(run: Run, workspace: Workspace) -> Iterator[Progress]:
    """Send ``run`` if that has not been done, then follow it to its end. Raises UserError, told in its status as well."""
    with worker.alone(run):
        tell = worker.teller(run)
        try:
            tell("running", text="asking Jobs")
            if "id" not in _job(run):
                yield from _send(run, workspace, tell)
            yield from _follow(run, tell)
        except UserError as error:
            tell("failed", text=str(error))
            raise
        except (KeyboardInterrupt, GeneratorExit):
            tell("stopped", text="no longer followed here; its Job goes on, and resume follows it again")
            raise


def _job(run: Run) -> dict:
    return files.read_json(run.folder / "job.json") or {}


def _note(run: Run, **values) -> dict:
    job = {**_job(run), **values}
    files.write_json(run.folder / "job.json", job)
    return job


def _send(run: Run, workspace: Workspace, tell) -> Iterator[Progress]:
    """Upload what the Job needs, then start it. The token goes as a secret, which the Hub keeps encrypted."""
    from huggingface_hub import CommitOperationAdd, constants, get_token

    api, job = client.connect(), _job(run)
    with client.telling("your Jobs", f"send {run.name} to Jobs"):
        me = api.whoami()["name"]
        repo, folder = f"{me}/explorer-jobs", f"{run.name}-{uuid.uuid4().hex[:8]}"
        packed, base = parcel.run(run, workspace)
        tell("running", text=f"sending {len(packed) / 1e6:.1f} MB to {repo}")
        yield Progress("loading", 0, 0, {})
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        parts = {"run.tar.gz": packed, "project.tar.gz": parcel.project(base)}
        adds = [CommitOperationAdd(f"{folder}/{name}", data) for name, data in parts.items()]
        api.create_commit(repo, adds, repo_type="dataset", commit_message=f"send {run.name}")
        given = {"EXPLORER_JOB_REPO": repo, "EXPLORER_JOB_FOLDER": folder, "EXPLORER_JOB_RUN": run.name}
        given |= {"EXPLORER_JOB_PROCESSES": str(job["processes"]), "PYTHONUNBUFFERED": "1"}
        if constants.ENDPOINT != constants._HF_DEFAULT_ENDPOINT:
            given["HF_ENDPOINT"] = constants.ENDPOINT
        options = {"flavor": job["flavor"], "timeout": f"{LIMIT_HOURS}h", "secrets": {"HF_TOKEN": get_token()}, "namespace": me}
        made = api.run_job(image=IMAGE, command=["bash", "-c", BOOT], env=given, labels={"name": run.name[:60]}, **options)
        _note(run, id=made.id, namespace=me, repo=repo, folder=folder, url=made.url, sent=time.time())
        tell("running", text=f"waiting for a machine ({job['flavor']})")


def _follow(run: Run, tell) -> Iterator[Progress]:
    """Events of the run as its Job tells them, until it is over; then its files and its last words."""
    api, job = client.connect(), _job(run)
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(api, job, lines), daemon=True)
    reader.start()
    known = {row["time"] for row in run.log()}
    pace, look, stopping, said = worker.Pace(), _Look(api, job, run), None, []
    while reader.is_alive() or not lines.empty():
        for line in _ready(lines):
            row = _event(line)
            if row is None:
                said = [*said[-4:], line]
                with open(run.folder / "output.txt", "a", encoding="utf-8") as out:
                    out.write(client.scrubbed(line) + "\n")
            elif row["time"] not in known:
                known.add(row["time"])
                yield from _told(run, row, tell, pace)
        stopping = _heed_stop(api, job, run, stopping, tell)
        look()
    stage = _stage(api, job)
    with client.telling(job["repo"], f"fetch what {run.name} has become"):
        final = look(at_end=True)
    _note(run, over=True, stage=stage)
    (run.folder / "stop").unlink(missing_ok=True)
    if final is None or final.get("state") not in ("finished", "stopped", "failed"):
        last = f" Its last words: {client.scrubbed(' / '.join(said))[-300:]}" if said else ""
        raise UserError(f"The Job of {run.name} ended with {stage} before the run did.{last} Resume goes on here; --on sends it again.")
    end = Progress("end", final.get("epoch", 0), final.get("step", 0), {"state": final["state"], "text": final["text"]})
    tell(final["state"], text=final["text"], step=final.get("step", 0), epoch=final.get("epoch", 0), steps=final.get("steps", 0))
    yield end


def _told(run: Run, row: dict, tell, pace) -> Iterator[Progress]:
    """An event of the Job's log as one of this run's; the end is told when the files are here."""
    values = {name: value for name, value in row.items() if name not in ("kind", "epoch", "step", "time")}
    progress = Progress(row["kind"], row["epoch"], row["step"], values)
    if progress.kind != "end":
        worker.keep(run, progress, tell, pace, row["time"])
        yield progress


def _read(api, job: dict, lines: queue.Queue) -> None:
    """The Job's log, line by line; followed again when the connection breaks, until the Job is over."""
    seen = 0
    while True:
        with suppress(Exception):  # a broken connection, in any of the client's kinds
            for number, line in enumerate(api.fetch_job_logs(job_id=job["id"], namespace=job["namespace"], follow=True)):
                if number >= seen:
                    seen = number + 1
                    lines.put(line)
        if _stage(api, job) in OVER:
            return
        time.sleep(2)


def _stage(api, job: dict) -> str:
    """Where the Job is; "" while the Hub does not answer."""
    try:
        stage = api.inspect_job(job_id=job["id"], namespace=job["namespace"]).status.stage
        return str(getattr(stage, "value", stage))  # the client gives a plain text for one it does not know
    except Exception as error:  # gone for good, or just now
        return "DELETED" if client.status_of(error) == 404 else ""


def _ready(lines: queue.Queue) -> Iterator[str]:
    """What has come in; waits a little for the first."""
    with suppress(queue.Empty):
        yield lines.get(timeout=0.5)
        while True:
            yield lines.get_nowait()


def _event(line: str) -> dict | None:
    """The event in a line of the log; None for a line for people."""
    if not line.startswith(at_work.MARK):
        return None
    try:
        row = json.loads(line.removeprefix(at_work.MARK))
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"kind", "epoch", "step", "time"} <= row.keys() else None


def _heed_stop(api, job: dict, run: Run, since: float | None, tell) -> float | None:
    """Pass a request to stop on: a word in the repository, so that the run saves itself; a Job that does not heed it is cancelled."""
    if not (run.folder / "stop").exists():
        return None
    with suppress(Exception):  # tried again at the next look
        if since is None:
            tell("running", text="asking the Job to stop and to save")
            api.upload_file(path_or_fileobj=b"", path_in_repo=f"{job['folder']}/stop", repo_id=job["repo"], repo_type="dataset")
            return time.monotonic()
        if time.monotonic() - since > PATIENCE:
            api.cancel_job(job_id=job["id"], namespace=job["namespace"])
    return since


class _Look:
    """Fetches what the Job has sent, when there is something new."""

    def __init__(self, api, job: dict, run: Run, every: float = 5):
        self.api, self.job, self.run, self.every = api, job, run, every
        self.sha, self.at = None, 0.0

    def __call__(self, at_end: bool = False) -> dict | None:
        """The Job's own status.json, once it has sent one."""
        if at_end:
            return self.fetch(True)
        if time.monotonic() - self.at > self.every:
            self.at = time.monotonic()
            with suppress(Exception):  # the next look may do
                self.fetch(False)
        return None

    def fetch(self, at_end: bool) -> dict | None:
        sha = self.api.dataset_info(self.job["repo"], timeout=20).sha
        if sha == self.sha and not at_end:
            return None
        place = self.run.folder / ".fetched"  # stays while the run is followed, so that a file comes once
        options = {"repo_type": "dataset", "revision": sha, "local_dir": place}
        left_out = [] if at_end else [f"{self.job['folder']}/out/resume/*"]
        self.api.snapshot_download(self.job["repo"], allow_patterns=[f"{self.job['folder']}/out/*"], ignore_patterns=left_out, **options)
        out = place / self.job["folder"] / "out"
        parcel.bring_back(out, self.run, at_end)
        self.sha = sha
        return files.read_json(out / "status.json")
