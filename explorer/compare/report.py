"""The report's figure: a contact sheet an epoch, six images with their captions beneath and the loss in the title.

    contact_sheets(run, folder)          one PNG an epoch, the base first
    all_epochs(run, Path("run.pdf"))     the same sheets as the pages of one PDF
    sheets(comparison, places, folder)   a PNG a column of any view of a comparison; book(...) the same as a PDF

A run's images are the first of its validation split, the same on every sheet, so that sheets can be laid side by side.
"""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import files
from explorer.data.images import ImageError, open_image
from explorer.errors import UserError
from explorer.model import captions
from explorer.train.run import Run, by_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from explorer.compare.comparison import Column, Comparison

PAGE = 9
"""Images on a page of a PDF."""
COLUMNS = 3
WIDTH, HEIGHT = 3.2, 2.4
"""A picture's room in inches."""
GAP, LINE, TOP = 0.25, 0.17, 0.75
"""Inches between pictures, of a line of caption, and above the first row."""
ROOM = 44
"""Lower-case letters a line of caption holds; see `breadth`."""
LINES = 12
"""Lines after which a caption is cut: a model that repeats itself must not push the pictures off the page."""
DOTS = 150
"""Dots an inch of a PNG; pictures are shrunk to what a page shows."""
PAPER, INK, QUIET = "#ffffff", "#1d1d1b", "#6b6b66"

SCRIPTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Emoji", "Arial Unicode MS", "PingFang SC", "Microsoft YaHei", "Segoe UI Symbol",
)  # fmt: skip
"""Fonts asked one after the other for a letter, as far as the machine has them."""


def contact_sheet(run: Run, epoch: int, out: Path, images: int = 6) -> Path:
    """Draw the sheet of one epoch (0: the base) as PNG or PDF, by the ending of ``out``; returns ``out``.

    Raises UserError when the epoch has no captions or the ending is another.
    """
    ending = _ending(out, (".png", ".pdf"))
    figure = _sheet(run, epoch, images)
    page = io.BytesIO()
    with _quiet():
        figure.savefig(page, format=ending, dpi=DOTS, metadata=_same_each_time(ending))
    files.write_bytes(out, page.getvalue())
    return out


def contact_sheets(run: Run, folder: Path, images: int = 6) -> list[Path]:
    """A PNG for the base and every epoch that has captions, named after run and epoch; returns them in order."""
    return [contact_sheet(run, epoch, folder / f"{run.name}-{_name(epoch).replace(' ', '-')}.png", images) for epoch in epochs(run)]


def all_epochs(run: Run, out: Path, images: int = 6) -> Path:
    """All sheets as the pages of one PDF, the base first; returns ``out``. Raises UserError when there are no captions."""
    from matplotlib.backends.backend_pdf import PdfPages

    _ending(out, (".pdf",))
    found = epochs(run)
    if not found:
        raise UserError(f"The run {run.name!r} has no captions yet: let it finish its first epoch.")
    book = io.BytesIO()
    with _quiet(), PdfPages(book, metadata=_same_each_time("pdf")) as pages:
        for epoch in found:
            pages.savefig(_sheet(run, epoch, images), dpi=DOTS)
    files.write_bytes(out, book.getvalue())
    return out


def sheets(comparison: Comparison, places: Sequence[int], folder: Path) -> Iterator[Path]:
    """A PNG for each column of a comparison with the images at ``places`` and what the column says of them, as they are drawn."""
    for number, column in enumerate(comparison.columns, 1):
        out = folder / f"{number}-{column.run}-{_name(column.epoch).replace(' ', '-')}.png"
        figure = _drawn(comparison.label(column), _summary(comparison, places), _pictures(comparison, column, places))
        page = io.BytesIO()
        with _quiet():
            figure.savefig(page, format="png", dpi=DOTS)
        files.write_bytes(out, page.getvalue())
        yield out


def book(comparison: Comparison, places: Sequence[int], out: Path) -> Iterator[int]:
    """The same as one PDF, `PAGE` images a page; yields the number of pages drawn so far, the file is there at the end."""
    from matplotlib.backends.backend_pdf import PdfPages

    _ending(out, (".pdf",))
    held = io.BytesIO()
    drawn = 0
    with _quiet(), PdfPages(held, metadata=_same_each_time("pdf")) as pages:
        for column in comparison.columns:
            pictures = _pictures(comparison, column, places)
            for start in range(0, len(pictures), PAGE):
                pages.savefig(_drawn(comparison.label(column), _summary(comparison, places), pictures[start : start + PAGE]), dpi=DOTS)
                yield (drawn := drawn + 1)
    files.write_bytes(out, held.getvalue())


def _pictures(comparison: Comparison, column: Column, places: Sequence[int]) -> list[tuple[Path, str | None]]:
    return [(Path(comparison.images[place]["path"]), comparison.text(column, int(place))) for place in places]


def _summary(comparison: Comparison, places: Sequence[int]) -> str:
    runs = " and ".join(dict.fromkeys(column.run for column in comparison.columns))
    return f"{runs}: {len(places)} of {len(comparison):,} images"


def epochs(run: Run) -> list[int]:
    """The epochs that have captions by the run's own decoding, the base (0) first."""
    found = run.caption_file(0).parent.glob("epoch-*.jsonl")
    return sorted(int(number) for path in found if (number := path.stem.removeprefix("epoch-")).isdigit())


def title(run: Run, epoch: int) -> str:
    """Such as "epoch 2 · training loss 1.91 · validation loss 2.10"; what the log does not know is left out.

    Training loss is the mean over the epoch's steps, both in nats a token.
    """
    # The last row of an epoch counts: one that was begun again after a crash is logged twice.
    row = next((row for row in reversed(list(by_kind(run.log(), "epoch"))) if row["epoch"] == epoch), {})
    parts = [_name(epoch)]
    for key, words in (("loss", "training loss"), ("validation_loss", "validation loss")):
        if row.get(key) is not None:
            parts.append(f"{words} {row[key]:.2f}")
    return " · ".join(parts)


