"""An image folder before a picture is opened: which files are meant, with which references, on which side.

    folder/
      metadata.jsonl | metadata.csv | metadata.parquet      file_name with text, caption or a list in captions
      photo.jpg ...                                         or: photo.txt beside photo.jpg, one reference a line
      train/  validation/                                   optional, each with its own table or sidecars

A table speaks for its folder and all below. What a table says of files elsewhere is told and never opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from explorer.data import tables
from explorer.data.images import SUFFIXES

MISSING_FILE, OUTSIDE, BAD_LINE, EMPTY = "missing file", "outside the folder", "bad line", "empty caption"

SPLITS = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("validation", "valid", "val", "test"), "validation")
"""Names of folders, and of splits elsewhere, by the side they mean."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file or line; ``left_out`` says whether it is missing from the examples."""

    file: str
    kind: str
    reason: str
    left_out: bool


@dataclass(frozen=True)
class Entry:
    """A file that should become an example. ``split``: the side its folder's name says, None when it says nothing."""

    path: Path
    file_name: str
    references: tuple[str, ...]
    split: str | None


def entries(root: Path, problems: list[Problem]) -> list[Entry]:
    """One entry a picture below ``root``, what is wrong added to ``problems``. Raises TableError."""
    pictures = _pictures(root)
    named = [entry for folder in tabled(root) for entry in _from_table(root, folder, problems)]
    known = {entry.path.resolve() for entry in named}
    others = (_entry(root, path, _sidecar(root, path, problems)) for path in pictures if path.resolve() not in known)
    return _merge([*named, *others])


def tabled(root: Path) -> Iterator[Path]:
    """The topmost folders that have a table."""
    for folder, names, _ in os.walk(root):
        names[:] = [] if tables.find(Path(folder)) else sorted(name for name in names if not _hidden(name))
        if tables.find(Path(folder)):
            yield Path(folder)


def _from_table(root: Path, folder: Path, problems: list[Problem]) -> Iterator[Entry]:
    path = tables.find(folder)
    table = tables.read(path)
    where = path.relative_to(root).as_posix()
    problems += [Problem(f"{where}, line {line}", BAD_LINE, f"line {line} {reason}", True) for line, reason in table.problems]
    for line, file, references in table.rows:
        target = named_path(folder, file)
        if not inside(target, root):
            problems.append(Problem(file, OUTSIDE, f"line {line} of {where} names a file outside the folder", True))
        elif not _is_file(target):
            problems.append(Problem(file, MISSING_FILE, f"line {line} of {where} names it, but there is no such file", True))
        else:
            yield _entry(root, target, tuple(references))
    for line, file in table.blanks:
        target = named_path(folder, file)
        if inside(target, root) and _is_file(target):
            shown = target.relative_to(root).as_posix()
            problems.append(Problem(shown, EMPTY, f"line {line} of {where} gives it an empty caption", False))


def named_path(folder: Path, file: str) -> Path:
    """Where a table's file name points; one written on Windows has backslashes."""
    return Path(os.path.normpath(folder / file.replace("\\", "/")))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False


def _entry(root: Path, path: Path, references: tuple[str, ...]) -> Entry:
    name = path.relative_to(root)
    side = next((SPLITS[part.lower()] for part in name.parts[:-1] if part.lower() in SPLITS), None)
    return Entry(path, name.as_posix(), references, side)


def _sidecar(root: Path, picture: Path, problems: list[Problem]) -> tuple[str, ...]:
    """The references in the .txt beside a picture, one a line."""
    path = picture.with_suffix(".txt")
    if not _is_file(path) or not inside(path, root):
        return ()
    where = path.relative_to(root).as_posix()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError):
        problems.append(Problem(where, BAD_LINE, "is not UTF-8 text: save it again as UTF-8", False))
        return ()
    found = tuple(" ".join(line.split()) for line in lines if line.strip())
    if not found:
        problems.append(Problem(picture.relative_to(root).as_posix(), EMPTY, f"{where} holds no words", False))
    return found


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _pictures(root: Path) -> list[Path]:
    """Picture files below ``root`` in a fixed order, hidden ones and links to elsewhere apart."""
    found = []
    for folder, names, here in os.walk(root):
        names[:] = sorted(name for name in names if not _hidden(name))
        paths = (Path(folder, name) for name in sorted(here) if not _hidden(name))
        found += [p for p in paths if p.suffix.lower() in SUFFIXES and _is_file(p) and inside(p, root)]
    return found


def inside(path: Path, root: Path) -> bool:
    """Whether ``path``, both as written and with links followed, lies in ``root``."""
    try:
        return path.is_relative_to(root) and path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _merge(found: list[Entry]) -> list[Entry]:
    """One entry a file: rows that repeat a file add their references."""
    merged: dict[Path, Entry] = {}
    for entry in found:
        known = merged.get(entry.path, entry)
        merged[entry.path] = replace(known, references=tuple(dict.fromkeys((*known.references, *entry.references))))
    return list(merged.values())
