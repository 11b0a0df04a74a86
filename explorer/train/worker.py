"""The live run as a process of its own: start, stop, resume, and the files by which everybody follows it.

The page starts `python -m explorer finetune --resume NAME` in a new session, so that closing the tab, reloading
or restarting the page leaves the run alone. Whoever wants to know how it goes reads the run's folder. On ZeroGPU, where
no process may keep a GPU, the same work is done in parts (see chunks.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from explorer import files, machine, processes
from explorer.errors import UserError
from explorer.model import memory
from explorer.train.ranks import Ranks
from explorer.train.run import Progress, Run
from explorer.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]


# --- from the page: start and stop ------------------------------------------------------------------------


def start(run: Run, workspace: Workspace) -> int:
    """Start or resume ``run`` in a process of its own, or on ZeroGPU in parts; the pid of who sees to it.

    Raises UserError when one is at it already.
    """
    # Two starts in one moment: the second waits here, and then sees the status of the first.
    with open(run.folder / ".starting", "w") as gate, open(run.folder / "output.txt", "ab") as output:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if run.status().state == "running":
            raise UserError(f"The run {run.name!r} is running already: wait for it or stop it.")
        (run.folder / "stop").unlink(missing_ok=True)
        job = files.read_json(run.folder / "job.json")  # one on Jobs needs no GPU here, only somebody who follows it
        if machine.here() == machine.ZEROGPU and (job is None or job.get("over")):
            from explorer.train import chunks  # it stands on this module

            return chunks.begin(run, workspace)
        child = subprocess.Popen(
            [sys.executable, "-m", "explorer", "finetune", "--resume", run.name],
            cwd=PROJECT,
            # Waiting threads spin for a few microseconds, then sleep: the page stays quick on the same cores, and a small model
            # trains as fast as with threads that never sleep (a quarter faster than with threads that always do).
            env={"GOMP_SPINCOUNT": "1000", **os.environ, "EXPLORER_HOME": str(workspace.root), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        processes.give_way(child.pid)
        write_status(run, "running", child.pid, text="starting")
    return child.pid


@contextmanager
def one_at_a_time(workspace: Workspace) -> Iterator[None]:
    """Make and start a run in here: of two pages that do so at once the second is told. Raises UserError while a run is live."""
    with open(workspace.root / ".starting", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        busy = running(workspace)
        if busy:
            raise UserError(f"The run {busy[0].name!r} is still training: stop it or wait, then start the next.")
        yield


def running(workspace: Workspace) -> list[Run]:
    """The runs that a process is working on now."""
    found = (Run(folder) for folder in workspace.run_folders())
    return [run for run in found if run.status().state == "running"]


# --- in the process that trains ---------------------------------------------------------------------------


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Hold the run's lock; UserError when another process has it. The lock goes with the process, however it ends."""
    with open(run.folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"The run {run.name!r} is being trained by another process: wait for it or stop it.") from None
        yield


def work(
    run: Run, workspace: Workspace, ranks: Ranks = Ranks(), enough: Callable[[], bool] = lambda: False, owner: int | None = None
) -> Iterator[Progress]:
    """Run or resume ``run`` here, keeping its log and status on disk; yields what happens.

    Whatever ends it is told in status.json: finished, stopped, or failed with a sentence. Raises that UserError.
    Of several processes only the first one writes; the others iterate beside it. When ``enough`` says so the last Progress
    has the state "paused": the run is where a stopped one is, and still running in the name of the process ``owner``.
    """
    from explorer.train.finetune import finetune

    stop_file, paused = run.folder / "stop", False
    if not ranks.first:
        with last_words(run, ranks):
            yield from finetune(run, workspace, stop_file.exists, ranks)
        return
    with alone(run), room_to_tell(run) as make_room:
        tell, pace = teller(run, owner), Pace()
        run.last_words.unlink(missing_ok=True)
        try:
            tell("running", text="loading torch and the model")
            for progress in finetune(run, workspace, lambda: stop_file.exists() or enough(), ranks):
                if progress.kind == "end":
                    paused = progress.values["state"] == "stopped" and owner is not None and not stop_file.exists()
                    if paused:
                        progress = replace(progress, values={"state": "paused", "text": "waiting for a GPU"})
                    else:
                        stop_file.unlink(missing_ok=True)  # before the end is told: a request that comes later is a new one
                keep(run, progress, tell, pace)
                yield progress
        except Exception as error:
            text = why(error, run, ranks)
            make_room()
            tell("failed", text=text)
            files.append_jsonl(run.folder / "log.jsonl", Progress("end", 0, 0, {"state": "failed", "text": text}).row())
            raise
        except (KeyboardInterrupt, GeneratorExit):
            tell("stopped", text="interrupted; resume goes on from the last save")
            raise
        finally:
            if not paused:
                stop_file.unlink(missing_ok=True)


