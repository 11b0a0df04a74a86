"""The loop's last step: which dataset flags are of, and the run that learns from its relabelled version as the flagged one did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from explorer.data import dataset as datasets
from explorer.data.dataset import Dataset
from explorer.errors import UserError
from explorer.flag import relabel
from explorer.flag.flags import Flag
from explorer.train import plan
from explorer.train.run import Run, RunConfig
from explorer.workspace import Workspace, free_name


def flagged_run(workspace: Workspace, flags: Iterable[Flag]) -> Run | None:
    """The run most of the corrected, open flags are of; None when none of their runs is there."""
    counts = Counter(flag.run for flag in flags if flag.corrected_caption and flag.status == "open")
    for name, _ in counts.most_common():
        run = _run(workspace, name)
        if run:
            return run
    return None


def flagged_datasets(workspace: Workspace, flags: Iterable[Flag]) -> list[Path]:
    """The datasets that corrected, open flags are of, each in its newest version; the most flagged first."""
    counts = Counter(flag.run for flag in flags if flag.corrected_caption and flag.status == "open")
    found: dict[Path, None] = {}
    for name, _ in counts.most_common():
        run = _run(workspace, name)
        folder = _folder(workspace, run.config.dataset) if run else None
        if folder:
            found[relabel.newest_version(folder, workspace)] = None
    return list(found)


def read(folder: Path, workspace: Workspace, max_images: int = 20_000) -> Dataset:
    return datasets.read(folder, max_images=max_images, cache=workspace.cache)


def config(workspace: Workspace, run: Run, folder: Path) -> RunConfig:
    """``run``'s own values on another version of its dataset: the same seed, so the same images on either side."""
    taken = {path.name for path in workspace.run_folders()}
    stem = run.name.split("-on-")[0]
    return replace(run.config, name=free_name(f"{stem}-on-{folder.name}", taken), dataset=str(folder)).check()


def make(workspace: Workspace, run: Run, folder: Path) -> Run:
    """The new run's folder, ready to start. Raises UserError."""
    chosen = config(workspace, run, folder)
    return plan.make_run(workspace, chosen, read(folder, workspace))


def _run(workspace: Workspace, name: str) -> Run | None:
    try:
        run = Run(workspace.run_folder(name))
        run.config  # noqa: B018 - one that cannot be read is none
    except UserError:
        return None
    return run


def _folder(workspace: Workspace, dataset: str) -> Path | None:
    """The image folder a run learned from; the drawn pets are drawn again when they are not there."""
    if dataset == "scenes":
        return plan.scenes_folder(workspace)
    path = Path(dataset)
    return path if path.is_dir() else None
