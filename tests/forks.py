"""Runs in processes that begin at once: torch is imported once, and each run is a fork of that process.

python tests/forks.py      reads lines of FOLDER<tab>HOME, answers each with the pid of the process that works on it
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent


class Forks:
    """From the test's side: `start` a run, know its pid."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )

    def start(self, run, workspace) -> int:
        self.process.stdin.write(f"{run.folder}\t{workspace.root}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)


def serve() -> None:
    sys.path.insert(0, str(PROJECT))
    import peft  # noqa: F401
    import pycocoevalcap.cider.cider  # noqa: F401
    import torch
    import transformers

    from explorer.train import finetune, worker  # noqa: F401
    from explorer.train.run import Run
    from explorer.workspace import Workspace

    torch.set_num_threads(1)
    transformers.AutoModelForImageTextToText, transformers.AutoTokenizer, transformers.AutoImageProcessor  # noqa: B018 - they load when named
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the killed ones
    for line in sys.stdin:
        folder, home = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)  # what a run prints is not an answer
            try:
                list(worker.work(Run(Path(folder)), Workspace(Path(home), Path(home))))
            finally:
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()
