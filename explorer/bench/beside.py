"""The page while a run trains on the same cores: how long its handlers take, and captioning a photo."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles

from explorer.bench import Row, at_most
from explorer.bench.setting import PROJECT, Setting
from explorer.bench.training import default
from explorer.errors import UserError
from explorer.server import served
from explorer.train import worker
from explorer.train.run import Run

ROUNDS = 12


def rows(setting: Setting) -> Iterator[Row]:
    if not (setting.home / "default-5").is_dir():
        default(setting, 5)
    with served(PROJECT, setting.home) as address:
        quiet = handler_seconds(address), photo_seconds(setting)
        with training(setting):
            busy = handler_seconds(address), photo_seconds(setting)
    slow = [1000 * quantiles(seconds, n=20)[-1] for seconds in (quiet[0], busy[0])]
    measured = f"p95 {slow[1]:.0f} ms of {len(busy[0])} calls; idle {slow[0]:.0f} ms"
    yield at_most("beside", "the page's handlers while a run trains", measured, slow[1], 300, "ms")
    idle, loaded = (median(seconds) for _, seconds in (quiet, busy))
    measured = f"{idle:.2f} s idle, {loaded:.2f} s while a run trains"
    yield at_most("beside", "captioning a photo in all columns", measured, loaded / idle, 3, "times as long as idle")


@contextmanager
def training(setting: Setting) -> Iterator[None]:
    """A run of the default method that learns as long as the block lasts, started as the page starts it."""
    setting.run("long_run", home=str(setting.home), base=setting.model(), data=str(setting.pictures(5)), name="beside")
    run = Run(setting.home / "beside")
    worker.start(run, setting.workspace)
    try:
        while (status := run.status()).state == "running" and status.step < 1:
            time.sleep(0.5)
        if status.state != "running":
            raise UserError(f"The bench's run did not train: {status.text}.")
        yield
    finally:
        run.request_stop()
        while run.status().state == "running":
            time.sleep(0.5)


def photo_seconds(setting: Setting) -> list[float]:
    images = [str(path) for path in sorted((setting.pictures(5) / "train").glob("*.png"))][:5]
    return setting.run("photos", home=str(setting.home), run="default-5", images=images, tokens=setting.tokens)["seconds"]


def handler_seconds(address: str) -> list[float]:
    """Seconds of each handler that a page calls when it is opened and while it is watched, several times over."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as reply:
        config = json.load(reply)
    values = {part["id"]: part.get("props", {}).get("value") for part in config["components"]}
    events = {"load", "tick"}
    called = [d for d in config["dependencies"] if any(event in events for _, event in d["targets"])]
    for dependency in called:  # the first call of each fills caches, as the first visitor's does
        call(address, dependency, values)
    seconds = []
    for _ in range(ROUNDS):
        for dependency in called:
            started = time.perf_counter()
            call(address, dependency, values)
            seconds.append(time.perf_counter() - started)
    return seconds


def call(address: str, dependency: dict, values: dict) -> None:
    """One event as a browser sends it, through the queue; returns when its answer is complete."""
    session = uuid.uuid4().hex
    body = {"data": [values.get(part) for part in dependency["inputs"]], "fn_index": dependency["id"], "session_hash": session}
    request = urllib.request.Request(
        f"{address}/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=120).read()
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=120) as events:
        for line in events:
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                if not message.get("success"):
                    raise UserError(f"A handler of the page failed in the bench: {message.get('output')}.")
                return
