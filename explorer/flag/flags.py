"""Flags: a person's "this caption is bad", kept in one small database and mirrored in flags.csv.

What is acknowledged is kept: a change is told as done when SQLite has it on disk (written ahead, synchronised), and
several processes may change flags at once. flags.csv, what people open, mail and commit, is always one whole view:

- up to `flags_mirror.AT_ONCE` flags it is rewritten within the change itself: both happen, or neither;
- beyond that, rewriting takes longer than a person waits, so the change is acknowledged first and the CSV follows
  within a moment (`settle` waits for it): before a download, before the process ends, and at the next start if a
  killed process left it behind.

A disk without room is an error before anything is acknowledged. Every change can be undone, after a restart too, and
stays in the history of its flags.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from explorer.errors import UserError
from explorer.flag import flags_mirror
from explorer.flag.flags_mirror import COLUMNS, connect
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

    def values(self) -> list[str]:
        """As texts in the order of `COLUMNS`, the references a JSON list: what the store and the CSV hold."""
        return [json.dumps(list(self.references), ensure_ascii=False) if n == "references" else getattr(self, n) for n in COLUMNS]

    def row(self) -> dict[str, str]:
        return dict(zip(COLUMNS, self.values(), strict=True))

    @staticmethod
    def from_row(row) -> Flag:
        values = [row[name] for name in COLUMNS]
        values[REFERENCES] = tuple(json.loads(values[REFERENCES] or "[]"))
        return Flag(*values)


REFERENCES = COLUMNS.index("references")


@dataclass(frozen=True)
class Choice:
    """Which flags are meant; None: any. ``search``: words that all occur in caption, correction, note, references or file."""

    status: str | None = None
    reason: str | None = None
    run: str | None = None
    checkpoint: str | None = None
    reviewer: str | None = None
    search: str = ""
    ids: frozenset[str] | None = None

    def where(self) -> tuple[str, list[str]]:
        """(condition, values) for the database."""
        named = [(n, getattr(self, n)) for n in ("status", "reason", "run", "checkpoint", "reviewer")]
        tests = [(f'"{name}" = ?', value) for name, value in named if value is not None]
        tests += [('mentions(flag_id, caption, corrected_caption, note, image_file, reviewer, "references", ?)', w) for w in self.words()]
        if self.ids is not None:
            tests.append(("flag_id in (select value from json_each(?))", json.dumps(sorted(self.ids))))
        return " and ".join(test for test, _ in tests) or "1", [value for _, value in tests]

    def words(self) -> list[str]:
        return self.search.lower().split()


@dataclass(frozen=True)
class Event:
    """One change of one flag. ``fields``: (name, old, new) of what differs; ``undone``: it was taken back."""

    at: str
    who: str
    what: str
    fields: tuple[tuple[str, str, str], ...]
    undone: bool


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

    @cached_property
    def mirror(self):
        """What keeps flags.csv up to date; a CSV that a killed process left behind is caught up now."""
        mirror = flags_mirror.of(self.path, self.workspace.flags_csv)
        with self._guarded():
            mirror.start()
        return mirror

    # -- the database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self.mirror  # noqa: B018 - opened before anything is read
        with self._guarded():
            base = connect(self.path)
        base.create_function("mentions", 8, _mentions, deterministic=True)
        try:
            yield base
        finally:
            base.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One change, alone: on disk with its CSV, or with room for it kept, or not at all."""
        with self._reading() as base:
            try:
                with self._guarded():
                    base.execute("begin immediate")
                before = base.total_changes
                yield base
                with self._guarded():
                    shown = base.total_changes == before or self.mirror.within(base)
                    base.execute("commit")
            except BaseException:
                if base.in_transaction:
                    base.execute("rollback")
                raise
        if not shown:
            self.mirror.wake()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A database or disk that fails, told as a sentence: nothing is acknowledged then."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise FlagError(
                f"The flag was not kept: {self.path.name} cannot be written ({error}). Check the disk, then try again."
            ) from error
        except OSError as error:
            raise FlagError(
                f"The flag was not kept: {self.workspace.flags_csv.name} cannot be written ({error.strerror}). Check the disk, then try again."
            ) from error

    def settle(self) -> None:
        """Return when flags.csv holds every acknowledged change. Raises FlagError when it cannot be written."""
        with self._guarded():
            self.mirror.settle()

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
        only_own: bool = False,
    ) -> Flag:
        """Flag a caption; flagging the same one again updates its flag. Raises FlagError, and then nothing is kept.

        ``only_own``: a flag of another reviewer is an error rather than updated.
        """
        identity, stamp = flag_id(run, checkpoint, image_id, caption), now()
        place = (run, checkpoint, image_id, image_file, tuple(references), caption)
        fresh = check(Flag(identity, stamp, stamp, *place, reason, corrected_caption, reviewer, "open", note))
        with self._writing() as base:
            old = _get(base, identity)
            if only_own and old and old.reviewer != reviewer:
                raise FlagError(f"This caption is flagged already, by {old.reviewer or 'somebody else'}: its flag is theirs to change.")
            kept = replace(fresh, created=old.created) if old else fresh
            _change(base, f"flag {caption!r}", [(old, kept)], reviewer)
        return kept

    def edit(self, flag_id: str, who: str = "", **changes: str) -> Flag:
        """Change a flag's reason, corrected_caption, reviewer, status or note."""
        return self.edit_all([flag_id], who, **changes)[0]

    def edit_all(self, flag_ids: Iterable[str], who: str = "", what: str = "", **changes: str) -> list[Flag]:
        """The same change to several flags, undone as one. ``what`` names it in the history."""
        strange = set(changes) - set(EDITABLE)
        if strange:
            raise FlagError(f"The {sorted(strange)[0].replace('_', ' ')} of a flag cannot be changed.")
        with self._writing() as base:
            old = [self._known(base, identity) for identity in flag_ids]
            new = [check(replace(flag, **changes, updated=now())) for flag in old]
            _change(base, what or f"edit {_count(old)}", list(zip(old, new, strict=True)), who)
        return new

    def remove(self, flag_ids: Iterable[str], who: str = "") -> None:
        with self._writing() as base:
            old = [self._known(base, identity) for identity in flag_ids]
            _change(base, f"remove {_count(old)}", [(flag, None) for flag in old], who)

    def put_all(self, flags: Iterable[Flag], what: str, who: str = "") -> None:
        """Add or replace flags as they are, undone as one: what an import does."""
        with self._writing() as base:
            pairs = [(_get(base, flag.flag_id), check(flag)) for flag in flags]
            _change(base, what, pairs, who)

    def approve(self, captions: Iterable[tuple[str, str, str, str]], who: str = "") -> None:
        """Keep that a person found captions (run, checkpoint, image id, caption) right, so that they are not asked for again."""
        rows = [[flag_id(*place), *place[:3], who] for place in captions]
        what = f"find {len(rows)} captions right" if len(rows) != 1 else "find a caption right"
        with self._writing() as base:
            _log(base, what, who, [(row[0], "right", None, row) for row in rows])

    def take_over(self, pairs: Iterable[tuple[Flag | None, Flag | None]], right: Iterable[Sequence[str]], not_right: Iterable[str]) -> None:
        """Change flags from what they were to what they are elsewhere, outside of the history: nobody here did it.

        One that was changed here meanwhile stays as it is. ``right``: rows as `found_right` gives them; ``not_right``: flag ids.
        """
        with self._writing() as base:
            for old, new in pairs:
                identity = (new or old).flag_id
                if _get(base, identity) == old:
                    _put(base, "flag", identity, check(new).values() if new else None)
            for row in right:
                _put(base, "right", row[0], list(row))
            for identity in not_right:
                _put(base, "right", identity, None)

    def undo(self, who: str | None = None) -> str | None:
        """Take back the last change by ``who`` (None: by anybody); what it was, or None when there is none left."""
        return self._turn(True, who)

    def redo(self, who: str | None = None) -> str | None:
        """Do again what was last taken back."""
        return self._turn(False, who)

    def _turn(self, back: bool, who: str | None) -> str | None:
        which = "max(number) from history where undone = 0" if back else "min(number) from history where undone = 1"
        with self._writing() as base:
            number = base.execute(f"select {which} and (? is null or who = ?)", (who, who)).fetchone()[0]
            if number is None:
                return None
            what = base.execute("select what from history where number = ?", (number,)).fetchone()[0]
            rows = base.execute("select flag_id, kind, before, after from history_rows where number = ?", (number,)).fetchall()
            for identity, kind, old, new in rows:
                then, wanted = (new, old) if back else (old, new)
                if _stored(base, kind, identity) != json.loads(then or "null"):
                    raise FlagError(f"“{what}” cannot be {'undone' if back else 'done again'}: somebody changed the same flag since.")
                _put(base, kind, identity, json.loads(wanted or "null"))
            base.execute("update history set undone = ? where number = ?", (int(back), number))
        return what

    def _known(self, base: sqlite3.Connection, identity: str) -> Flag:
        flag = _get(base, identity)
        if flag is None:
            raise FlagError(f"There is no flag {identity!r} any more: reload the list.")
        return flag

    # -- looking

    def list(self, status: str | None = None, reason: str | None = None, run: str | None = None, search: str = "") -> list[Flag]:
        """Flags, oldest first."""
        return self.find(Choice(status, reason, run, search=search))

    def find(self, choice: Choice = Choice(), limit: int | None = None, offset: int = 0, newest_first: bool = False) -> list[Flag]:
        """The flags ``choice`` means, oldest first unless told otherwise, at most ``limit`` of them after ``offset``."""
        where, values = choice.where()
        order = "created desc, flag_id desc" if newest_first else "created, flag_id"
        query = f"select * from flags where {where} order by {order} limit ? offset ?"
        with self._reading() as base:
            return [Flag.from_row(row) for row in base.execute(query, (*values, -1 if limit is None else limit, offset))]

    def ids(self, choice: Choice = Choice()) -> list[str]:
        """The ids of the flags ``choice`` means, newest first."""
        where, values = choice.where()
        with self._reading() as base:
            return [row[0] for row in base.execute(f"select flag_id from flags where {where} order by created desc, flag_id desc", values)]

    def get(self, identity: str) -> Flag | None:
        with self._reading() as base:
            return _get(base, identity)

    def cells(self) -> frozenset[tuple[str, str, str]]:
        """(run, checkpoint, image id) of every flagged caption."""
        with self._reading() as base:
            rows = base.execute("select run, checkpoint, image_id from flags").fetchall()
        return frozenset(map(tuple, rows))

    def judged(self) -> frozenset[str]:
        """Flag ids of the captions somebody has judged: flagged, or found right."""
        with self._reading() as base:
            return frozenset(row[0] for row in base.execute('select flag_id from flags union select flag_id from "right"'))

    def found_right(self) -> list[tuple[str, ...]]:
        """(flag id, run, checkpoint, image id, reviewer) of the captions somebody found right."""
        with self._reading() as base:
            return [tuple(row) for row in base.execute('select * from "right"')]

    def counts(self, choice: Choice = Choice()) -> dict[str, Counter]:
        """How many of the flags ``choice`` means by reason, status, checkpoint, run and reviewer."""
        where, values = choice.where()
        query = 'select "{0}", count(*) from flags where ' + where + ' group by "{0}"'
        with self._reading() as base:
            names = ("reason", "status", "checkpoint", "run", "reviewer")
            return {name: Counter(dict(map(tuple, base.execute(query.format(name), values)))) for name in names}

    def version(self) -> int:
        """A number that grows with every change, of whatever process."""
        with self._reading() as base:
            return base.execute("select version from state").fetchone()[0]

    def reviewed(self) -> tuple[int, int]:
        """(flags that are corrected, relabelled or dismissed; flags in all)."""
        query = "select coalesce(sum(status <> 'open' or corrected_caption <> ''), 0), count(*) from flags"
        with self._reading() as base:
            return tuple(base.execute(query).fetchone())

    def history(self, identity: str) -> list[Event]:
        """Everything that happened to a flag, oldest first."""
        query = (
            "select at, who, what, undone, before, after from history_rows join history using (number) "
            "where flag_id = ? and kind = 'flag' order by number"
        )
        with self._reading() as base:
            return [
                Event(row["at"], row["who"], row["what"], _differences(row["before"], row["after"]), bool(row["undone"]))
                for row in base.execute(query, (identity,))
            ]

    def as_it_was(self, identity: str, updated: str) -> Flag | None:
        """The flag as it was when it was last changed at ``updated``; None when there is no such moment."""
        query = "select after from history_rows where flag_id = ? and kind = 'flag' and after is not null order by number desc"
        with self._reading() as base:
            found = (Flag.from_row(dict(zip(COLUMNS, json.loads(row[0]), strict=True))) for row in base.execute(query, (identity,)))
            return next((flag for flag in found if flag.updated == updated), None)


