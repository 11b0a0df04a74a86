"""The rows the Compare tab shows: images x (references, base, epochs of one or several runs).

Captions are read from the runs' files. What is shown first needs no scores; scores are reckoned when a filter
or an order asks for them, and kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from statistics import mean

import numpy as np

from explorer.compare import columns as column_captions
from explorer.compare import differences, photos, triage
from explorer.compare.findings import Findings
from explorer.model.captions import Caption, Decoding
from explorer.scoring import metrics, wording
from explorer.train.run import Run
from explorer.workspace import Workspace

FILTERS = {
    "changed": "the caption differs between the base and a later column",
    "wrong": "the last column is probably wrong: few of its words are in a reference, or its first noun is in none",
    "regressed": "an earlier column was nearer to the references than the last",
    "repeated": "a word comes twice in a row, or many images get the same caption",
    "unfinished": "a caption stops in the middle",
    "flagged": "a caption of this image is flagged",
}
ORDERS = ("as in the dataset", "worst first", "changed most", "regressed most", "least sure first", "most doubtful first", "file name")
LEFT, REFERENCE = "left", "reference"
"""What words are marked against, besides a column's key: the column to the left, the nearest reference."""

MARGIN = 0.1
"""How much nearer to the references an earlier caption must be before the last counts as regressed."""


@dataclass(frozen=True)
class Column:
    """One column of captions: a run at an epoch; epoch 0 is the base."""

    run: str
    epoch: int

    @property
    def key(self) -> str:
        return f"{self.run}@{self.epoch}"

    @staticmethod
    def from_key(key: str) -> Column:
        run, epoch = key.rsplit("@", 1)
        return Column(run, int(epoch))

    @property
    def checkpoint(self) -> str:
        """The word for it in flags and tables: base, or epoch-2."""
        return f"epoch-{self.epoch}" if self.epoch else "base"


@dataclass(frozen=True)
class View:
    """What a person has chosen to see. ``learning``: a label of `Comparison.learning`, such as "learned at epoch 2";
    ``against``: what words are marked against, `LEFT`, `REFERENCE` or a column's key."""

    filters: frozenset[str] = frozenset()
    search: str = ""
    order: str = ORDERS[0]
    learning: str | None = None
    page: int = 0
    page_size: int = 12
    against: str = LEFT


@dataclass(frozen=True)
class Cell:
    """One caption. ``pieces``: how its words differ from what the view marks them against; ``likeness``: its
    `metrics.goodness`, None without a reference."""

    column: Column
    caption: Caption | None
    pieces: tuple[wording.Piece, ...] = ()
    marks: tuple[str, ...] = ()
    likeness: float | None = None


@dataclass(frozen=True)
class Row:
    image_id: str
    file: str
    path: Path
    references: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Page:
    rows: tuple[Row, ...]
    total: int
    pages: int


