"""The page under load: simulated visitors compare and flag on a copy of the demo while a real fine-tune runs beside them.

python -m explorer load --visitors 50 --minutes 5
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from explorer.errors import UserError
from explorer.flag.flags import FlagStore
from explorer.load.visitor import Answer, Visitor
from explorer.server import Address, served
from explorer.settings import SHIPPED
from explorer.train import run as runs
from explorer.train import worker
from explorer.train.run import Run
from explorer.workspace import Workspace

SLOWEST = 1.0
"""Seconds that 95 of 100 answers are to take at most."""
GROWTH = 0.05
"""How much more of the memory it had when half of the time was over the server may hold at the end."""
STARTING = 60.0
"""Seconds to wait for the first step of the fine-tune."""
ARRIVAL = 10.0
"""Seconds within which all visitors come, or a tenth of the time if that is less."""


def measure(visitors: int, minutes: float, say: Callable[[str], None] = print) -> dict:
    """Serve a copy of the demo, fine-tune blip-mini beside it, let the visitors in; what was seen, as `report` tells it."""
    if visitors < 1 or minutes <= 0:
        raise UserError("A load needs 1 visitor and some time at least: give --visitors and --minutes above 0.")
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        workspace = Workspace(Path(folder) / "home")
        shutil.copytree(SHIPPED / "demo", workspace.root / "demo")
        with served(SHIPPED.parent, workspace.root, EXPLORER_PUBLIC="") as address, training(workspace) as run:
            say(f"{visitors} visitors for {minutes:g} minutes at {address}, while {run.name} trains")
            answers, memory, before = [], [], run.status().step
            asyncio.run(_crowd(address, visitors, minutes * 60, answers.append, memory.append))
            steps = run.status().step - before
        flags = len(FlagStore(workspace).list())
    return {**summary(answers, memory), "visitors": visitors, "minutes": minutes, "steps": steps, "flags_kept": flags}


@contextmanager
def training(workspace: Workspace) -> Iterator[Run]:
    """A fine-tune of blip-mini on the demo's images that goes on for as long as it is looked at."""
    demo = Run(SHIPPED / "demo")
    rows = [{**row, "path": str(demo.folder / row["path"])} for row in demo.examples()]
    examples = [{**row, "split": "validation" if place % 5 == 0 else "train"} for place, row in enumerate(rows)]
    run = runs.create(workspace.root / "under-load", replace(demo.config, name="under-load", epochs=1000), examples)
    child = psutil.Process(worker.start(run, workspace))
    try:
        _wait_for_steps(run)
        yield run
    finally:
        child.kill()  # nobody needs what it has learned
        child.wait(20)


def _wait_for_steps(run: Run) -> None:
    """Return when it trains. On a machine that has no time for it, it is left to come to it: its steps are counted and told."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end and not run.status().step:
        if run.status().state != "running":
            raise UserError(f"The fine-tune beside the load did not start: {run.status().text}")
        time.sleep(0.25)


async def _crowd(address: Address, visitors: int, seconds: float, told: Callable[[Answer], None], weighed: Callable[[float], None]) -> None:
    began = time.monotonic()
    arrival = min(ARRIVAL, seconds / 10)

    async def come(number: int) -> None:
        await asyncio.sleep(arrival * number / visitors)
        await Visitor(address, told, number).visit(began + seconds)

    weighing = asyncio.create_task(_weigh(address.pid, weighed, max(0.25, seconds / 300)))
    await asyncio.gather(*(come(number) for number in range(visitors)))
    if weighing.done():
        weighing.result()
    weighing.cancel()


async def _weigh(pid: int, weighed: Callable[[float], None], every: float) -> None:
    """The server's memory again and again, in MB; the fine-tune is another process and is not counted."""
    process = psutil.Process(pid)
    while True:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise UserError("The server ended while it was being measured.")
        weighed(process.memory_info().rss / 1e6)
        await asyncio.sleep(every)


# --- what it comes to -------------------------------------------------------------------------------------


def summary(answers: list[Answer], memory: list[float]) -> dict:
    """Counts, errors, times in seconds by what was done, and memory in MB: early, at half time, at the end."""
    done = [answer for answer in answers if answer.what != "timer"]
    kinds = {what: [a for a in answers if a.what == what] for what in dict.fromkeys(a.what for a in answers)}
    tenth = max(1, len(memory) // 10)
    weight = {
        "early": float(np.median(memory[tenth : 2 * tenth] or memory)),
        "half": float(np.median(memory[len(memory) // 2 - tenth // 2 : len(memory) // 2 + tenth])),
        "end": float(np.median(memory[-tenth:])),
    }
    return {
        "actions": len(done),
        "errors": [f"{a.what}: {a.error}" for a in answers if a.error],
        **times(done),
        "by_action": {what: {"count": len(found), **times(found)} for what, found in kinds.items()},
        "memory_mb": weight,
    }


def times(answers: list[Answer]) -> dict:
    seconds = [answer.seconds for answer in answers] or [float("nan")]
    return {name: round(float(np.percentile(seconds, share)), 4) for name, share in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))}


def report(found: dict) -> Iterator[str]:
    """What `measure` found as lines to read, the goals last."""
    yield f"{'action':20}{'count':>7}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}   seconds"
    rows = {**found["by_action"], "all but the timer": {"count": found["actions"], **{n: found[n] for n in ("p50", "p95", "p99", "max")}}}
    for what, row in rows.items():
        yield f"{what:20}{row['count']:7d}{row['p50']:9.3f}{row['p95']:9.3f}{row['p99']:9.3f}{row['max']:9.3f}"
    weight = found["memory_mb"]
    yield f"flags kept: {found['flags_kept']}"
    for error in list(dict.fromkeys(found["errors"]))[:5]:
        yield f"error: {error}"
    yield f"a fine-tune runs beside: {found['steps']} steps meanwhile: {_reached(found['steps'] > 0)}"
    yield f"no errors: {len(found['errors'])} of {found['actions']} actions failed: {_reached(not found['errors'])}"
    yield f"p95 under {SLOWEST:g} s: {found['p95']:.3f} s: {_reached(found['p95'] < SLOWEST)}"
    grown = weight["end"] / weight["half"] - 1
    told = f"{weight['early']:.0f} MB early, {weight['half']:.0f} MB at half time, {weight['end']:.0f} MB at the end ({grown:+.1%})"
    yield f"memory flat: {told}: {_reached(grown < GROWTH)}"


def _reached(good: bool) -> str:
    return "reached" if good else "NOT reached"