def why(error: Exception, run: Run, ranks: Ranks) -> str:
    """What ended the run, in a sentence; of several processes the one that ended first has the word."""
    word = files.read_json(run.last_words)
    if word:
        return word["text"]
    lost = ranks.size > 1 and isinstance(error, RuntimeError) and not disk_full(error) and not memory.ran_out(error)
    return f"one of the {ranks.size} processes is gone, so all have ended; resume goes on from the last save" if lost else sentence(error)


@contextmanager
def last_words(run: Run, ranks: Ranks) -> Iterator[None]:
    """What ends a process that is not the first is left where the others' status is read; its starter ends them all."""
    try:
        yield
    except Exception as error:
        # Most RuntimeErrors here only say that another process has gone.
        if not isinstance(error, RuntimeError) or disk_full(error) or memory.ran_out(error):
            files.write_json(run.last_words, {"text": f"Process {ranks.rank + 1} of {ranks.size}: {sentence(error)}"})
        raise


@contextmanager
def room_to_tell(run: Run) -> Iterator[Callable[[], None]]:
    """Hold a little of the disk, to be let go when it is full, so that even then the reason can be written down."""
    path = run.folder / ".room"
    with suppress(OSError):
        path.write_bytes(os.urandom(64 * 1024))  # random: some disks keep zeros for nothing
    try:
        yield lambda: path.unlink(missing_ok=True)
    finally:
        path.unlink(missing_ok=True)


def keep(run: Run, progress: Progress, tell, pace: Pace, at: float | None = None) -> None:
    """Put an event into the run's log and status. ``at``: when it happened, if not now."""
    values = progress.values
    if progress.kind != "loading" and values.get("state") != "paused":
        files.append_jsonl(run.folder / "log.jsonl", progress.row() | ({} if at is None else {"time": at}))
    if progress.kind == "end":
        tell("running" if values["state"] == "paused" else values["state"], text=values["text"], step=progress.step, epoch=progress.epoch)
    elif progress.kind == "start":
        pace.steps = values["steps"]
        tell("running", text="training", steps=values["steps"])
    elif progress.kind == "features":
        tell("running", text=f"looking at the images once: {values['done']} of {values['total']}")
    elif progress.kind in ("step", "epoch"):
        tell("running", text="training", step=progress.step, epoch=progress.epoch, seconds_left=pace.seconds_left(progress))


class Pace:
    """How fast the run goes: the last steps of this process, evaluations between epochs counted in."""

    def __init__(self):
        self.steps = 0
        self.recent: deque[tuple[int, float]] = deque(maxlen=60)

    def seconds_left(self, progress: Progress) -> float | None:
        """Time to the end; None before the third step."""
        if progress.kind == "step":
            self.recent.append((progress.step, progress.values["seconds"]))
        if len(self.recent) < 3:
            return None
        (first, began), (last, now) = self.recent[0], self.recent[-1]
        return round((now - began) / max(1, last - first) * (self.steps - last), 1)


def teller(run: Run, owner: int | None = None):
    """A function that writes status.json, what was told before kept unless told anew. ``owner``: the process, if not this one."""
    known, pid = {}, owner or os.getpid()

    def tell(state: str, **values) -> None:
        known.update(values)
        write_status(run, state, pid, **known)

    return tell


def write_status(run: Run, state: str, pid: int, **values) -> None:
    row = {"state": state, "pid": pid, "born": processes.born(pid), "updated": time.time(), **values}
    files.write_json(run.folder / "status.json", row)


def sentence(error: Exception) -> str:
    """What a person is told about ``error``: never a traceback."""
    if isinstance(error, UserError):
        return str(error)
    if disk_full(error):
        return "The disk is full: free some space, then resume; the last complete checkpoint is safe."
    if memory.ran_out(error):
        return "The memory ran out: close other programs or take a smaller base, then resume."
    return f"It ended with {type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else 'no message'}."


def disk_full(error: BaseException | None) -> bool:
    """Whether ``error``, or what caused it, is a disk without room. safetensors and torch say so in words of their own."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
