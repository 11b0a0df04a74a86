"""The first minute of a newcomer: the demo's fine-tune started as the page starts it, and a photo in all its columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from explorer import demo
from explorer.bench import Row, at_most
from explorer.bench.setting import Setting
from explorer.data import dataset
from explorer.errors import UserError
from explorer.train import plan, worker
from explorer.train.run import Run
from explorer.workspace import Workspace

SECONDS, PHOTO = 90, 0.5
PHOTOS = 12


def rows(setting: Setting) -> Iterator[Row]:
    run, seconds = finetuned(setting)
    examples = len(run.examples("train"))
    work = f"{run.config.epochs} epochs over {examples} drawn scenes, from the start to the last scores"
    yield at_most("demo", work, f"{seconds:.1f} s", seconds, SECONDS, "s")
    images = [str(run.folder / row["path"]) for row in run.examples("validation")[:PHOTOS]]
    found = setting.run("photos", home=str(setting.home), run=run.name, images=images, tokens=run.config.decoding.max_tokens)
    slow, usual = max(found["seconds"]), median(found["seconds"])
    work = f"captioning a photo by base and {run.config.epochs} epochs, the slowest of {len(images)}"
    yield at_most("demo", work, f"{slow:.2f} s, median {usual:.2f}", slow, PHOTO, "s")


def finetuned(setting: Setting) -> tuple[Run, float]:
    """(the demo's run made anew in the bench's workspace, seconds from its start to its end, the process's own included)."""
    home = Workspace(setting.home)
    config = replace(demo.config(home), base=setting.base or plan.DEFAULT_BASE)
    run = plan.make_run(home, config, dataset.read(plan.scenes_folder(home)))
    started = time.perf_counter()
    worker.start(run, home)
    while (status := run.status()).state in ("waiting", "running"):
        time.sleep(0.1)
    if status.state != "finished":
        raise UserError(f"The bench's run did not finish: {status.text}.")
    return run, time.perf_counter() - started
