"""How long the Compare table takes on the server with many images.

python -m explorer.compare.comparison_bench            # 10,000 and 100,000 images, 5 columns
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from explorer.compare.comparison import FILTERS, ORDERS, Column, Comparison, View
from explorer.model.captions import Caption

WORDS = "a the dog cat red brown black white ball grass snow sits runs jumps on in with two man woman child beach water tree".split()
COLUMNS = 5
BARS = {10_000: 150, 100_000: 500}
"""Milliseconds a press may take, by images."""


def made_up(images: int, seed: int = 0) -> Comparison:
    """A comparison of drawn words: five references an image, half of the captions kept from column to column."""
    draw = random.Random(seed)

    def said() -> str:
        return " ".join(draw.choices(WORDS, k=10))

    def caption() -> Caption:
        words = tuple(said().split())
        return Caption(" ".join(words), words, tuple(round(draw.random(), 4) for _ in words), draw.random() > 0.02)

    rows = [
        {"image_id": f"{n:016x}", "file": f"photo-{n:06}.jpg", "path": f"{n}.jpg", "references": [said() for _ in range(5)]}
        for n in range(images)
    ]
    columns = [Column("large", epoch) for epoch in range(COLUMNS)]
    captions: dict[str, list[Caption | None]] = {}
    before: list[Caption | None] = [None] * images
    for column in columns:
        before = [old if old and draw.random() < 0.5 else caption() for old in before]
        captions[column.key] = before
    return Comparison(columns, rows, captions)


def measure(counts: Sequence[int] = tuple(BARS)) -> Iterator[str]:
    """Lines for each number of images: what is reckoned once, and the slowest press after that."""
    for images in counts:
        once, again = presses(made_up(images))
        slowest = max(again, key=again.__getitem__)
        yield f"{images:,} images x {COLUMNS} columns: {sum(once.values()) / 1000:.1f} s once, for all that filters and orders need"
        yield f"  then the slowest of {len(again)} presses, {slowest}: {again[slowest]:.0f} ms (bar {BARS.get(images, 500)} ms)"


def presses(table: Comparison) -> tuple[dict[str, float], dict[str, float]]:
    """(milliseconds of each press the first time, and after that)."""
    flagged = frozenset(row["image_id"] for row in table.images[::50])
    views = {f"only {name}": View(frozenset([name])) for name in FILTERS}
    views |= {f"order {name}": View(order=name) for name in ORDERS}
    views |= {"search": View(search="dog snow"), "last page": View(page=10**9), "learning": View(learning="never")}
    once = {name: milliseconds(lambda view=view: table.page(view, flagged)) for name, view in views.items()}
    again = {name: milliseconds(lambda view=view: table.page(view, flagged)) for name, view in views.items()}
    other = table.only(table.columns[::-1])
    again["columns moved"] = milliseconds(lambda: other.page(View(frozenset(["changed"])), flagged))
    return once, again


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    for line in measure([int(text) for text in sys.argv[1:]] or tuple(BARS)):
        print(line, flush=True)
