"""How fast the flags are, and whether any is lost: measured on this machine, in a folder of its own.

python -m explorer flags --bench
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from explorer.flag import flags_csv
from explorer.flag.flags import Choice, Flag, FlagStore, flag_id, now
from explorer.workspace import Workspace

COUNT, NEW = 100_000, 50
PROCESSES, EACH = 8, 500
FLAGGER = """
import sys
from pathlib import Path
from explorer.flag.flags import FlagStore
from explorer.workspace import Workspace
store = FlagStore(Workspace(Path(sys.argv[1])))
for number in range(int(sys.argv[3])):
    print(store.flag("run", "epoch-1", f"{sys.argv[2]}-{number}", "a.png", ["x"], f"caption {number}").flag_id, flush=True)
"""


def measure(count: int = COUNT) -> Iterator[str]:
    """Lines to print: the times of a store of ``count`` flags, then what several processes leave behind."""
    with tempfile.TemporaryDirectory() as folder:
        yield from times(Workspace(Path(folder)), count)
    with tempfile.TemporaryDirectory() as folder:
        yield from together(Workspace(Path(folder)))


def times(workspace: Workspace, count: int) -> Iterator[str]:
    FlagStore(workspace).put_all(drawn(count), f"{count} flags")
    FlagStore(workspace).settle()
    began = time.perf_counter()
    opened = [sys.executable, "-c", OPEN, str(workspace.root)]
    inside = float(subprocess.run(opened, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout)
    yield f"open a store of {count:,} flags, count them and read the first 50: {inside * 1000:.0f} ms (a new process: {time.perf_counter() - began:.2f} s)"
    store, taken = FlagStore(workspace), []
    for number in range(NEW):
        began = time.perf_counter()
        store.flag("run", "epoch-1", f"new {number}", "a.png", ["a dog"], "a cat")
        taken.append((time.perf_counter() - began) * 1000)
    yield f"take a new flag: {statistics.median(taken):.1f} ms in the middle of {NEW}, {max(taken):.1f} ms at most"
    began = time.perf_counter()
    store.settle()
    yield f"flags.csv shows them all {time.perf_counter() - began:.2f} s after the last; it is {workspace.flags_csv.stat().st_size / 1e6:.0f} MB"
    began = time.perf_counter()
    found = store.find(Choice(search="ball 012345"), limit=50)
    yield f"search two words: {(time.perf_counter() - began) * 1000:.0f} ms, {len(found)} found"
    began = time.perf_counter()
    found = flags_csv.read(store, workspace.flags_csv)
    yield f"compare an edited CSV of that size with the store: {time.perf_counter() - began:.1f} s, {len(found.changes)} changes"


OPEN = """
import sys, time
from pathlib import Path
from explorer.flag.flags import FlagStore
from explorer.workspace import Workspace
began = time.perf_counter()
store = FlagStore(Workspace(Path(sys.argv[1])))
store.counts(), store.reviewed(), store.find(limit=50, newest_first=True)
print(time.perf_counter() - began)
"""


def drawn(count: int) -> Iterator[Flag]:
    references = ("a white dog runs on the grass with its tongue out", "a dog runs on the lawn")
    for number in range(count):
        place = ("run", f"epoch-{number % 3 + 1}", f"{number:016x}", f"train/{number:06}.jpg")
        caption, stamp = "a white dog runs on the grass with a ball in its mouth", now()
        yield Flag(flag_id(*place[:3], caption), stamp, stamp, *place, references, caption, "wrong object", "", "", "open", "")


def together(workspace: Workspace) -> Iterator[str]:
    """Several processes flag at once, one of them is killed; what was acknowledged, and what is there."""
    began = time.perf_counter()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", FLAGGER, str(workspace.root), str(number), str(EACH)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(PROCESSES)
    ]
    told: list[list[str]] = [[] for _ in workers]
    threads = [threading.Thread(target=lambda w=w, t=t: t.extend(w.stdout)) for w, t in zip(workers, told, strict=True)]
    for thread in threads:
        thread.start()
    while len(told[0]) < EACH // 4:
        time.sleep(0.01)
    os.kill(workers[0].pid, signal.SIGKILL)
    for thread, worker in zip(threads, workers, strict=True):
        thread.join()
        worker.wait()
    acknowledged = [line.strip() for lines in told for line in lines if line.endswith("\n")]
    store = FlagStore(workspace)
    store.settle()
    kept = [flag.flag_id for flag in store.list()]
    in_csv = flags_csv.read(store, workspace.flags_csv)
    lost, twice = len(set(acknowledged) - set(kept)), len(kept) - len(set(kept))
    yield (
        f"{PROCESSES} processes x {EACH} flags, one killed after {len(told[0])}: {len(acknowledged)} acknowledged, {lost} lost, {twice} twice; "
        f"flags.csv has {in_csv.unchanged} of {len(kept)} as they are ({time.perf_counter() - began:.0f} s)"
    )