def _name(epoch: int) -> str:
    return f"epoch {epoch}" if epoch else "base"


def _ending(out: Path, known: tuple[str, ...]) -> str:
    if out.suffix.lower() not in known:
        raise UserError(f"{out.name} cannot be drawn: take a name that ends in {' or '.join(known)}.")
    return out.suffix.lower()[1:]


def _same_each_time(ending: str) -> dict:
    """Without the date, the same captions give the same file."""
    return {"CreationDate": None} if ending == "pdf" else {}


# --- drawing ----------------------------------------------------------------------------------------------


def _sheet(run: Run, epoch: int, images: int) -> Figure:
    known = captions.read(run.caption_file(epoch))
    if not known:
        raise UserError(f"The run {run.name!r} has no captions of {_name(epoch)} yet: let it finish that epoch.")
    pictures = []
    for example in run.examples("validation")[:images]:
        caption = known.get(example["image_id"])
        pictures.append((run.folder / example["path"], caption.text if caption else None))
    return _drawn(title(run, epoch), run.name, pictures)


def _drawn(heading: str, below: str, pictures: Sequence[tuple[Path, str | None]]) -> Figure:
    """The sheet: (path, caption or None) in rows of `COLUMNS`."""
    from matplotlib.figure import Figure  # without pyplot: no window, no state that threads would share

    texts = [wrapped(text) if text is not None else ["(not captioned)"] for _, text in pictures]
    rows = [range(start, min(start + COLUMNS, len(pictures))) for start in range(0, len(pictures), COLUMNS)]
    deep = [HEIGHT + LINE * (1.6 + max(len(texts[place]) for place in row)) for row in rows]

    width, height = COLUMNS * WIDTH + (COLUMNS + 1) * GAP, TOP + sum(deep) + GAP
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    _write(figure, GAP / width, 1 - 0.32 / height, heading, 13, INK, weight="bold")
    _write(figure, GAP / width, 1 - 0.53 / height, below, 8.5, QUIET)
    down = TOP
    for row, depth in zip(rows, deep, strict=True):
        for place in row:
            left = GAP + (place % COLUMNS) * (WIDTH + GAP)
            box = (left / width, 1 - (down + HEIGHT) / height, WIDTH / width, HEIGHT / height)
            _picture(figure.add_axes(box), pictures[place][0])
            for number, line in enumerate(texts[place]):
                _write(figure, box[0], box[1] - LINE * (number + 1.15) / height, line, 9, INK)
        down += depth
    return figure


def _write(figure: Figure, x: float, y: float, text: str, size: float, color: str, **style) -> None:
    # A caption is text: "$x$" in it is no formula.
    figure.text(x, y, text, fontsize=size, color=color, family=_fonts(), parse_math=False, va="baseline", ha="left", **style)


def _picture(axes, path: Path) -> None:
    """The whole picture on a pale ground; a picture that is gone leaves a named gap, never ends the sheet."""
    axes.set(xticks=[], yticks=[], facecolor="#f3f2ef")
    for side in axes.spines.values():
        side.set_visible(False)
    try:
        picture = open_image(path, draft=int(WIDTH * DOTS))
    except ImageError as error:
        lines = "\n".join(wrapped(str(error))[:4])
        style = {"fontsize": 8, "color": QUIET, "family": _fonts(), "parse_math": False}
        axes.text(0.5, 0.5, lines, ha="center", va="center", transform=axes.transAxes, **style)
        return
    picture.thumbnail((int(WIDTH * DOTS), int(HEIGHT * DOTS)))
    wide, high = picture.size
    scale = min(WIDTH / wide, HEIGHT / high)
    side, rim = wide * scale / WIDTH / 2, high * scale / HEIGHT / 2
    axes.imshow(picture, extent=(0.5 - side, 0.5 + side, 0.5 - rim, 0.5 + rim), aspect="auto", interpolation="antialiased")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def wrapped(text: str) -> list[str]:
    """``text`` as at most `LINES` lines of `ROOM` letters; what cannot be drawn is left out."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half an emoji (a lone surrogate) cannot be encoded
    text = "".join(c if unicodedata.category(c)[0] != "C" or c == "\u200d" else " " for c in text)
    lines = [""]
    for word in text.split():
        for part in _parts(word):
            joined = f"{lines[-1]} {part}".lstrip()
            if breadth(joined) <= ROOM:
                lines[-1] = joined
            else:
                lines.append(part)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1] + " …"]
    return lines if lines != [""] else ["(empty caption)"]


def breadth(text: str) -> float:
    """The width of ``text`` in lower-case letters: capitals are wider, Chinese and emoji twice as wide, accents take no room."""
    return sum(_letter_breadth(letter) for letter in text)


@lru_cache(maxsize=10_000)
def _letter_breadth(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF" or letter in "MW" or "\u0900" <= letter < "\u1e00":
        return 2  # so wide is the box that stands for a letter of India or Thailand where no font has it
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 1.7 if letter in "mw@" else 1.3 if letter.isupper() else 1


def _parts(word: str) -> list[str]:
    """The word; in pieces when it is longer than a line."""
    parts = [""]
    for letter in word:
        if breadth(parts[-1] + letter) > ROOM:
            parts.append("")
        parts[-1] += letter
    return parts


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    from matplotlib import font_manager

    have = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in SCRIPTS if name in have]


def _quiet() -> warnings.catch_warnings:
    """A letter that no font has is drawn as a box; that needs no warning on the terminal."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
