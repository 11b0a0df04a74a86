"""Photos a person dropped on Compare and kept: rows of the table without references.

<home>/photos/
  photos.jsonl      image_id, file of each kept photo, in the order they came
  <image_id>.jpg    the photo as it was dropped

A photo taken out of the table keeps its file, so that it can be put back.
"""

from __future__ import annotations

import threading
from pathlib import Path

from explorer import files
from explorer.data.images import SUFFIXES, image_id, open_image
from explorer.workspace import Workspace

LOCK = threading.Lock()


def listed(workspace: Workspace) -> list[dict]:
    """The kept photos as rows: image_id, file, path, references ()."""
    return [_row(workspace, row) for row in files.read_jsonl(_list(workspace)) if not row.get("out")]


def stamp(workspace: Workspace) -> int:
    """A number that changes when the list does."""
    return _list(workspace).stat().st_mtime_ns if _list(workspace).exists() else 0


def row_of(path: Path) -> dict:
    """The row of a photo where it lies, without references. Raises ImageError when it is no picture."""
    open_image(path)
    return {"image_id": image_id(path), "file": path.name, "path": str(path), "references": [], "split": "photo"}


def bring(workspace: Workspace, path: Path, name: str = "") -> dict:
    """Copy the photo into the workspace's cache; its row, under ``name`` when it has another. In the table only after `keep`.

    Raises ImageError when it is no picture.
    """
    row = row_of(path)
    suffix = path.suffix.lower() if path.suffix.lower() in SUFFIXES else ".png"
    place = workspace.cache / "photos" / f"{row['image_id']}{suffix}"
    _copy(path, place)
    return {**row, "file": name or row["file"], "path": str(place)}


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        files.write_bytes(target, source.read_bytes())


def keep(workspace: Workspace, photo: dict) -> None:
    """Make a photo of `bring` a row of the table; once."""
    _copy(Path(photo["path"]), workspace.photos / Path(photo["path"]).name)
    with LOCK:
        rows = [row for row in files.read_jsonl(_list(workspace)) if row["image_id"] != photo["image_id"]]
        new = {"image_id": photo["image_id"], "file": photo["file"], "stored": Path(photo["path"]).name}
        files.write_jsonl(_list(workspace), [*rows, new])


def take_out(workspace: Workspace, image: str) -> None:
    _mark(workspace, image, True)


def put_back(workspace: Workspace, image: str) -> None:
    """Undo `take_out`."""
    _mark(workspace, image, False)


def _mark(workspace: Workspace, image: str, out: bool) -> None:
    with LOCK:
        rows = files.read_jsonl(_list(workspace))
        files.write_jsonl(_list(workspace), [{**row, "out": out} if row["image_id"] == image else row for row in rows])


def _list(workspace: Workspace) -> Path:
    return workspace.photos / "photos.jsonl"


def _row(workspace: Workspace, row: dict) -> dict:
    path = workspace.photos / Path(row["stored"]).name
    return {"image_id": row["image_id"], "file": row["file"], "path": str(path), "references": [], "split": "photo"}
