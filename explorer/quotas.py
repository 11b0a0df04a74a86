"""Quotas: how much one person, and all people together, may ask of a public page. On a laptop nothing is counted.

Counts are kept in memory over a sliding window: a restart forgets them, which a visitor cannot cause. People who are not
signed in are counted by the address they come from, as `rights.Person.key` says.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import UserError

MINUTE, HOUR, DAY = 60, 3600, 86_400


class OverQuota(UserError):
    """Somebody asked for more than their share, or everybody together for more than there is."""


@dataclass(frozen=True)
class Limit:
    """At most ``person`` by one person and ``everybody`` by all within ``seconds``. ``what``: as a sentence calls it."""

    what: str
    person: float
    everybody: float
    seconds: int

    def told(self, count: float) -> str:
        number = f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count:,.0f}"
        return f"{number} {self.what} {({MINUTE: 'a minute', HOUR: 'an hour', DAY: 'a day'})[self.seconds]}"


LIMITS = {
    "call": Limit("requests", 600, 30_000, MINUTE),
    "upload": Limit("uploads", 60, 2_000, HOUR),
    "upload bytes": Limit("of uploads", 1e9, 10e9, HOUR),
    "flag": Limit("changes to flags", 300, 20_000, HOUR),
    "photo": Limit("photos captioned", 40, 600, HOUR),
    "look": Limit("words looked at and scores worked out", 200, 3_000, HOUR),
    "export": Limit("files made to download", 30, 1_000, HOUR),
    "run": Limit("runs started", 10, 30, DAY),
}
"""What is counted on a public page."""
AT_ONCE = {"photo": ("a photo that is being captioned", 1, 4), "export": ("an export that is being made", 1, 4)}
"""What may be under way at once: (as a sentence calls it, by one person, by all)."""
QUEUE = 100
"""Events that may wait for their turn, in all."""
MAX_TEXT = 2_000
"""Characters of a correction, a note or a name."""


class Quotas:
    """The counts of one page. ``on``: whether anything is counted at all."""

    def __init__(self, on: bool, limits: dict[str, Limit] = LIMITS, now=time.monotonic):
        self.on, self.limits, self.now = on, limits, now
        self.taken: dict[tuple[str, str], deque[tuple[float, float]]] = defaultdict(deque)
        self.under_way: dict[str, list[str]] = defaultdict(list)
        self.lock = threading.Lock()

    def take(self, what: str, key: str, amount: float = 1) -> None:
        """Count ``amount`` of ``what`` for the person ``key``. Raises OverQuota, and then nothing is counted."""
        if not self.on:
            return
        limit, now = self.limits[what], self.now()
        with self.lock:
            mine, all_of_it = self._within(what, f"by {key}", limit, now), self._within(what, "all", limit, now)
            if mine + amount > limit.person:
                raise OverQuota(f"That is more than one person may ask of this public page, {limit.told(limit.person)}: {self._later(limit)}.")
            if all_of_it + amount > limit.everybody:
                raise OverQuota(
                    f"This public page is busy: all together may ask for {limit.told(limit.everybody)}. Come back later, or run the explorer on your machine."
                )
            for name in (f"by {key}", "all"):
                self.taken[what, name].append((now, amount))

    @staticmethod
    def _later(limit: Limit) -> str:
        return f"wait {({MINUTE: 'a minute', HOUR: 'an hour', DAY: 'until tomorrow'})[limit.seconds]}, or run the explorer on your machine"

    def _within(self, what: str, name: str, limit: Limit, now: float) -> float:
        """What was taken within the window; what is older is forgotten."""
        rows = self.taken[what, name]
        while rows and rows[0][0] <= now - limit.seconds:
            rows.popleft()
        if not rows:
            del self.taken[what, name]
        return sum(amount for _, amount in rows)

    @contextmanager
    def turn(self, what: str, key: str) -> Iterator[None]:
        """Long work of `AT_ONCE` in here: counted while it is under way, and as taken. Raises OverQuota."""
        if not self.on:
            yield
            return
        called, mine, all_of_it = AT_ONCE[what]
        with self.lock:
            if self.under_way[what].count(key) >= mine:
                raise OverQuota(f"You have {called} already: wait for it, or stop it.")
            if len(self.under_way[what]) >= all_of_it:
                raise OverQuota(f"Others wait for the same: {called} takes the whole machine. Try again in a minute.")
            self.under_way[what].append(key)
        try:
            self.take(what, key)
            yield
        finally:
            with self.lock:
                self.under_way[what].remove(key)


FULL = "The disk of this public page is full: its owners have to delete something first; meanwhile, run the explorer on your machine"
FULL_ROOM = "Your private room is full: delete a run or a dataset in it first"


class Disk:
    """How full the folders of a page are, measured again when the last measure is older than ``seconds``.

    ``full``: the sentence that refuses more.
    """

    def __init__(self, limit: int, *folders: Path, full: str = FULL, seconds: float = 30):
        self.limit, self.folders, self.full, self.seconds = limit, folders, full, seconds
        self.measured, self.used = float("-inf"), 0

    def check(self, more: int = 0) -> None:
        """Raises OverQuota when ``more`` bytes would go beyond the limit; what passes is counted until the next measure."""
        if time.monotonic() - self.measured > self.seconds:
            self.used, self.measured = sum(map(size_of, self.folders)), time.monotonic()
        if self.used + more > self.limit:
            raise OverQuota(f"{self.full} (at most {self.limit / 1e9:.3g} GB).")
        self.used += more


def size_of(folder: Path) -> int:
    """Bytes of all files under ``folder``; files that vanish meanwhile count for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
