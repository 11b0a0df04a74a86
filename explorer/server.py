"""The page as a process of its own, for what checks and measures it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from explorer.errors import UserError


class Address(str):
    """Where a server answers, and the ``pid`` of its process."""

    def __new__(cls, text: str, pid: int):
        address = super().__new__(cls, text)
        address.pid = pid
        return address


@contextmanager
def served(app: Path, home: Path, **more: str) -> Iterator[str]:
    """The address of ``app``/app.py over the workspace ``home``, once it answers; ended afterwards. Raises UserError.

    ``more``: of the environment. What the server says is beside ``home``, in a file that ends in .log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {**environment(home), "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", **more}
    log = home.with_suffix(".log")
    with open(log, "wb") as output:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=app, env=given, stdout=output, stderr=output)
    try:
        _wait(process, f"http://127.0.0.1:{port}", log)
        yield Address(f"http://127.0.0.1:{port}", process.pid)
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """End the server and what it has started: a folder it works in may be removed afterwards."""
    with suppress(psutil.Error):
        started = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for late in psutil.wait_procs([psutil.Process(process.pid), *started], 20)[1]:
            late.kill()
    process.wait(20)


def environment(home: Path) -> dict[str, str]:
    """The environment without what would let a copy of the app find the original."""
    left_out = ("PYTHONPATH", "EXPLORER_PUBLIC")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "EXPLORER_HOME": str(home), "GRADIO_ANALYTICS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}


def _wait(process: subprocess.Popen, address: str, log: Path) -> None:
    for _ in range(480):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    last = log.read_text("utf-8", errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
    raise UserError(f"app.py did not answer: {last[0]}")
