"""What of a workspace is kept elsewhere besides its flags: runs that have come to an end, and the datasets they stand on.

Kept are runs with a checkpoint that nobody is training, relabelled versions, and the datasets of kept runs (their
pictures are what Compare shows). What can be made again is not: caches, the drawn pets, the shipped demo.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from explorer import files
from explorer.flag import relabel
from explorer.train.run import Run
from explorer.workspace import Workspace

KINDS = ("datasets", "runs")
"""In the order they come back: a run looks for its pictures."""

PASSING = {"stop", "output.txt"}
NAMING = {"run.json", "examples.jsonl", relabel.MANIFEST}
"""Files that name folders of the workspace they were made in."""


@dataclass(frozen=True)
class Thing:
    kind: str
    name: str
    folder: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """Its files by relative name: none hidden, no link, nothing that passes."""
        found = {}
        for here, names, here_files in os.walk(self.folder):
            names[:] = sorted(name for name in names if not name.startswith("."))
            for path in (Path(here, name) for name in sorted(here_files) if not name.startswith(".")):
                if path.is_file() and not path.is_symlink():
                    found[path.relative_to(self.folder).as_posix()] = path
        return {name: path for name, path in found.items() if self.kind == "datasets" or name not in PASSING}

    @cached_property
    def stamp(self) -> str:
        """Changes with any of its files."""
        looks = [(name, (look := path.stat()).st_size, look.st_mtime_ns) for name, path in self.files.items()]
        return _digest(looks)

    @cached_property
    def identity(self) -> str:
        """The same on every machine that has it: when a run was made; what a dataset is called and holds."""
        if self.kind == "runs":
            return _digest((files.read_json(self.folder / "run.json") or {}).get("created"))
        return _digest([(name, path.stat().st_size) for name, path in self.files.items() if name not in NAMING])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def folder_of(workspace: Workspace, kind: str, name: str) -> Path:
    return workspace.datasets / name if kind == "datasets" else workspace.root / name


def find(workspace: Workspace) -> Iterator[Thing]:
    """What is to be kept now, the datasets first."""
    runs = [Run(marker.parent) for marker in sorted(workspace.root.glob("*/run.json"))]
    runs = [run for run in runs if not run.name.startswith(".") and (workspace.root != workspace.shipped or run.name != "demo")]
    used = {dataset_of(run.folder) for run in runs}
    for folder in sorted(workspace.datasets.glob("*")):
        if folder.name == "scenes" or folder.name.startswith(".") or not folder.is_dir():
            continue
        if folder.name in used or (folder / relabel.MANIFEST).exists():
            yield Thing("datasets", folder.name, folder)
    for run in runs:
        if run.checkpoints() and run.status().state not in ("running", "waiting"):
            yield Thing("runs", run.name, run.folder)


def dataset_of(run: Path) -> str:
    """The name of the dataset's folder a run stands on."""
    config = (files.read_json(run / "run.json") or {}).get("config", {})
    return Path(config.get("dataset", "")).name


def move_in(folder: Path, moves: Iterable[tuple[str, str]]) -> None:
    """Let the files that name folders of another workspace name those of this one. ``moves``: (there, here), the deeper first."""
    for name in NAMING:
        path = folder / name
        if not path.exists():
            continue
        text = path.read_text("utf-8")
        for there, here in moves:
            before, after = (json.dumps(each, ensure_ascii=False)[1:-1] for each in (there, here))
            text = text.replace(f'"{before}/', f'"{after}/').replace(f'"{before}"', f'"{after}"')
        files.write_text(path, text)
