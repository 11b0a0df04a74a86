"""The explorer inside a Job: the same fine-tune as anywhere, its events told in the log, its files sent as they come.

Started by the command that jobs.py gives the Job; the repository, the folder and the number of processes come by the
environment, the token as the Job's secret.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from explorer import files
from explorer.hub import parcel

MARK = "@progress "
"""Begins the lines of the log that are events of the run; all others are for people."""

LOOK = 5
"""Seconds between two looks at whether the run is to stop."""

LEFT = [".*", "*/.*", "images/*", "start/*", "output.txt", "stop"]
"""What the other side has already, or has no use for."""


def main() -> int:
    from huggingface_hub import HfApi

    api, repo, folder = HfApi(), os.environ["EXPLORER_JOB_REPO"], os.environ["EXPLORER_JOB_FOLDER"]
    name, processes = os.environ["EXPLORER_JOB_RUN"], int(os.environ.get("EXPLORER_JOB_PROCESSES", "1"))
    home = Path.cwd() / "home"
    parcel.unpack(Path(api.hf_hub_download(repo, f"{folder}/run.tar.gz", repo_type="dataset")), home / name)
    child = subprocess.Popen(command(name, processes), env={**os.environ, "EXPLORER_HOME": str(home)})
    run, told, sent, looked = home / name, len(files.read_jsonl(home / name / "log.jsonl")), set(), time.monotonic()
    while child.poll() is None:
        told = tell(run, told)
        made = {path.parent.name for path in run.glob("epoch-*/checkpoint.json")}
        if made - sent:
            send(api, repo, folder, run)
            sent |= made
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            if api.file_exists(repo, f"{folder}/stop", repo_type="dataset"):
                (run / "stop").touch()
        time.sleep(0.5)
    tell(run, told)
    send(api, repo, folder, run)
    return child.returncode


def command(name: str, processes: int) -> list[str]:
    """The command line that trains; on several GPUs a process for each."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    return [sys.executable, *several, "-m", "explorer", "finetune", "--resume", name]


def tell(run: Path, told: int) -> int:
    """Print the events of the run's log after the first ``told``; how many there are now."""
    rows = files.read_jsonl(run / "log.jsonl")
    for row in rows[min(told, len(rows)) :]:
        print(MARK + json.dumps(row), flush=True)
    return len(rows)


def send(api, repo: str, folder: str, run: Path) -> None:
    """Commit the run's files as they are; a Hub that is away for a while costs nothing, the next time sends all."""
    for wait in (0, 5, 20, 60):
        time.sleep(wait)
        try:
            api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=run, path_in_repo=f"{folder}/out", ignore_patterns=LEFT)
            return
        except Exception as error:  # whatever the client raises: the run goes on
            print(f"could not send the files yet: {type(error).__name__}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
