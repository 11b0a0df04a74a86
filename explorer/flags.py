"""Flags: a person's "this caption is bad", kept in one small database and mirrored in flags.csv.

The database (SQLite, written ahead) takes changes from several processes at once; flags.csv is rewritten whole
after each change and is what people open, mail and commit. Every change can be undone, after a restart too.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime

from explorer.errors import UserError
from explorer.workspace import Workspace

REASONS = (
    "wrong object",
    "wrong attribute",
    "hallucinated",
    "missing subject",
    "repeated words",
    "unfinished",
    "grammar",
    "other",
)
STATUSES = ("open", "relabelled", "dismissed")
EDITABLE = ("reason", "corrected_caption", "reviewer", "status", "note")
UNDO_KEPT = 500


class FlagError(UserError):
    """A flag that cannot be kept; the sentence names the value and what would do."""


@dataclass(frozen=True)
class Flag:
    """One flagged caption. ``checkpoint`` is base or epoch-2; times are ISO 8601 in UTC."""

    flag_id: str
    created: str
    updated: str
    run: str
    checkpoint: str
    image_id: str
    image_file: str
    references: tuple[str, ...]
    caption: str
    reason: str
    corrected_caption: str
    reviewer: str
    status: str
    note: str

    def row(self) -> dict[str, str]:
        """As text, the references a JSON list: what the store and the CSV hold."""
        return {**asdict(self), "references": json.dumps(list(self.references), ensure_ascii=False)}

    @staticmethod
    def from_row(row) -> Flag:
        values = {f.name: row[f.name] for f in fields(Flag)}
        return Flag(**{**values, "references": tuple(json.loads(values["references"] or "[]"))})


COLUMNS = tuple(f.name for f in fields(Flag))


def flag_id(run: str, checkpoint: str, image_id: str, caption: str) -> str:
    """The same caption of the same image at the same checkpoint is the same flag."""
    return hashlib.sha256("\0".join((run, checkpoint, image_id, caption)).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check(flag: Flag) -> Flag:
    """``flag`` when it can be kept and written as UTF-8; else FlagError naming the value."""
    if flag.reason not in REASONS:
        raise FlagError(f"The reason {flag.reason!r} is not known: take one of {', '.join(REASONS)}.")
    if flag.status not in STATUSES:
        raise FlagError(f"The status {flag.status!r} is not known: take one of {', '.join(STATUSES)}.")
    for name, value in flag.row().items():
        if "\0" in value:
            raise FlagError(f"The {name.replace('_', ' ')} holds a NUL character, which no CSV can hold: leave it out.")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise FlagError(f"The {name.replace('_', ' ')} holds half a character (a lone surrogate): type it again.") from None
    return flag


class FlagStore:
    """The flags of a workspace. Opens its database when first used; cheap to make, safe in several processes."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.path = workspace.flags_db

    # -- the database

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        base.row_factory = sqlite3.Row
        base.execute("pragma journal_mode=wal")
        base.execute("pragma synchronous=full")
        columns = ", ".join(f'"{name}" text not null' for name in COLUMNS)
        base.execute(f"create table if not exists flags ({columns}, primary key (flag_id))")
        base.execute("create table if not exists changes (number integer primary key, what text, rows text, undone integer default 0)")
        return base

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        base = self._guard(self._open)
        try:
            yield base
        finally:
            base.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One change, alone: committed together with its CSV, or not at all."""
        from explorer.flags_csv import write_current

        base = self._guard(self._open)
        try:
            self._guard(lambda: base.execute("begin immediate"))
            yield base
            # Still holding the write lock, so an older view can never replace a newer one.
            self._guard(lambda: write_current(self.workspace.flags_csv, _all(base)))
            self._guard(lambda: base.execute("commit"))
        except BaseException:
            if base.in_transaction:
                base.execute("rollback")
            raise
        finally:
            base.close()

    def _guard(self, act):
        """``act()``, a database or disk that fails told as a sentence: nothing is acknowledged then."""
        try:
            return act()
        except sqlite3.DatabaseError as error:
            raise FlagError(
                f"The flag was not kept: {self.path.name} cannot be written ({error}). Check the disk, then try again."
            ) from error
        except OSError as error:
            raise FlagError(
                f"The flag was not kept: {self.workspace.flags_csv.name} cannot be written ({error.strerror}). Check the disk, then try again."
            ) from error

    # -- changing

    def flag(
        self,
        run: str,
        checkpoint: str,
        image_id: str,
        image_file: str,
        references: Sequence[str],
        caption: str,
        reason: str = "other",
        corrected_caption: str = "",
        note: str = "",
        reviewer: str = "",
    ) -> Flag:
        """Flag a caption; flagging the same one again updates its flag. Raises FlagError, and then nothing is kept."""
        identity, stamp = flag_id(run, checkpoint, image_id, caption), now()
        fresh = check(
            Flag(
                identity,
                stamp,
                stamp,
                run,
                checkpoint,
                image_id,
                image_file,
                tuple(references),
                caption,
                reason,
                corrected_caption,
                reviewer,
                "open",
                note,
            )
        )
        with self._writing() as base:
            old = _get(base, identity)
            kept = replace(fresh, created=old.created) if old else fresh
            _change(base, f"flag {caption!r}", [(old, kept)])
        return kept

    def edit(self, flag_id: str, **changes: str) -> Flag:
        """Change a flag's reason, corrected_caption, reviewer, status or note."""
        return self.edit_all([flag_id], **changes)[0]

    def edit_all(self, flag_ids: Iterable[str], **changes: str) -> list[Flag]:
        """The same change to several flags, undone as one."""
        strange = set(changes) - set(EDITABLE)
        if strange:
            raise FlagError(f"The {sorted(strange)[0].replace('_', ' ')} of a flag cannot be changed.")
        with self._writing() as base:
            old = [self._known(base, identity) for identity in flag_ids]
            new = [check(replace(flag, **changes, updated=now())) for flag in old]
            _change(base, f"edit {_count(old)}", list(zip(old, new, strict=True)))
        return new

    def remove(self, flag_ids: Iterable[str]) -> None:
        with self._writing() as base:
            old = [self._known(base, identity) for identity in flag_ids]
            _change(base, f"remove {_count(old)}", [(flag, None) for flag in old])

    def put_all(self, flags: Iterable[Flag], what: str) -> None:
        """Add or replace flags as they are, undone as one: what an import does."""
        with self._writing() as base:
            pairs = [(_get(base, flag.flag_id), check(flag)) for flag in flags]
            _change(base, what, pairs)

    def undo(self) -> str | None:
        """Take the last change back; what it was, or None when there is none left."""
        return self._turn(undone=False)

    def redo(self) -> str | None:
        """Do again what was last taken back."""
        return self._turn(undone=True)

    def _turn(self, undone: bool) -> str | None:
        which = "min(number) from changes where undone = 1" if undone else "max(number) from changes where undone = 0"
        with self._writing() as base:
            number = base.execute(f"select {which}").fetchone()[0]
            if number is None:
                return None
            row = base.execute("select what, rows from changes where number = ?", (number,)).fetchone()
            for old, new in json.loads(row["rows"]):
                _put(base, *((new, old) if undone else (old, new)))
            base.execute("update changes set undone = ? where number = ?", (0 if undone else 1, number))
        return row["what"]

    def _known(self, base: sqlite3.Connection, identity: str) -> Flag:
        flag = _get(base, identity)
        if flag is None:
            raise FlagError(f"There is no flag {identity!r} any more: reload the list.")
        return flag

    # -- looking

    def list(self, status: str | None = None, reason: str | None = None, run: str | None = None, search: str = "") -> list[Flag]:
        """Flags, oldest first. ``search``: words that all occur in caption, correction, note, references or file."""
        with self._reading() as base:
            flags = _all(base)
        wanted = {"status": status, "reason": reason, "run": run}
        flags = [f for f in flags if all(v is None or getattr(f, name) == v for name, v in wanted.items())]
        words = search.lower().split()
        return [f for f in flags if all(word in _searchable(f) for word in words)]

    def get(self, identity: str) -> Flag | None:
        with self._reading() as base:
            return _get(base, identity)

    def cells(self) -> frozenset[tuple[str, str, str]]:
        """(run, checkpoint, image id) of every flagged caption."""
        with self._reading() as base:
            rows = base.execute("select run, checkpoint, image_id from flags").fetchall()
        return frozenset((row[0], row[1], row[2]) for row in rows)

    def counts(self) -> dict[str, Counter]:
        """How many flags by reason, status and checkpoint."""
        flags = self.list()
        return {name: Counter(getattr(flag, name) for flag in flags) for name in ("reason", "status", "checkpoint")}