@dataclass
class Comparison:
    """Images in order and, for each column, their captions (None: not generated yet)."""

    columns: list[Column]
    images: list[dict]
    captions: dict[str, list[Caption | None]]
    several_runs: bool = False
    decoding: Decoding = field(default_factory=Decoding)
    looked: dict[str, np.ndarray] | None = None
    """Signals [images] of the last column's captions for which the pictures were looked at; None before that."""
    findings: Findings = field(init=False, repr=False)

    def __post_init__(self):
        self.findings = Findings(self.images, self.captions)

    def __len__(self) -> int:
        return len(self.images)

    def only(self, columns: Sequence[Column]) -> Comparison:
        """The same comparison with some of its columns, in that order; what was found out about them is shared and kept."""
        key = ("only", *(column.key for column in columns))
        if key not in self.findings.kept:
            other = replace(self, columns=list(columns), looked=None)
            other.findings = self.findings
            self.findings.kept[key] = other
        return self.findings.kept[key]

    @property
    def keys(self) -> list[str]:
        return [column.key for column in self.columns]

    def label(self, column: Column) -> str:
        name = f"epoch {column.epoch}" if column.epoch else "base"
        return f"{column.run} · {name}" if self.several_runs else name

    def text(self, column: Column, place: int) -> str | None:
        caption = self.captions[column.key][place]
        return caption.text if caption else None

    def texts(self, column: Column) -> list[str]:
        return [caption.text if caption else "" for caption in self.captions[column.key]]

    @cached_property
    def places(self) -> dict[str, int]:
        return {image["image_id"]: place for place, image in enumerate(self.images)}

    # -- what is true of each image, as arrays over images

    @cached_property
    def goodness(self) -> np.ndarray:
        """[images, columns]: `metrics.goodness`, nan where there is no caption or no reference."""
        return self.findings.goodness(self.keys)

    @cached_property
    def changed(self) -> np.ndarray:
        said = np.array([self.findings.wording(key) for key in self.keys]).reshape(len(self.keys), len(self.images))
        most, least = said.max(axis=0, initial=-1), np.where(said < 0, np.iinfo(int).max, said).min(axis=0, initial=np.iinfo(int).max)
        return (most >= 0) & (most != least)

    @cached_property
    def right(self) -> np.ndarray:
        """[images, columns]: whether a caption is near a reference, and about a thing that one of them names. False where
        that cannot be said."""
        strange = [self.findings.strange(key) for key in self.keys]
        return (np.nan_to_num(self.goodness) >= metrics.RIGHT) & ~np.stack(strange, axis=1) if strange else np.zeros(self.goodness.shape, bool)

    @cached_property
    def wrong(self) -> np.ndarray:
        """Of the last column's captions; nothing is wrong where nothing can be said."""
        return ~np.isnan(self.goodness[:, -1]) & ~self.right[:, -1]

    @cached_property
    def regressed(self) -> np.ndarray:
        return self._drop > MARGIN

    @property
    def _last(self) -> np.ndarray:
        return np.nan_to_num(self.goodness[:, -1], nan=1.0)

    @cached_property
    def _drop(self) -> np.ndarray:
        """How far the last column fell behind the best before it."""
        if len(self.columns) < 2:
            return np.zeros(len(self.images))
        best = np.nan_to_num(self.goodness[:, :-1], nan=0.0).max(axis=1)
        return best - self._last

    @cached_property
    def repeated(self) -> np.ndarray:
        return self._any(self.findings.repeated)

    @cached_property
    def unfinished(self) -> np.ndarray:
        return self._any(self.findings.unfinished)

    def _any(self, finding) -> np.ndarray:
        """Whether ``finding`` holds for some column's caption of each image."""
        out = np.zeros(len(self.images), bool)
        for key in self.keys:
            out |= finding(key)
        return out

    @cached_property
    def unsure(self) -> np.ndarray:
        """The lowest word probability of the last column; 1 where there is none."""
        return self.findings.lowest(self.keys[-1]) if self.columns else np.ones(len(self.images))

    @cached_property
    def doubt(self) -> np.ndarray:
        """How likely the last column's caption is bad, by signals that need no reference: see triage.py."""
        columns = [self.captions[key] for key in self.keys]
        return triage.doubts(triage.signals(columns, self.looked)) if columns else np.zeros(len(self.images))

    def tell(self, looked: dict[str, np.ndarray]) -> None:
        """Signals that have been worked out since: the order by doubt takes them in."""
        self.looked = looked
        self.__dict__.pop("doubt", None)

    def marks(self, column: Column, place: int) -> tuple[str, ...]:
        """What is noticeable about one caption in itself: repeated, unfinished."""
        caption = self.captions[column.key][place]
        if caption is None:
            return ()
        found = []
        if self.findings.is_repeated(column.key, caption):
            found.append("repeated")
        if metrics.is_unfinished(caption.text, caption.finished):
            found.append("unfinished")
        return tuple(found)

    # -- learning history

    @cached_property
    def learning(self) -> list[str]:
        """For each image when its caption came right: always, learned at ..., forgotten at ..., never; "unknown" where
        there is no reference or no caption. A column without a caption for the image is passed over."""
        known = ~np.isnan(self.goodness)
        histories = [(k.tobytes(), r.tobytes()) for k, r in zip(known, self.right, strict=True)]
        stories = {history: self._story(history) for history in set(histories)}
        return [stories[history] for history in histories]

    def _story(self, history: tuple[bytes, bytes]) -> str:
        """``history``: of each column whether its caption is known, and whether it is right."""
        known = [(column, right) for column, known, right in zip(self.columns, *history, strict=False) if known]
        if not known:
            return "unknown"
        if len({bool(right) for _, right in known}) == 1:
            return "always" if known[0][1] else "never"
        last = bool(known[-1][1])
        turn = max(place for place, (_, right) in enumerate(known) if bool(right) != last) + 1
        return f"{'learned' if last else 'forgotten'} at {self.label(known[turn][0])}"

    def learning_counts(self) -> list[tuple[str, int]]:
        counts = Counter(self.learning)
        names = [f"learned at {self.label(c)}" for c in self.columns[1:]] + [f"forgotten at {self.label(c)}" for c in self.columns[1:]]
        order = ["always", *names, "never"]
        return [(name, counts[name]) for name in order if counts[name]]

    # -- choosing

    def select(self, view: View, flagged: frozenset[str] = frozenset()) -> np.ndarray:
        """Places of the images a view shows, in its order. ``flagged``: ids of images with a flag."""
        keep = np.ones(len(self.images), bool)
        for name in view.filters:
            keep &= self._flagged(flagged) if name == "flagged" else getattr(self, name)
        if view.learning and view.learning in self.learning:  # a link may ask for what no image of these runs has
            keep &= np.array([story == view.learning for story in self.learning], bool)
        for word in view.search.lower().split():
            keep &= self.findings.holds(word, self.keys)
        places = np.flatnonzero(keep)
        return places[self._ranks(view.order)[places].argsort(kind="stable")]

    def _flagged(self, flagged: frozenset[str]) -> np.ndarray:
        return np.array([image["image_id"] in flagged for image in self.images], bool)

    def _ranks(self, order: str) -> np.ndarray:
        """Numbers by which images are sorted, least first."""
        if order == "worst first":
            return self._last
        if order == "regressed most":
            return -self._drop
        if order == "least sure first":
            return self.unsure
        if order == "most doubtful first":
            return -self.doubt
        if order == "changed most":
            return self.findings.likeness(self.keys[0], self.keys[-1]) if self.columns else np.ones(len(self.images))
        if order == "file name":
            return self.findings.file_order()
        return np.arange(len(self.images))

    def page(self, view: View, flagged: frozenset[str] = frozenset(), flagged_cells: frozenset[tuple] = frozenset()) -> Page:
        """The rows of one page; ``flagged_cells``: (column key, image id) of flagged captions."""
        places = self.select(view, flagged)
        pages = max(1, -(-len(places) // view.page_size))
        page = max(0, min(view.page, pages - 1))
        shown = places[page * view.page_size : (page + 1) * view.page_size]
        rows = tuple(self.row(int(place), flagged_cells, view.against) for place in shown)
        return Page(rows, len(places), pages)

    def row(self, place: int, flagged_cells: frozenset[tuple] = frozenset(), against: str = LEFT) -> Row:
        image = self.images[place]
        cells, left = [], None
        for column in self.columns:
            caption = self.captions[column.key][place]
            marks = self.marks(column, place)
            if (column.key, image["image_id"]) in flagged_cells:
                marks = ("flagged", *marks)
            near = metrics.goodness(caption.text, image["references"]) if caption and image["references"] else None
            cells.append(Cell(column, caption, self._pieces(caption, place, against, left), marks, near))
            left = caption.text if caption else left
        return Row(image["image_id"], image["file"], Path(image["path"]), tuple(image["references"]), tuple(cells))

    def _pieces(self, caption: Caption | None, place: int, against: str, left: str | None) -> tuple[wording.Piece, ...]:
        """The caption's words, marked; unmarked where there is nothing to hold them against."""
        if caption is None:
            return ()
        if against == REFERENCE:
            references = self.images[place]["references"]
            return tuple(differences.against_references(caption.text, references)) if references else _unmarked(caption)
        if against != LEFT:
            other = self.captions.get(against, [None] * len(self.images))[place]
            left = other.text if other else None
        return tuple(wording.diff(left, caption.text)) if left is not None else _unmarked(caption)

    def missing(self) -> list[tuple[Column, list[dict]]]:
        """Columns with the images they have no caption for."""
        found = []
        for column in self.columns:
            images = [image for image, c in zip(self.images, self.captions[column.key], strict=True) if c is None]
            if images:
                found.append((column, images))
        return found


def _unmarked(caption: Caption) -> tuple[wording.Piece, ...]:
    return (wording.Piece(caption.text, "same"),)


def default_columns(runs: Sequence[Run]) -> list[Column]:
    """The base and every epoch, run after run; a base that two runs share is shown once."""
    found: list[Column] = []
    bases = set()
    for run in runs:
        if run.config.base not in bases:
            found.append(Column(run.name, 0))
        bases.add(run.config.base)
        found += [Column(run.name, epoch) for epoch in run.epochs()]
    return found


def build(
    runs: Sequence[Run], workspace: Workspace, columns: Sequence[Column] | None = None, decoding: Decoding | None = None
) -> Comparison:
    """The comparison of runs over all their validation images, aligned by content, and the photos a person kept.

    ``columns``: `default_columns` if None; ``decoding``: the first run's if None. A base is the same for all runs on it, so its column holds what any of them kept of it.
    """
    decoding = decoding or (runs[0].config.decoding if runs else Decoding())
    columns = list(columns if columns is not None else default_columns(runs))
    images: dict[str, dict] = {}
    for run in runs:
        for row in run.examples("validation"):
            known = images.setdefault(row["image_id"], {**row, "path": str(run.folder / row["path"])})
            known["references"] = list(dict.fromkeys([*known["references"], *row["references"]]))
    for photo in photos.listed(workspace):
        images.setdefault(photo["image_id"], photo)
    by_name = {run.name: run for run in runs}
    captions = {}
    for column in columns:
        run = by_name[column.run]
        # The column's own run comes last, so that its captions win.
        same = [other for other in runs if column.epoch == 0 and other.config.base == run.config.base and other is not run]
        known = {}
        for each in (*same, run):
            known |= column_captions.known(workspace, each, column.epoch, decoding)
        captions[column.key] = [known.get(image_id) for image_id in images]
    return Comparison(columns, list(images.values()), captions, len(runs) > 1, decoding)


def first_columns(columns: Sequence[Column], room: int = 6) -> list[Column]:
    """The columns to begin with: all, or of a longer list the base and the last epoch of each run with even steps between.

    Steps are those of an axis, 1, 2, 5, 10 and so on: while a run learns, a new epoch comes at the right, and those before
    it seldom go.
    """
    if len(columns) <= room:
        return list(columns)
    runs = list(dict.fromkeys(column.run for column in columns))
    share = max(2, room // len(runs))
    found = []
    for run in runs:
        own = [column for column in columns if column.run == run]
        steps = (base * 10**power for power in count() for base in (1, 2, 5))
        places = next(fit for step in steps if len(fit := [*range(0, len(own) - 1, step), len(own) - 1]) <= share)
        found += [own[place] for place in places]
    return found


def differing_settings(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """(setting, its value in each run) for the settings that are not the same in all ``runs``."""
    found = []
    values = [_settings(run) for run in runs]
    for name in dict.fromkeys(name for each in values for name in each):
        row = [each.get(name, "") for each in values]
        if len(set(row)) > 1:
            found.append((name, row))
    return found


def _settings(run: Run) -> dict[str, str]:
    values = asdict(run.config)
    del values["name"]
    values |= values.pop("decoding")
    values |= {f"{split} images used": len(run.examples(split)) for split in ("train", "validation")}
    return {name.replace("_", " "): "all" if value is None else str(value) for name, value in values.items()}


def sureness(caption: Caption) -> tuple[float, float]:
    """(mean, lowest) word probability; (1, 1) for a caption without words."""
    return (mean(caption.probabilities), min(caption.probabilities)) if caption.probabilities else (1.0, 1.0)
