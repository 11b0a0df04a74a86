"""Rows that two machines changed apart, put together again by their id: what either of them acknowledged stays.

Each side is compared with what both had last. A row changed on one side is that side's; changed on both, the later one's.
A row taken away on one side goes only when the other has left it as it was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import TypeVar

from explorer.flag.flags import Flag
from explorer.flag.flags_mirror import COLUMNS, write_rows

Row = TypeVar("Row")
RIGHT = ("flag_id", "run", "checkpoint", "image_id", "reviewer")


def merge(last: Mapping[str, Row], here: Mapping[str, Row], there: Mapping[str, Row], newer: Callable[[Row], str]) -> dict[str, Row]:
    """The rows by id after both sides' changes since ``last``. ``newer``: what tells the later of two versions of a row."""
    merged = {}
    for key in {**there, **here, **last}:
        ours, theirs, before = here.get(key), there.get(key), last.get(key)
        if ours == before:
            kept = theirs
        elif theirs == before:
            kept = ours
        elif ours is None or theirs is None:
            kept = ours or theirs
        else:
            kept = max(ours, theirs, key=newer)
        if kept is not None:
            merged[key] = kept
    return merged


def flags_text(flags: Mapping[str, Flag]) -> str:
    out = io.StringIO(newline="")
    write_rows(out, (flag.values() for flag in sorted(flags.values(), key=lambda flag: (flag.created, flag.flag_id))))
    return out.getvalue()


def flags_of(text: str) -> dict[str, Flag]:
    """Flags by id from `flags_text`; {} for an empty text."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row["flag_id"]: Flag.from_row(row) for row in rows if set(COLUMNS) <= row.keys()}


def right_text(rows: Mapping[str, tuple]) -> str:
    out = io.StringIO(newline="")
    write_rows(out, [rows[key] for key in sorted(rows)], RIGHT)
    return out.getvalue()


def right_of(text: str) -> dict[str, tuple]:
    """Captions found right, by flag id, from `right_text`."""
    return {row["flag_id"]: tuple(row[name] for name in RIGHT) for row in csv.DictReader(io.StringIO(text, newline=""))}
