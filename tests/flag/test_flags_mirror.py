"""flags.csv: whole whenever it is looked at, current whenever it is asked for, and nobody's edits are written over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from test_flags import as_pandas, flag

from explorer.errors import UserError
from explorer.flag import flags_mirror
from explorer.flag.flags import COLUMNS, REASONS, FlagStore

PROCESSES, EACH = (8, 500) if os.environ.get("EXPLORER_LONG_TESTS") else (8, 40)

FLAGGER = """
import sys
from pathlib import Path
from explorer.flag import flags_mirror
from explorer.flag.flags import FlagStore
from explorer.workspace import Workspace
flags_mirror.AT_ONCE = int(sys.argv[4])
store = FlagStore(Workspace(Path(sys.argv[1])))
for number in range(int(sys.argv[3])):
    flag = store.flag("pets", "epoch-1", f"{sys.argv[2]}-{number}", "a.png", ["x"], f"caption {number}", "other")
    print(flag.flag_id, flush=True)
"""


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


@pytest.fixture
def large(store, monkeypatch):
    """A store beyond the size up to which its CSV is written at once."""
    monkeypatch.setattr(flags_mirror, "AT_ONCE", 2)
    for number in range(4):
        flag(store, image=f"i{number}")
    return store


def flagger(workspace, name: str, count: int) -> subprocess.Popen:
    at_once = EACH * PROCESSES // 4  # so that both ways to write the CSV are taken
    command = [sys.executable, "-c", FLAGGER, str(workspace.root), name, str(count), str(at_once)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_of_eight_processes_with_one_killed_every_acknowledged_flag_is_kept_once(workspace, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    counts = [1000 * EACH] + [EACH] * (PROCESSES - 1)  # the first is still at work whenever it is killed
    workers = [flagger(workspace, str(number), count) for number, count in enumerate(counts)]
    told: list[list[str]] = [[] for _ in workers]
    listeners = [
        threading.Thread(target=lambda w=worker, t=lines: t.extend(line.strip() for line in w.stdout))
        for worker, lines in zip(workers, told, strict=True)
    ]
    for listener in listeners:
        listener.start()
    killed = False
    while any(worker.poll() is None for worker in workers):  # the CSV is whole whenever it is looked at
        if workspace.flags_csv.exists():
            rows = as_pandas(workspace)
            assert all(set(row) == set(COLUMNS) and row["reason"] in REASONS for row in rows)
        if not killed and len(told[0]) >= EACH // 5:
            workers[0].send_signal(signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    for listener in listeners:
        listener.join()
    assert killed and [worker.returncode for worker in workers] == [-9] + [0] * (PROCESSES - 1)
    acknowledged = [identity for lines in told for identity in lines if len(identity) == 12]
    store = FlagStore(workspace)
    store.settle()
    kept = Counter(row["flag_id"] for row in as_pandas(workspace))
    assert set(acknowledged) <= set(kept) and set(kept.values()) == {1}
    assert len(acknowledged) >= (PROCESSES - 1) * EACH
    assert list(kept) == [f.flag_id for f in store.list()]


def test_a_large_csv_follows_within_a_moment_and_settle_waits_for_it(large, workspace):
    large.settle()
    assert as_pandas(workspace) == [f.row() for f in large.list()]
    for number in range(20):
        flag(large, image=f"more {number}")
    large.settle()
    assert as_pandas(workspace) == [f.row() for f in large.list()] and len(large.list()) == 24
    flag(large, image="last")
    deadline = time.monotonic() + 10
    while len(as_pandas(workspace)) < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert as_pandas(workspace) == [f.row() for f in large.list()]


def test_a_csv_that_a_killed_process_left_behind_is_caught_up_at_the_next_start(large, workspace, monkeypatch):
    large.settle()
    monkeypatch.setattr(large.mirror, "wake", lambda: None)  # as if the process died before the CSV followed
    flag(large, image="late")
    assert len(as_pandas(workspace)) == 4
    flags_mirror.of.cache_clear()
    again = FlagStore(workspace)
    again.list()
    again.settle()
    assert as_pandas(workspace) == [f.row() for f in again.list()] and len(again.list()) == 5


def test_a_lost_csv_is_written_again_at_the_next_start(store, workspace):
    kept = flag(store)
    workspace.flags_csv.unlink()
    flags_mirror.of.cache_clear()
    assert FlagStore(workspace).list() == [kept] and as_pandas(workspace) == [kept.row()]


def test_a_csv_edited_in_place_is_kept_aside(store, workspace):
    flag(store)
    workspace.flags_csv.write_text("my own edits")
    flag(store, image="i2")
    assert len(as_pandas(workspace)) == 2
    assert (workspace.root / "flags.edited-1.csv").read_text() == "my own edits"
    workspace.flags_csv.write_text("and more")
    flag(store, image="i3")
    assert (workspace.root / "flags.edited-2.csv").read_text() == "and more"


def test_a_csv_without_room_is_an_error_before_anything_is_acknowledged(large, workspace, monkeypatch):
    large.settle()
    before = large.list()
    monkeypatch.setattr(flags_mirror, "SPARE", 10**18)  # more than any disk has
    with pytest.raises(UserError, match="flags.csv cannot be written .*disk is full"):
        flag(large, image="too much")
    monkeypatch.setattr(flags_mirror, "SPARE", 0)
    assert large.list() == before
    flag(large, image="fits again")
    assert len(large.list()) == len(before) + 1


FULL = """
import resource, signal, sys
from pathlib import Path
from explorer.errors import UserError
from explorer.flag.flags import FlagStore
from explorer.workspace import Workspace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
store = FlagStore(Workspace(Path(sys.argv[1])))
for number in range(400):
    try:
        print(store.flag("pets", "epoch-1", f"i{number}", "a.png", ["x"], "caption", "other", note="x" * 3000).flag_id, flush=True)
    except UserError as error:
        print("error:", error)
        break
"""


@pytest.mark.parametrize("limit", [300_000, 900_000])
def test_where_the_system_writes_no_more_every_acknowledged_flag_is_there(workspace, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(workspace.root), str(limit)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    *acknowledged, last = done.stdout.strip().splitlines()
    assert last.startswith("error: The flag was not kept"), done.stderr[-500:]
    store = FlagStore(workspace)
    assert acknowledged == [f.flag_id for f in store.list()] and acknowledged
    store.settle()
    assert list(pd.read_csv(workspace.flags_csv)["flag_id"]) == acknowledged
