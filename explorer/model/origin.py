"""Where a run begins: a base, or a checkpoint of another run, named run@epoch.

A run that begins from a checkpoint keeps what it began from in its folder ``start/``: start/1, start/2 ... are
checkpoints, each an adapter over those before it or a whole model. They are hard links where the disk allows it, so
they take no room, and the other run may be deleted.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from explorer import files
from explorer.settings import SHIPPED

START = "start"


def links(folder: Path) -> list[Path]:
    """The checkpoints that make up ``folder`` (a run's start/, or a checkpoint), beginning with the last whole model if any."""
    if folder.name == START:
        found = sorted((part for part in folder.iterdir() if part.name.isdigit()), key=lambda part: int(part.name))
    else:
        before = folder.parent / START
        found = [*(links(before) if before.is_dir() else []), folder]
    whole = [place for place, part in enumerate(found) if not is_adapter(part)]
    return found[whole[-1] :] if whole else found


def is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").exists()


def unfold(base: str) -> tuple[str, list[Path]]:
    """(what to open first, adapters to merge into it in turn) for a base that may be made of checkpoints.

    A Hub id or the folder of a whole model is itself, with no adapters.
    """
    folder = Path(base)
    if not (is_adapter(folder) or (folder / "1" / "checkpoint.json").exists()):
        return base, []
    first, *rest = found = links(folder)
    if not is_adapter(first):
        return str(first), rest
    root = (files.read_json(first / "adapter_config.json") or {}).get("base_model_name_or_path") or ""
    return (str(SHIPPED / root) if root == "blip-mini" else root), found


def keep(checkpoint: Path, start: Path) -> None:
    """Put what ``checkpoint`` is made of into ``start``."""
    for number, part in enumerate(links(checkpoint), 1):
        shutil.copytree(part, start / str(number), copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that has no hard links
        shutil.copy2(source, target)
