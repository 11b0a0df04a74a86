"""The shipped demo run: the embedded base taught the drawn pets, and how much it learned.

python -m explorer demo --rebuild      # draw, fine-tune three epochs, keep it as checkpoints/demo
python -m explorer demo                # the share of attributes its captions have right, epoch by epoch
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from explorer import files
from explorer.data import dataset as datasets
from explorer.model import captions
from explorer.scoring import attributes
from explorer.train import methods, plan
from explorer.train.run import Run, RunConfig, by_kind
from explorer.workspace import Workspace

NAME = "demo"
RANK = 12
"""Of the LoRA matrices: three adapters and the pictures stay under 10 MB."""


def config(workspace: Workspace) -> RunConfig:
    """What the demo run is: the values advised for the embedded base, on the drawn pets."""
    size = plan.base_facts(workspace.base_folder(plan.DEFAULT_BASE)).size
    advice = methods.advise(size, cuda=False)
    return RunConfig(
        NAME,
        plan.DEFAULT_BASE,
        "scenes",
        epochs=3,
        method=advice.method,
        batch_size=advice.batch_size,
        learning_rate=advice.learning_rate,
        lora_rank=RANK,
    )


def rebuild(workspace: Workspace) -> Iterator[str]:
    """Make the demo run anew, from the drawing to the scores; yields lines to print, the last one how much it says as before."""
    from explorer.__main__ import progress_line
    from explorer.train import worker

    home = Workspace(workspace.shipped, workspace.shipped)
    folder = plan.scenes_folder(home)
    before = said(Run(home.root / NAME))
    shutil.rmtree(home.root / NAME, ignore_errors=True)
    run = plan.make_run(home, config(home), datasets.read(folder))
    for progress in worker.work(run, home):
        line = progress_line(progress)
        if line:
            yield line
    _keep_small(run, folder)
    yield from describe(home)
    yield alike(before, said(run))


def said(run: Run) -> dict[tuple[int, str], str]:
    """The caption of each (epoch, image) of a run; none where there is no such run."""
    if not (run.folder / "run.json").exists():
        return {}
    epochs = range(run.config.epochs + 1)
    return {(epoch, image): caption.text for epoch in epochs for image, caption in captions.read(run.caption_file(epoch)).items()}


def alike(before: dict[tuple[int, str], str], now: dict[tuple[int, str], str]) -> str:
    """How many captions of ``now`` are those of ``before``, in a sentence."""
    same = sum(before.get(place) == text for place, text in now.items())
    return (
        f"{same} of {len(now)} captions are those of the run it replaces" if before else f"{len(now)} captions; there was no run before it"
    )


def _keep_small(run: Run, folder: Path) -> None:
    """Keep what is looked at: the validation images beside the run, attribute scores in its log, no optimizer."""
    truths = truths_of(folder)
    rows = run.examples("validation")
    for row in rows:
        target = run.folder / "images" / Path(row["file"]).name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(row["path"], target)
        row["path"] = target.relative_to(run.folder).as_posix()
        row["attributes"] = truths[row["file"]]
    files.write_jsonl(run.folder / "examples.jsonl", rows)
    log = run.log()
    for row in by_kind(log, "epoch"):
        row["scores"]["attributes"] = attribute_accuracy(run, row["epoch"])
    files.write_jsonl(run.folder / "log.jsonl", log)
    for name in ("resume", ".lock", "output.txt"):
        path = run.folder / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def truths_of(folder: Path) -> dict[str, dict]:
    """The attributes of each drawn scene by its file name in the dataset."""
    found = {}
    for table in folder.rglob("metadata.jsonl"):
        for row in files.read_jsonl(table):
            found[(table.parent / row["file_name"]).relative_to(folder).as_posix()] = row["attributes"]
    return found


def attribute_accuracy(run: Run, epoch: int) -> dict[str, float]:
    """The share of validation captions that have each attribute right at an epoch (0: the base), 0 to 1."""
    known = captions.read(run.caption_file(epoch))
    rows = [row for row in run.examples("validation") if row["image_id"] in known]
    shares = attributes.accuracy([known[row["image_id"]].text for row in rows], [row["attributes"] for row in rows])
    tongues = [row for row in rows if row["attributes"]["mouth"] == "tongue"]
    if tongues:
        right = [attributes.read(known[row["image_id"]].text).mouth == "tongue" for row in tongues]
        shares["tongue"] = sum(right) / len(right)
    return {name: round(share, 4) for name, share in shares.items()}


def describe(workspace: Workspace) -> Iterator[str]:
    """A table of attribute accuracy by epoch, and what it is of."""
    run = Run(workspace.shipped / NAME)
    rows = run.examples("validation")
    yield f"share of {len(rows)} held-out drawn scenes whose caption has the attribute right ({run.config.method}, {run.config.base})"
    epochs = [0, *(checkpoint.epoch for checkpoint in run.checkpoints())]
    table = {epoch: attribute_accuracy(run, epoch) for epoch in epochs}
    yield "attribute  " + "".join(f"{'base' if not epoch else f'epoch {epoch}':>10}" for epoch in epochs)
    for name in table[0]:
        yield f"{name:<11}" + "".join(f"{table[epoch][name]:>10.0%}" for epoch in epochs)
