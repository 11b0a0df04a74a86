"""Where a run begins: a base, or a checkpoint of another run, named run@epoch; a base of the Hub may be an adapter.

A run that begins from a checkpoint keeps what it began from in its folder ``start/``: start/1, start/2 ... are
checkpoints, each an adapter over those before it or a whole model. They are hard links where the disk allows it, so
they take no room, and the other run may be deleted.
"""

from __future__ import annotations

import os
import shutil
from functools import lru_cache
from pathlib import Path

from explorer import files
from explorer.data.hub_data import is_hub_id
from explorer.errors import UserError
from explorer.settings import SHIPPED

START = "start"
DEEPEST = 5
"""Adapters of adapters that are followed on the Hub: two that name each other would have no end."""


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

    The id or folder of a whole model is itself, with no adapters. Raises UserError for an adapter of the Hub that names
    no base to be found there.
    """
    folder = Path(base)
    if not (is_adapter(folder) or (folder / "1" / "checkpoint.json").exists()):
        return _unfold_hub(base)
    first, *rest = found = links(folder)
    if not is_adapter(first):
        return str(first), rest
    root, before = _unfold_hub(_base_of(first))
    return root, before + found


def _base_of(adapter: Path) -> str:
    root = (files.read_json(adapter / "adapter_config.json") or {}).get("base_model_name_or_path") or ""
    return str(SHIPPED / root) if root == "blip-mini" else root


def _unfold_hub(base: str) -> tuple[str, list[Path]]:
    """As `unfold`, for what is an adapter of the Hub or a whole model of anywhere."""
    found: list[Path] = []
    while is_hub_id(base) and not Path(base).exists() and (adapter := hub_adapter(base)):
        root = _base_of(adapter)
        # A stranger wrote that file: a folder it names is not opened.
        if not (is_hub_id(root) or root == str(SHIPPED / "blip-mini")) or len(found) == DEEPEST:
            raise UserError(f"The base {base!r} cannot be opened: it is an adapter, and names no base that is on the Hub.")
        base, found = root, [adapter, *found]
    return base, found


def hub_adapter(base: str) -> Path | None:
    """The folder with the LoRA adapter that a Hub id names; None for a whole model, or when the Hub does not say."""
    try:
        return _fetched(base)
    except Exception:  # no connection, no such repository, no right: whoever opens the base tells it
        return None


@lru_cache(maxsize=64)
def _fetched(base: str) -> Path | None:
    """As `hub_adapter`; what the Hub said is remembered, that it said nothing is not. Safetensors only."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    try:
        hf_hub_download(base, "adapter_config.json")
    except LocalEntryNotFoundError:
        raise
    except RemoteEntryNotFoundError:
        return None
    return Path(snapshot_download(base, allow_patterns=["adapter_config.json", "adapter_model.safetensors"]))


def keep(checkpoint: Path, start: Path) -> None:
    """Put what ``checkpoint`` is made of into ``start``."""
    for number, part in enumerate(links(checkpoint), 1):
        shutil.copytree(part, start / str(number), copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that has no hard links
        shutil.copy2(source, target)
