"""flags.csv: the flags as people open, mail and commit them, and the way back from an edited one.

The workspace's flags.csv holds raw text and round-trips exactly through pandas. The copy made for spreadsheets
puts an apostrophe before what a spreadsheet would run as a formula and says so in its first column's name; coming
back, the apostrophes are taken off again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from explorer import files
from explorer.data.tables import csv_records
from explorer.errors import UserError
from explorer.flag.flags import COLUMNS, EDITABLE, Flag, FlagStore, check, flag_id, now
from explorer.flag.flags_mirror import write_rows

DANGEROUS = tuple("=+-@\t\r\n'") + tuple("＝＋－＠")
ESCAPED_ID = "flag_id (escaped for spreadsheets)"
IDENTITY = ("run", "checkpoint", "image_id", "caption")
MINE, THEIRS = "mine", "theirs"


def to_text(flags: Iterable[Flag], spreadsheet: bool = False) -> str:
    out = io.StringIO(newline="")
    heads = [ESCAPED_ID if spreadsheet and name == "flag_id" else name for name in COLUMNS]
    rows = (flag.values() for flag in flags)
    write_rows(out, ([escape(value) for value in row] for row in rows) if spreadsheet else rows, heads)
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
    """One flag as the store has it (None: unknown to it) and as the file wants it, what only the store changed kept.

    ``conflicts``: the fields that were changed on both sides since the file was written, to different values, or of
    which nobody knows any more what they were when it was.
    """

    line: int
    before: Flag | None
    after: Flag
    conflicts: tuple[str, ...] = ()

    def fields(self) -> list[tuple[str, str, str]]:
        """(name, old, new) of what differs; of a flag the store does not know, what is filled."""
        old = {name: getattr(self.before, name) if self.before else "" for name in EDITABLE}
        return [(name, old[name], getattr(self.after, name)) for name in EDITABLE if old[name] != getattr(self.after, name)]

    def resolved(self, side: str) -> Flag:
        """The flag after a person chose: "theirs" takes the file's side in every conflict, "mine" the store's."""
        if side == THEIRS or self.before is None:
            return self.after
        return replace(self.after, **{name: getattr(self.before, name) for name in self.conflicts})


@dataclass(frozen=True)
class Import:
    """What an edited CSV would change, and the lines that cannot be used with the reason."""

    changes: tuple[Change, ...]
    problems: tuple[tuple[int, str], ...]
    unchanged: int


def read(store: FlagStore, path: Path) -> Import:
    """Compare an edited CSV with the store; changes nothing. Raises UserError when it is no CSV of flags."""
    known = {flag.flag_id: flag for flag in store.list()}
    changes, problems, unchanged, seen = [], [], 0, {}
    for line, row, escaped in _rows(path, problems):
        try:
            after = _flag(row, escaped)
            if after.flag_id in seen:
                raise UserError(f"names the same flag as line {seen[after.flag_id]}: one of them is enough")
            seen[after.flag_id] = line
            change = _compared(store, line, known.get(after.flag_id), after)
        except UserError as error:
            problems.append((line, str(error)))
            continue
        if change is None:
            unchanged += 1
        else:
            changes.append(change)
    return Import(tuple(changes), tuple(sorted(problems)), unchanged)


def _compared(store: FlagStore, line: int, before: Flag | None, after: Flag) -> Change | None:
    """What a row changes; None when it changes nothing. Raises UserError for a row that is of no flag."""
    if before is None:
        if after.flag_id != flag_id(*(getattr(after, name) for name in IDENTITY)):
            raise UserError(f"names the flag {after.flag_id!r}, which is not known here")
        return Change(line, None, after)
    for name in IDENTITY:
        if getattr(before, name) != getattr(after, name):
            raise UserError(
                f"names the flag {after.flag_id!r} but has another {name.replace('_', ' ')}: only {', '.join(EDITABLE)} can change"
            )
    written = before if before.updated == after.updated else store.as_it_was(before.flag_id, after.updated)
    wanted, conflicts = {}, []
    for name in EDITABLE:
        mine, theirs = getattr(before, name), getattr(after, name)
        then = getattr(written, name) if written else None
        if theirs in (mine, then):
            continue
        wanted[name] = theirs
        if mine != then:
            conflicts.append(name)
    return Change(line, before, replace(before, **wanted), tuple(conflicts)) if wanted else None


def apply(store: FlagStore, changes: Iterable[Change], sides: Mapping[str, str] = {}, who: str = "") -> int:
    """Make the changes, all or none, undone as one; how many flags changed.

    ``sides``: by flag id "mine" or "theirs". A conflict needs one; any other row is left out by "mine". Raises
    UserError when a conflict has none.
    """
    stamp, flags = now(), []
    for change in changes:
        side = sides.get(change.after.flag_id)
        if change.conflicts and side is None:
            raise UserError(f"Line {change.line} was changed here, too: choose whose {change.conflicts[0].replace('_', ' ')} stays.")
        if side == MINE and not change.conflicts:
            continue
        flag = change.resolved(side or THEIRS)
        if flag != change.before:
            flags.append(replace(flag, updated=stamp))
    if flags:
        store.put_all(flags, f"import of {len(flags)} flags", who)
    return len(flags)


# --- reading ----------------------------------------------------------------------------------------------


def _rows(path: Path, problems: list[tuple[int, str]]) -> Iterator[tuple[int, dict, bool]]:
    """(line, row by column, whether it is escaped) of every row that can be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8: save it as CSV UTF-8.") from None
    lines = list(io.StringIO(text, newline=""))
    head = lines[0] if lines else ""
    records = csv_records(lines, max(",;\t", key=head.count), problems)
    names = [name.strip() for name in next(records, (0, []))[1]]
    escaped = ESCAPED_ID in names
    names = ["flag_id" if name == ESCAPED_ID else name for name in names]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UserError(f"{path.name} is no CSV of flags: it lacks the columns {', '.join(missing)}.")
    for line, record in records:
        if len(record) != len(names):
            problems.append((line, f"has {len(record)} fields, not {len(names)}: a comma or a quote got lost"))
        else:
            yield line, dict(zip(names, record, strict=True)), escaped


def _flag(row: dict, escaped: bool) -> Flag:
    """The flag of one line. Raises UserError saying what is wrong with it."""
    values = {name: unescape(row[name]) if escaped else row[name] for name in COLUMNS}
    if not values["flag_id"]:
        raise UserError("has no flag id")
    try:
        references = json.loads(values["references"] or "[]")
    except ValueError:
        references = None
    if not isinstance(references, list):
        raise UserError("has references that are no JSON list")
    return check(Flag(**{**values, "references": tuple(map(str, references))}))
