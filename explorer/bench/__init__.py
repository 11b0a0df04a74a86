"""Bench: how fast the explorer is beside the loop most people copy, on one machine within one run.

    python -m explorer bench                          every part but opening, growth, demo and quality
    python -m explorer bench --only captions          one part: training, full, captions, beside, opening, growth, demo, quality
    python -m explorer bench --only quality --data FOLDER
    python -m explorer bench --json table.json

Each measurement runs in a process of its own, so that its peak memory is its own. The opponent is `notebook.py`. The
model is a BLIP of BLIP-base's size with random weights, the images are drawn scenes; the engine is the one of the page.
A sample is one image with one caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from explorer.bench.setting import Setting, machine
from explorer.errors import UserError
from explorer.files import write_json
from explorer.workspace import Workspace

PARTS = {
    "training": "default method: seconds a sample, peak memory, disk",
    "full": "all weights learn: seconds a sample",
    "captions": "captions of base and every epoch",
    "beside": "the page while a run trains",
    "opening": "how much later than an empty Gradio page it is seen (needs playwright and chromium)",
    "growth": "seconds and memory an image, from few to many images",
    "demo": "the demo's fine-tune, and a photo in all its columns: seconds",
    "quality": "CIDEr of the methods on captioned photos (--data)",
}
USUAL = ("training", "full", "captions", "beside")


@dataclass(frozen=True)
class Row:
    """One line of the table. ``value`` is a ratio unless the goal names a unit; ``reached`` is None where there is no goal."""

    part: str
    work: str
    measured: str
    value: float | None = None
    goal: str = ""
    reached: bool | None = None


def faster(part: str, work: str, theirs: float, ours: float, goal: float, unit: str) -> Row:
    """A row of times: ``goal`` times faster is asked for."""
    ratio = theirs / ours
    return Row(part, work, f"{theirs:.3g} {unit} against {ours:.3g}", ratio, f"at least {goal:g} times faster", ratio >= goal)


def at_most(part: str, work: str, measured: str, value: float, goal: float, of: str) -> Row:
    """A row whose value must stay at or below ``goal``."""
    return Row(part, work, measured, value, f"at most {goal:g} {of}", value <= goal)


def bench(workspace: Workspace, setting: Setting, only: Iterable[str] = (), say: Callable[[str], None] = print) -> list[Row]:
    """Run the parts, say each row as it is known, and give all rows. Raises UserError for an unknown part or missing data."""
    parts = tuple(only) or USUAL
    for part in parts:
        if part not in PARTS:
            raise UserError(f"The part {part!r} is not known: take one of {', '.join(PARTS)}.")
    workspace.cache.mkdir(parents=True, exist_ok=True)
    say(machine()["text"] + "\n\n" + HEAD)
    rows = []
    with TemporaryDirectory(dir=workspace.cache, prefix="bench-", ignore_cleanup_errors=True) as home:
        for row in _rows(parts, setting.at(Path(home))):
            rows.append(row)
            say(line(row))
    return rows


def _rows(parts: Iterable[str], setting: Setting) -> Iterator[Row]:
    for part in parts:
        yield from import_module(f"explorer.bench.{part}").rows(setting)


HEAD = "| part | work | measured | value | goal | reached |\n|---|---|---|---|---|---|"


def line(row: Row) -> str:
    """A row of a Markdown table."""
    value = "" if row.value is None else f"{row.value:.2f}"
    reached = {None: "", True: "yes", False: "no"}[row.reached]
    return f"| {row.part} | {row.work} | {row.measured} | {value} | {row.goal} | {reached} |"


def keep(path: Path, setting: Setting, rows: list[Row]) -> None:
    write_json(path, {"machine": machine(), "setting": setting.values(), "rows": [asdict(row) for row in rows]})
