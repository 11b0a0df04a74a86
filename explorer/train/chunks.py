"""A fine-tune in parts, for ZeroGPU: a GPU is lent to one call at a time and for about a minute.

Each part is a call of `part`, which on a ZeroGPU Space runs in a forked process that has the GPU: it goes on from where the
last one stopped, works for `WORKING` seconds, and leaves the state on disk from which the next goes on. What comes of it is
bit for bit what an uninterrupted run would be. Between the parts a thread of the page waits for the GPU; when the page is
restarted the run is as a killed one, and Resume goes on from its last save.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time

from explorer import machine
from explorer.train import worker
from explorer.train.run import Run
from explorer.workspace import Workspace

LENT = 60
"""Seconds a GPU is asked for: what a Space's visitor has of it in a day is minutes, and short calls are served first."""
WORKING = 40
"""Seconds of a part, loading included, after which no step is begun: what is left is for saving."""
WAITS = 3
"""How often a part is asked for again when no GPU is free."""
NO_GPU = "No GPU was available"
"""How the `spaces` package begins to say so; anything else it refuses will not change within minutes."""

_asked_by: dict[str, contextvars.Context] = {}
"""By run folder, the request in whose name its next part is asked for: ZeroGPU counts seconds by person."""


def begin(run: Run, workspace: Workspace) -> int:
    """Start or resume ``run`` in parts, in the name of whoever asks; the pid of the process that sees to it."""
    worker.write_status(run, "running", os.getpid(), text="waiting for a GPU")
    _asked_by[str(run.folder)] = contextvars.copy_context()
    threading.Thread(target=drive, args=(run, workspace), daemon=True).start()
    return os.getpid()


def renew(run: Run) -> None:
    """Ask for the next parts of ``run`` in the name of the request being answered: the pass of an old one runs out."""
    if str(run.folder) in _asked_by:
        _asked_by[str(run.folder)] = contextvars.copy_context()


def drive(run: Run, workspace: Workspace, seconds: float = WORKING) -> None:
    """One part after the other, until the run has ended, is stopped, or no GPU is lent any more."""
    try:
        while _lent(run, workspace, seconds) == "paused":
            if (run.folder / "stop").exists():
                (run.folder / "stop").unlink()
                _end(run, "stopped before the next part")
                return
    except Exception as error:  # whatever the lender says: its words are for people
        _end(run, f"ZeroGPU lent no GPU: {str(getattr(error, 'message', error)).strip().rstrip('.')}; resume goes on from the last save")
    finally:
        _asked_by.pop(str(run.folder), None)


def _lent(run: Run, workspace: Workspace, seconds: float) -> str:
    """The state after one more part; asked for again while no GPU is free."""
    for wait in range(WAITS + 1):
        asked_by = _asked_by.get(str(run.folder)) or contextvars.copy_context()
        try:
            return asked_by.copy().run(part, run, workspace, os.getpid(), seconds)
        except Exception as error:
            if NO_GPU not in str(getattr(error, "message", error)) or wait == WAITS:
                raise
            time.sleep(5 * (wait + 1))
    raise AssertionError("the last wait raises")


@machine.gpu(LENT)
def part(run: Run, workspace: Workspace, owner: int, seconds: float) -> str:
    """Train for ``seconds``, but for one step or batch of features at least; how the run stands: "paused" or how it ended.

    ``owner``: the process that sees to the run, in whose name the status is written.
    """
    end, moved, state = time.monotonic() + seconds, False, "failed"
    try:
        for progress in worker.work(run, workspace, enough=lambda: moved and time.monotonic() > end, owner=owner):  # noqa: B023
            # The base's scores are no step forward: they are worked out again by a part that begins before the first step.
            moved = moved or progress.kind in ("features", "step") or (progress.kind == "epoch" and progress.epoch > 0)
            state = progress.values.get("state", state)
    except Exception:  # told in the run's status, with the reason
        return "failed"
    return state


def _end(run: Run, text: str) -> None:
    """The run has stopped between two parts."""
    status = run.status()
    worker.write_status(run, "stopped", os.getpid(), text=text, step=status.step, steps=status.steps, epoch=status.epoch)