def _searchable(flag: Flag) -> str:
    return "\n".join((flag.caption, flag.corrected_caption, flag.note, flag.image_file, flag.reviewer, *flag.references)).lower()


def _count(flags: Sequence[Flag]) -> str:
    return f"the flag of {flags[0].caption!r}" if len(flags) == 1 else f"{len(flags)} flags"


def _all(base: sqlite3.Connection) -> list[Flag]:
    return [Flag.from_row(row) for row in base.execute("select * from flags order by created, flag_id")]


def _get(base: sqlite3.Connection, identity: str) -> Flag | None:
    row = base.execute("select * from flags where flag_id = ?", (identity,)).fetchone()
    return Flag.from_row(row) if row else None


def _change(base: sqlite3.Connection, what: str, pairs: list[tuple[Flag | None, Flag | None]]) -> None:
    """Apply (before, after) pairs and remember them; a new change forgets what was undone."""
    rows = [(old.row() if old else None, new.row() if new else None) for old, new in pairs]
    for old, new in rows:
        _put(base, new, old)
    base.execute("delete from changes where undone = 1")
    base.execute("insert into changes (what, rows) values (?, ?)", (what, json.dumps(rows, ensure_ascii=False)))
    base.execute("delete from changes where number <= (select max(number) from changes) - ?", (UNDO_KEPT,))


def _put(base: sqlite3.Connection, row: dict | None, before: dict | None) -> None:
    if row is None:
        base.execute("delete from flags where flag_id = ?", (before["flag_id"],))
        return
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    marks = ", ".join("?" for _ in COLUMNS)
    base.execute(f"insert or replace into flags ({names}) values ({marks})", [row[name] for name in COLUMNS])
