"""What the filters and orders of a large comparison need, reckoned beside the page instead of before it."""

from __future__ import annotations

import threading

from explorer.compare.comparison import ORDERS, Comparison, View

AT_ONCE = 10_000
"""Captions that are scored while one waits: about a second on one core."""
FOUND = ("changed", "wrong", "regressed", "repeated", "unfinished", "unsure", "doubt", "learning")


class Warming:
    """One comparison being reckoned by a thread of its own; ``done`` of ``total`` images are scored."""

    def __init__(self, comparison: Comparison):
        self.comparison, self.done, self.total = comparison, 0, len(comparison)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        self.comparison.findings.goodness(self.comparison.keys, self._tell)
        for name in FOUND:
            getattr(self.comparison, name)

    def _tell(self, done: int) -> None:
        self.done = done


def progress(comparison: Comparison) -> tuple[int, int] | None:
    """(images scored, images) while a large comparison is being reckoned, which begins when first asked; None when all is at hand."""
    kept, key = comparison.findings.kept, ("warming", *sorted(comparison.keys))
    if key not in kept:
        if comparison.findings.lacking(comparison.keys) * len(comparison) <= AT_ONCE:
            return None
        kept[key] = Warming(comparison)
    return (kept[key].done, kept[key].total) if kept[key].thread.is_alive() else None


def needs_scores(view: View) -> bool:
    """Whether a view cannot be shown before all is reckoned."""
    return bool(view.filters - {"flagged"} or view.learning or view.order not in (ORDERS[0], "file name"))
