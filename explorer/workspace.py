"""Workspace: where datasets, runs, caches and flags live. Names only; what is in them is their modules' business.

<home>/
  <run>/            one folder a run (see run.py); shipped ones are read from the project's checkpoints/
  datasets/<name>/  image folders with metadata.jsonl
  photos/           photos dropped on Compare and kept in its table
  flags.db          the store behind flags.csv
  flags.csv         always complete and current
  cache/            thumbnails, vision features, captions of odd columns; safe to delete
  people/<name>/    the same again for an owner of a public page who works in private
  trash/            deleted runs, until they are restored or the trash is emptied
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import UserError
from explorer.settings import SHIPPED

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
CHECKPOINT = re.compile(rf"({NAME.pattern})@(\d+)")
"""A checkpoint as a base: run@epoch."""
RESERVED = {"datasets", "photos", "cache", "people", "trash", "flags.db", "flags.csv", "blip-mini"}


def check_name(name: str) -> str:
    """``name`` unchanged when it can be a folder of the workspace; else UserError."""
    if not NAME.fullmatch(name or "") or name.endswith(".part"):
        raise UserError(
            f"The name {name!r} cannot be used: take letters, digits, dots, dashes and underscores, "
            "starting with a letter or digit, at most 80."
        )
    if name.lower() in RESERVED:
        raise UserError(f"The name {name!r} is taken by the workspace itself: choose another.")
    return name


def free_name(wish: str, taken: set[str]) -> str:
    """A folder name made from ``wish``, with -2, -3 ... added until it is not in ``taken``."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-._")[:60] or "unnamed"
    taken = taken | RESERVED
    name, count = stem, 2
    while name in taken:
        name, count = f"{stem}-{count}", count + 1
    return name


@dataclass(frozen=True)
class Workspace:
    root: Path
    shipped: Path = SHIPPED

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    def private_room(self, name: str) -> Workspace:
        """The workspace in which the person ``name`` works unseen. Raises UserError when it cannot be a folder."""
        return Workspace(self.root / "people" / check_name(name).lower(), self.shipped)

    @property
    def flags_csv(self) -> Path:
        return self.root / "flags.csv"

    @property
    def flags_db(self) -> Path:
        return self.root / "flags.db"

    def run_folders(self) -> list[Path]:
        """Folders that hold a run: this workspace's, then the shipped ones it does not shadow."""
        found: dict[str, Path] = {}
        for home in (self.root, self.shipped):
            for marker in sorted(home.glob("*/run.json")):
                found.setdefault(marker.parent.name, marker.parent)
        return list(found.values())

    def run_folder(self, name: str) -> Path:
        """The folder of run ``name``; the place it would have when there is none yet."""
        check_name(name)
        for home in (self.root, self.shipped):
            if (home / name / "run.json").exists():
                return home / name
        return self.root / name

    def base_folder(self, base: str) -> str:
        """``base`` as a loadable name: the embedded base by its short name, a checkpoint by run@epoch, else unchanged.

        Raises UserError when the run has no such checkpoint.
        """
        named = CHECKPOINT.fullmatch(base)
        if named is None:
            return str(self.shipped / base) if base == "blip-mini" else base
        folder = self.run_folder(named[1]) / f"epoch-{int(named[2])}"
        if not (folder / "checkpoint.json").exists():
            raise UserError(f"The base {base!r} cannot be opened: the run {named[1]!r} has no checkpoint of epoch {named[2]}.")
        return str(folder)
