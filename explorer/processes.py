"""Processes on one machine: which is which, which gives way, and which ends with which.

A pid alone can be somebody else's by now, and a wall clock can be set back.
"""

from __future__ import annotations

import _thread
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

PROC = Path("/proc")

LOWEST = 19
"""The niceness of a process that waits for everybody else."""


def born(pid: int, proc: Path = PROC) -> str | None:
    """A word that is this process's own: the machine's start and the process's, counted in ticks since then.

    On Linux no clock is in it that a person could set: psutil's `create_time` moves with the wall clock there.
    None when there is no such process.
    """
    try:
        machine = (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
        fields = (proc / str(pid) / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        return f"{machine}:{fields[19]}"  # field 22 of proc(5), counted from the one after the name
    except FileNotFoundError:
        if (proc / "self").exists():
            return None
    except (OSError, IndexError):
        return None
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return None


def is_alive(pid: int | None, mark: str | None) -> bool:
    """Whether the process ``pid`` whose `born` was ``mark`` still works. A dead child stays a zombie until it is waited for."""
    try:
        return mark is not None and born(pid) == mark and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError):
        return False


def give_way(pid: int, proc: Path = PROC) -> None:
    """Let the process ``pid`` have what other processes leave of the cores: all when they are quiet, little when they work.

    Where Linux groups processes by session, niceness counts only within a session (sched(7), autogroup): a run has a
    session of its own, so the group must be made nice as well. A process that has ended, or a system that knows none
    of this, is passed over.
    """
    with suppress(psutil.Error):
        psutil.Process(pid).nice(LOWEST)
    with suppress(OSError):
        (proc / str(pid) / "autogroup").write_text(str(LOWEST), "ascii")


def end_with_parent() -> None:
    """Interrupt this process, as Ctrl-C does, when the one that started it with ``stdin=PIPE`` is gone, however it ended.

    Its `finally` blocks run, so that nothing half-made is left behind.
    """

    def listen() -> None:
        sys.stdin.buffer.read()  # returns when the other end of the pipe is closed, which the system does for the dead
        _thread.interrupt_main()

    threading.Thread(target=listen, daemon=True).start()