def _mentions(*texts: str) -> bool:
    return texts[-1] in "\n".join(texts[1:-1]).lower()


def _count(flags: Sequence[Flag]) -> str:
    return f"the flag of {flags[0].caption!r}" if len(flags) == 1 else f"{len(flags)} flags"


def _differences(before: str | None, after: str | None) -> tuple[tuple[str, str, str], ...]:
    old, new = (dict(zip(COLUMNS, json.loads(row), strict=True)) if row else {} for row in (before, after))
    return tuple((name, old.get(name, ""), new.get(name, "")) for name in EDITABLE if old.get(name, "") != new.get(name, ""))


# --- rows -------------------------------------------------------------------------------------------------


def _get(base: sqlite3.Connection, identity: str) -> Flag | None:
    row = base.execute("select * from flags where flag_id = ?", (identity,)).fetchone()
    return Flag.from_row(row) if row else None


def _change(base: sqlite3.Connection, what: str, pairs: list[tuple[Flag | None, Flag | None]], who: str) -> None:
    """Apply (before, after) pairs and remember them."""
    rows = [((new or old).flag_id, "flag", old.values() if old else None, new.values() if new else None) for old, new in pairs]
    _log(base, what, who, rows)


def _log(base: sqlite3.Connection, what: str, who: str, rows: list[tuple]) -> None:
    """Apply (flag id, kind, before, after) rows and remember them; a new change forgets what its author had undone."""
    for identity, kind, _, new in rows:
        _put(base, kind, identity, new)
    base.execute("delete from history_rows where number in (select number from history where undone = 1 and who = ?)", (who,))
    base.execute("delete from history where undone = 1 and who = ?", (who,))
    number = base.execute("insert into history (at, who, what) values (?, ?, ?)", (now(), who, what)).lastrowid
    told = ((number, identity, kind, _json(old), _json(new)) for identity, kind, old, new in rows)
    base.executemany("insert into history_rows values (?, ?, ?, ?, ?)", told)


def _json(values: list | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


TABLES = {"flag": "flags", "right": '"right"'}


def _stored(base: sqlite3.Connection, kind: str, identity: str) -> list | None:
    row = base.execute(f"select * from {TABLES[kind]} where flag_id = ?", (identity,)).fetchone()
    return list(row) if row else None


def _put(base: sqlite3.Connection, kind: str, identity: str, values: list | None) -> None:
    if values is None:
        base.execute(f"delete from {TABLES[kind]} where flag_id = ?", (identity,))
    else:
        marks = ", ".join("?" for _ in values)
        base.execute(f"insert or replace into {TABLES[kind]} values ({marks})", values)
