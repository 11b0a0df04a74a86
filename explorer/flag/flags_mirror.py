"""flags.csv kept a whole, current view of the database, whoever writes and whenever a process dies.

The database counts its changes (``version``) and remembers which of them the CSV shows and how the file looked when it
was written. A CSV is made beside its place and moved there while the database is held, so an older view never
replaces a newer one and nobody sees half a file. A flags.csv that somebody else changed meanwhile is not written over:
it is kept as flags.edited-1.csv beside it.
"""

from __future__ import annotations

import atexit
import csv
import errno
import os
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

AT_ONCE = 1000
"""Flags up to which the CSV is rewritten within a change: some 10 ms. Beyond, it follows."""

SPARE = 8_000_000
"""Bytes that must be left on the disk besides a new CSV: the database and its log grow too."""

COLUMNS = (
    "flag_id created updated run checkpoint image_id image_file references caption reason corrected_caption reviewer status note"
).split()

SCHEMA = (
    "create table if not exists flags (" + ", ".join(f'"{name}" text not null' for name in COLUMNS) + ", primary key (flag_id))",
    "create index if not exists flags_in_order on flags (created, flag_id)",
    'create table if not exists "right" (flag_id text primary key, run text, checkpoint text, image_id text, reviewer text)',
    "create table if not exists history (number integer primary key autoincrement, at text, who text, what text, undone integer default 0)",
    "create table if not exists history_rows (number integer, flag_id text, kind text, before text, after text)",
    "create index if not exists history_of_flag on history_rows (flag_id, number)",
    "create index if not exists history_by_number on history_rows (number)",
    "create index if not exists history_undone on history (undone, who)",
    "create table if not exists state (version integer, written integer, size integer, changed integer)",
    "insert into state select 0, -1, 0, 0 where not exists (select * from state)",
)


def connect(path: Path) -> sqlite3.Connection:
    """The database at ``path``, made when there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    base.row_factory = sqlite3.Row
    base.execute("pragma synchronous=full")
    if base.execute("pragma user_version").fetchone()[0] != len(SCHEMA):
        base.execute("pragma journal_mode=wal")
        base.execute("begin immediate")
        for line in SCHEMA:
            base.execute(line)
        base.execute(f"pragma user_version={len(SCHEMA)}")
        base.execute("commit")
    return base


@lru_cache(maxsize=64)
def of(database: Path, target: Path) -> Mirror:
    """The mirror of ``database`` in this process, whoever asks."""
    return Mirror(database, target)


class Mirror:
    """Writes ``target`` from ``database``: within a change, or in a thread that makes one file of several changes."""

    def __init__(self, database: Path, target: Path):
        self.database, self.target = database, target
        self.asked, self.turn = threading.Event(), threading.Lock()
        self.thread: threading.Thread | None = None
        self.failed: Exception | None = None
        self.base: sqlite3.Connection | None = None

    def start(self) -> None:
        """Catch up with what a killed process left behind."""
        # Kept open: whenever the last connection closes, SQLite folds its log into the database, which takes longer than a change.
        self.base = connect(self.database)
        behind, small = self._behind(self.base), self._count(self.base) <= AT_ONCE
        if behind and small:
            self.settle()
        elif behind:
            self.wake()

    def within(self, base: sqlite3.Connection) -> bool:
        """Part of a change that is about to be committed: count it, and write the CSV or see that there is room for it.

        Returns whether the CSV shows the change already; when it does not, call `wake` after the commit. Raises OSError
        when the CSV cannot be written; the change must not be committed then.
        """
        if self.target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(self.target))
        base.execute("update state set version = version + 1")
        if self._count(base) <= AT_ONCE:
            with self._made(base) as made:
                self._place(base, made)
            return True
        size = base.execute("select size from state").fetchone()[0]
        if shutil.disk_usage(self.target.parent).free < size + SPARE:
            raise OSError(errno.ENOSPC, "the disk is full")
        if self.failed:
            raise self.failed  # what failed in the background is told before anything more is acknowledged
        return False

    def wake(self) -> None:
        """Have the CSV written soon."""
        self.asked.set()
        with self.turn:
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._follow, daemon=True, name="flags.csv")
                self.thread.start()
                atexit.register(self._last)

    def settle(self) -> None:
        """Write the CSV until it is current. Raises OSError or sqlite3.Error when that cannot be done."""
        base = connect(self.database)
        try:
            while self._behind(base):
                self._catch_up(base)
            self.failed = None
        finally:
            base.close()

    # -- how it is done

    def _follow(self) -> None:
        while True:
            self.asked.wait()
            self.asked.clear()
            began = time.monotonic()
            try:
                self.settle()
            except Exception as error:
                self.failed = error
                self.asked.set()  # and tried again, until there is room
            # Never more than half of the time: somebody may be flagging, and the next file holds it all.
            time.sleep(max(0.05, time.monotonic() - began))

    def _last(self) -> None:
        with suppress(Exception):  # the next start catches up
            self.settle()

    def _catch_up(self, base: sqlite3.Connection) -> None:
        """One new CSV of the newest view, put in place unless a newer one is there by now."""
        base.execute("begin")
        try:
            version = base.execute("select version from state").fetchone()[0]
            with self._made(base) as made:
                base.execute("commit")
                base.execute("begin immediate")
                written = base.execute("select written from state").fetchone()[0]
                if written < version or (written == version and not self._as_written(base)):
                    self._place(base, made, version)
                base.execute("commit")
        finally:
            if base.in_transaction:
                base.execute("rollback")

    @contextmanager
    def _made(self, base: sqlite3.Connection) -> Iterator[Path]:
        """All flags as a complete CSV beside its place; gone afterwards unless it was moved."""
        made = self.target.with_name(f".{self.target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with open(made, "w", encoding="utf-8", newline="") as file:
                write_rows(file, base.execute(f"select {', '.join(quoted(COLUMNS))} from flags order by created, flag_id"))
                file.flush()
                os.fsync(file.fileno())
            yield made
        finally:
            made.unlink(missing_ok=True)

    def _place(self, base: sqlite3.Connection, made: Path, version: int | None = None) -> None:
        """Move a CSV to its place within a transaction that holds the database, and note what it shows."""
        if self.target.exists() and not self._as_written(base):
            os.replace(self.target, self._aside())
        look = made.stat()
        os.replace(made, self.target)
        told = "version" if version is None else str(version)
        base.execute(f"update state set written = {told}, size = ?, changed = ?", (look.st_size, look.st_mtime_ns))

    def _aside(self) -> Path:
        names = (self.target.with_name(f"{self.target.stem}.edited-{number}{self.target.suffix}") for number in range(1, 10_000))
        return next(path for path in names if not path.exists())

    def _as_written(self, base: sqlite3.Connection) -> bool:
        """Whether the file in place is the one that was put there last."""
        try:
            look = self.target.stat()
        except OSError:
            return False
        return (look.st_size, look.st_mtime_ns) == tuple(base.execute("select size, changed from state").fetchone())

    def _behind(self, base: sqlite3.Connection) -> bool:
        version, written = base.execute("select version, written from state").fetchone()
        return version > 0 and (written < version or not self._as_written(base))

    def _count(self, base: sqlite3.Connection) -> int:
        return base.execute(f"select count(*) from (select 1 from flags limit {AT_ONCE + 1})").fetchone()[0]


def quoted(names) -> list[str]:
    return [f'"{name}"' for name in names]


def write_rows(file, rows, heads=COLUMNS) -> None:
    """A CSV of texts. Quoting everything keeps leading spaces, line ends and empty texts as they were typed."""
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(heads)
    writer.writerows(rows)
