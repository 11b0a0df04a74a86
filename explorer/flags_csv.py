"""flags.csv: the flags as people open, mail and commit them.

The workspace's flags.csv holds raw text and round-trips exactly through pandas. The copy made for spreadsheets
puts an apostrophe before what a spreadsheet would run as a formula and says so in its first column's name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from explorer import files
from explorer.errors import UserError
from explorer.flags import COLUMNS, EDITABLE, Flag, FlagStore, check, now

DANGEROUS = tuple("=+-@\t\r\n'") + tuple("＝＋－＠")
ESCAPED_ID = "flag_id (escaped for spreadsheets)"


def write_current(path: Path, flags: Iterable[Flag]) -> None:
    """Replace ``path`` by all flags, raw, in one step."""
    files.write_text(path, to_text(flags))


def to_text(flags: Iterable[Flag], spreadsheet: bool = False) -> str:
    out = io.StringIO(newline="")
    # Quoting everything keeps leading spaces, line ends and empty texts as they were typed.
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([ESCAPED_ID if spreadsheet and name == "flag_id" else name for name in COLUMNS])
    for flag in flags:
        values = [flag.row()[name] for name in COLUMNS]
        writer.writerow([escape(value) for value in values] if spreadsheet else values)
    return out.getvalue()


def escape(text: str) -> str:
    """``text`` as a spreadsheet shows it and does not run it (OWASP, "CSV Injection")."""
    return "'" + text if text.startswith(DANGEROUS) else text


def unescape(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def export(store: FlagStore, path: Path, spreadsheet: bool = False, flags: Iterable[Flag] | None = None) -> None:
    """Write flags to ``path``; for a spreadsheet with a byte-order mark and escaped formulas."""
    text = to_text(store.list() if flags is None else flags, spreadsheet)
    files.write_bytes(path, text.encode("utf-8-sig" if spreadsheet else "utf-8"))


# --- bringing an edited CSV back --------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One flag as the store has it (None: unknown to it) and as the file wants it. ``conflict``: the store's is newer."""

    before: Flag | None
    after: Flag
    conflict: bool

    def fields(self) -> list[tuple[str, str, str]]:
        """(name, old, new) of what differs."""
        if self.before is None:
            return [("flag", "", "new")]
        return [
            (name, getattr(self.before, name), getattr(self.after, name))
            for name in EDITABLE
            if getattr(self.before, name) != getattr(self.after, name)
        ]


@dataclass(frozen=True)
class Import:
    """What an edited CSV would change, and the lines that cannot be used with the reason."""

    changes: tuple[Change, ...]
    problems: tuple[tuple[int, str], ...]
    unchanged: int


def read(store: FlagStore, path: Path) -> Import:
    """Compare an edited CSV with the store; changes nothing. Raises UserError when it is no CSV of flags."""
    rows, escaped = _rows(path)
    changes, problems, unchanged = [], [], 0
    for line, row in rows:
        try:
            after = _flag(row, escaped)
        except UserError as error:
            problems.append((line, str(error)))
            continue
        before = store.get(after.flag_id)
        if before is not None:
            wanted = replace(before, **{name: getattr(after, name) for name in EDITABLE})
            if wanted == before:
                unchanged += 1
                continue
            changes.append(Change(before, wanted, conflict=before.updated > after.updated))
        else:
            changes.append(Change(None, after, conflict=False))
    return Import(tuple(changes), tuple(problems), unchanged)


def apply(store: FlagStore, changes: Iterable[Change]) -> int:
    """Make the changes, all or none, undone as one; how many there were."""
    stamp = now()
    flags = [replace(change.after, updated=stamp) for change in changes]
    if flags:
        store.put_all(flags, f"import of {len(flags)} flags")
    return len(flags)


def _rows(path: Path) -> tuple[list[tuple[int, dict]], bool]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8: save it as CSV UTF-8.") from None
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    names = [name or "" for name in reader.fieldnames or []]
    escaped = ESCAPED_ID in names
    missing = [name for name in COLUMNS if name not in names and not (escaped and name == "flag_id")]
    if missing:
        raise UserError(f"{path.name} is no CSV of flags: it lacks the columns {', '.join(missing)}.")
    rows = []
    for row in reader:
        rows.append((reader.line_num, {**row, "flag_id": row.get(ESCAPED_ID if escaped else "flag_id")}))
    return rows, escaped


def _flag(row: dict, escaped: bool) -> Flag:
    """The flag of one line. Raises UserError saying what is wrong with it."""
    if None in row or any(row.get(name) is None for name in COLUMNS):
        raise UserError("has too many or too few fields: a comma or a quote got lost")
    values = {f.name: unescape(row[f.name]) if escaped else row[f.name] for f in fields(Flag)}
    try:
        references = json.loads(values["references"] or "[]")
    except ValueError:
        raise UserError("its references are no JSON list") from None
    if not values["flag_id"]:
        raise UserError("has no flag id")
    return check(Flag(**{**values, "references": tuple(map(str, references))}))
