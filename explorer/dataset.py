"""A dataset: an image folder read, checked and split. Nothing that is wrong with one image ends it.

folder/
  metadata.jsonl | metadata.csv | metadata.parquet      file_name with text, caption or a list in captions
  photo.jpg ...                                         or: photo.txt beside photo.jpg, one reference a line
  train/  validation/                                   optional, each with its own table or sidecars
"""

from __future__ import annotations

import collections
import hashlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from explorer import files, tables
from explorer.errors import UserError
from explorer.images import SUFFIXES, ImageError, image_id, open_image, perceptual_hash

UNREADABLE, MISSING_FILE, OUTSIDE, NO_CAPTION = "unreadable image", "missing file", "outside the folder", "missing caption"
DUPLICATE, NEAR_DUPLICATE, REPEATED = "duplicate", "near duplicate", "repeated caption"
TOO_LONG, TINY, BAD_LINE, UNCAPTIONED = "caption too long", "tiny image", "bad line", "no captions"

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "validation",
}
NEAR = 4
"""Bits in which the hashes of near duplicates may differ."""


class DatasetError(UserError):
    """A folder that cannot be used as a dataset; the sentence says why and what would do."""


@dataclass(frozen=True)
class Example:
    """One image and its references. ``split`` is what the source says, None when it says nothing."""

    image_id: str
    path: Path
    file_name: str
    references: tuple[str, ...]
    width: int
    height: int
    split: str | None = None
    hash: int = 0


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file or line; ``left_out`` says whether it is missing from the examples."""

    file: str
    kind: str
    reason: str
    left_out: bool


@dataclass(frozen=True)
class Dataset:
    name: str
    root: Path
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]

    @property
    def captioned(self) -> tuple[Example, ...]:
        return tuple(example for example in self.examples if example.references)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over image ids and references: the same content has the same one, in whatever order."""
        rows = sorted((e.image_id, *e.references) for e in self.examples)
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]

    def summary(self) -> dict[str, float]:
        """Counts, mean references an image, mean words a reference, smallest and largest side in pixels."""
        texts = [text for example in self.captioned for text in example.references]
        sides = [side for example in self.examples for side in (example.width, example.height)]
        return {
            "images": len(self.examples),
            "captioned": len(self.captioned),
            "references": len(texts) / max(1, len(self.captioned)),
            "words": statistics.mean(len(text.split()) for text in texts) if texts else 0,
            "smallest": min(sides, default=0),
            "largest": max(sides, default=0),
            "left_out": sum(problem.left_out for problem in self.problems),
        }


@dataclass(frozen=True)
class Split:
    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True)
class _Entry:
    """A file that should be an example, before it was opened."""

    path: Path
    file_name: str
    references: tuple[str, ...]
    split: str | None


# --- reading ----------------------------------------------------------------------------------------------


def read(
    path: Path,
    name: str | None = None,
    max_images: int = 20_000,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read and check an image folder. ``cache``: a folder that remembers which files were opened before.

    Raises DatasetError when there is no picture to be used, naming what was found and what is wanted.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: name an image folder.")
    problems: list[Problem] = []
    entries = list(_merge(_entries(root, problems)))
    if len(entries) > max_images:
        raise DatasetError(f"{root.name} has {len(entries):,} images; at most {max_images:,} can be used: split it.")
    if not entries and not problems:
        raise DatasetError(f"{root.name} has no pictures: put images beside a metadata.jsonl, or .txt files beside images.")
    examples = _open_all(entries, problems, cache, progress)
    examples = _without_duplicates(examples, problems)
    problems += _near_duplicates(examples) + _repeated(examples) + _captions_missing(examples)
    if not examples:
        first = problems[0]
        raise DatasetError(f"{root.name} has no picture that can be used; for one, {first.file}: {first.reason}.")
    return Dataset(name or root.name, root, tuple(examples), tuple(problems))


def _entries(root: Path, problems: list[Problem]) -> Iterator[_Entry]:
    """The files of the folder and of its split folders, by table where there is one."""
    if tables.find(root):
        yield from _from_table(root, root, None, problems)
        return
    splits = [d for d in sorted(root.iterdir()) if d.is_dir() and d.name.lower() in SPLITS]
    for folder in splits:
        read_one = _from_table if tables.find(folder) else _from_files
        yield from read_one(root, folder, SPLITS[folder.name.lower()], problems)
    if not splits:
        yield from _from_files(root, root, None, problems)


def _from_table(root: Path, folder: Path, split: str | None, problems: list[Problem]) -> Iterator[_Entry]:
    path = tables.find(folder)
    table = tables.read(path)
    where = path.relative_to(root).as_posix()
    problems += [Problem(f"{where}, line {line}", BAD_LINE, f"line {line} {reason}", True) for line, reason in table.problems]
    named = set()
    for line, file, references in table.rows:
        target = folder / file
        if not _inside(target, root) or Path(file).is_absolute():
            problems.append(Problem(file, OUTSIDE, f"line {line} names a file outside the folder", True))
        elif not target.is_file():
            problems.append(Problem(file, MISSING_FILE, f"line {line} names it, but there is no such file", True))
        else:
            named.add(target.resolve())
            # a train/ or validation/ folder under a table in the root says which side a file is on
            side = split or SPLITS.get(Path(file).parts[0].lower() if len(Path(file).parts) > 1 else "")
            yield _Entry(target, target.relative_to(root).as_posix(), tuple(references), side)
    for target in _pictures(folder):
        if target.resolve() not in named:
            yield _Entry(target, target.relative_to(root).as_posix(), (), split)


def _from_files(root: Path, folder: Path, split: str | None, problems: list[Problem]) -> Iterator[_Entry]:
    for target in _pictures(folder):
        sidecar = target.with_suffix(".txt")
        references = _sidecar(sidecar, root, problems) if sidecar.is_file() and _inside(sidecar, root) else ()
        yield _Entry(target, target.relative_to(root).as_posix(), references, split)


def _sidecar(path: Path, root: Path, problems: list[Problem]) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError):
        problems.append(Problem(path.relative_to(root).as_posix(), BAD_LINE, "is not UTF-8 text: save it again as UTF-8", False))
        return ()
    return tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))


def _pictures(folder: Path) -> list[Path]:
    """Picture files below ``folder`` in a fixed order, hidden ones and links to elsewhere apart."""
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file() and _inside(path, folder):
            found.append(path)
    return found


def _inside(path: Path, root: Path) -> bool:
    """Whether ``path``, links followed, lies in ``root``."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _merge(entries: Iterator[_Entry]) -> Iterator[_Entry]:
    """One entry a file: rows that repeat a file add their references."""
    merged: dict[Path, _Entry] = {}
    for entry in entries:
        known = merged.get(entry.path)
        texts = (*known.references, *entry.references) if known else entry.references
        merged[entry.path] = replace(entry, references=tuple(dict.fromkeys(texts)))
    yield from merged.values()


# --- opening ----------------------------------------------------------------------------------------------


def _open_all(entries, problems: list[Problem], cache: Path | None, progress) -> list[Example]:
    """Open every file once; what was opened before, and has not changed since, is remembered in ``cache``."""
    index = cache / "images.jsonl" if cache else None
    known = {row["key"]: row for row in files.read_jsonl(index)} if index else {}
    found: list[Example] = []
    fresh: list[dict] = []
    with ThreadPoolExecutor(2) as pool:
        for count, (entry, row) in enumerate(zip(entries, pool.map(lambda e: _look(e.path, known), entries), strict=True), 1):
            if "error" in row:
                problems.append(Problem(entry.file_name, UNREADABLE, row["error"], True))
            else:
                found.append(_example(entry, row, problems))
            if row["key"] not in known:
                fresh.append(row)
            if progress and (count % 25 == 0 or count == len(entries)):
                progress(count, len(entries))
    if index and fresh:
        files.write_jsonl(index, (known | {row["key"]: row for row in fresh}).values())
    return found


def _look(path: Path, known: dict[str, dict]) -> dict:
    """What opening ``path`` shows: id, size, hash; or the reason it cannot be used."""
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    if key in known:
        return known[key]
    try:
        picture = open_image(path)
    except ImageError as error:
        return {"key": key, "error": str(error)}
    except OSError as error:
        return {"key": key, "error": f"{path.name} cannot be opened: {error.strerror}."}
    return {"key": key, "id": image_id(path), "size": list(picture.size), "hash": perceptual_hash(picture)}


def _example(entry: _Entry, row: dict, problems: list[Problem]) -> Example:
    width, height = row["size"]
    if min(width, height) < 32:
        problems.append(Problem(entry.file_name, TINY, f"is {width} x {height} pixels: too small to see much", False))
    return Example(row["id"], entry.path, entry.file_name, entry.references, width, height, entry.split, row["hash"])


# --- what is wrong with the whole --------------------------------------------------------------------------


def _without_duplicates(examples: Sequence[Example], problems: list[Problem]) -> list[Example]:
    """The first file of each content, with the references of all; the others are told and left out."""
    kept: dict[str, Example] = {}
    for example in examples:
        first = kept.get(example.image_id)
        if first is None:
            kept[example.image_id] = example
            continue
        merged = tuple(dict.fromkeys((*first.references, *example.references)))
        kept[example.image_id] = replace(first, references=merged)
        problems.append(
            Problem(example.file_name, DUPLICATE, f"is the same picture as {first.file_name}; its references were added to it", True)
        )
    return list(kept.values())


def near_groups(examples: Sequence[Example]) -> list[list[int]]:
    """Places of examples whose hashes differ in at most `NEAR` bits, chained together; groups of one are left out.

    Two hashes that differ in at most 4 of 64 bits agree in at least one of 5 bands (pigeonhole), so only
    images that share a band are compared.
    """
    hashes = np.array([e.hash for e in examples], dtype=np.uint64)
    parent = list(range(len(examples)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for shift, width in ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12)):
        bands = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(bands, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(bands[order])) + 1):
            for at, place in enumerate(group[:-1]):
                close = np.bitwise_count(hashes[group[at + 1 :]] ^ hashes[place]) <= NEAR
                for other in group[at + 1 :][close]:
                    parent[root(int(other))] = root(int(place))
    groups = collections.defaultdict(list)
    for place in range(len(examples)):
        groups[root(place)].append(place)
    return [places for places in groups.values() if len(places) > 1]


def _near_duplicates(examples: Sequence[Example]) -> list[Problem]:
    found = []
    for places in near_groups(examples):
        first = examples[places[0]]
        found += [
            Problem(examples[p].file_name, NEAR_DUPLICATE, f"looks like {first.file_name}; both stay on one side of the split", False)
            for p in places[1:]
        ]
    return found


def _repeated(examples: Sequence[Example]) -> list[Problem]:
    """References that many images share: a model learns to say them of everything."""
    uses = collections.Counter(text.lower() for e in examples for text in set(e.references))
    many = max(5, 0.05 * len(examples))
    return [
        Problem(f"{text[:60]!r}", REPEATED, f"is the reference of {count} images: a model will say it of everything", False)
        for text, count in uses.most_common()
        if count >= many
    ]


def _captions_missing(examples: Sequence[Example]) -> list[Problem]:
    missing = [e for e in examples if not e.references]
    if missing and len(missing) == len(examples):
        return [
            Problem(
                "all images",
                UNCAPTIONED,
                f"none of the {len(missing)} images has a caption: they can be captioned, not learned from",
                False,
            )
        ]
    return [Problem(e.file_name, NO_CAPTION, "has no caption, so it cannot be learned from", False) for e in missing]


def too_long(dataset: Dataset, count_tokens: Callable[[str], int], limit: int) -> tuple[Problem, ...]:
    """References of more than ``limit`` tokens, start and end included; the model cuts them."""
    found = []
    for example in dataset.captioned:
        for text in example.references:
            # A token is at least a letter, so short texts need no tokenizer.
            if len(text) + 2 > limit and (count := count_tokens(text)) > limit:
                found.append(
                    Problem(example.file_name, TOO_LONG, f"a caption of {count} tokens; the model takes {limit} and cuts the rest", False)
                )
    return tuple(found)


# --- splitting --------------------------------------------------------------------------------------------


def split(dataset: Dataset, validation: float = 0.2, seed: int = 0, limit: int | None = None) -> Split:
    """Training and validation examples: the source's own split when it has both sides, else one drawn by ``seed``.

    Near duplicates stay on one side, so that nothing validated was learned. The draw depends on content alone,
    not on the order of files. ``limit``: how many images to use. Raises DatasetError below two captioned images.
    """
    examples = sorted(dataset.captioned, key=lambda e: _draw(seed, e.image_id))
    if len(examples) < 2:
        what = "1 captioned image" if examples else "no captioned image"
        raise DatasetError(f"{dataset.name} has {what}; fine-tuning needs at least 2: add captions in metadata.jsonl or .txt files.")
    own = {e.split for e in examples} >= {"train", "validation"}
    groups = _groups(examples)
    if own:
        chosen = [("validation" if any(e.split == "validation" for e in group) else "train", group) for group in groups]
        if len({side for side, _ in chosen}) < 2:
            own = False
    if not own:
        chosen = _dealt(groups, validation, len(examples))
    sides = {side: [e for s, group in chosen if s == side for e in group] for side in ("train", "validation")}
    if limit is not None and limit < len(examples):
        sides = _limited(sides, limit)
    return Split(tuple(sides["train"]), tuple(sides["validation"]))


def _draw(seed: int, image: str) -> str:
    return hashlib.sha256(f"{seed}/{image}".encode()).hexdigest()


def _groups(examples: list[Example]) -> list[list[Example]]:
    """Examples that must stay together, in the order of their first."""
    grouped = {place: group for group in near_groups(examples) for place in group}
    out, seen = [], set()
    for place, example in enumerate(examples):
        if place in seen:
            continue
        places = grouped.get(place, [place])
        seen |= set(places)
        out.append([examples[p] for p in places])
    return out


def _dealt(groups: list[list[Example]], share: float, count: int) -> list[tuple[str, list[Example]]]:
    """Groups dealt to validation, small ones first, until its share is reached; never all of them."""
    wanted = max(1, round(share * count))
    if len(groups) == 1:  # everything looks alike: better a validation image too close than none
        return [("validation", groups[0][:1]), ("train", groups[0][1:])]
    sides, taken = {}, 0
    for place in sorted(range(len(groups)), key=lambda p: len(groups[p]) > wanted):
        fits = taken == 0 or taken + len(groups[place]) <= wanted
        if taken < wanted and fits and len(sides) < len(groups) - 1:
            taken += len(groups[place])
            sides[place] = "validation"
    return [(sides.get(place, "train"), group) for place, group in enumerate(groups)]


def _limited(sides: dict[str, list[Example]], limit: int) -> dict[str, list[Example]]:
    count = sum(map(len, sides.values()))
    kept = max(1, min(limit - 1, round(limit * len(sides["validation"]) / count)))
    return {"validation": sides["validation"][:kept], "train": sides["train"][: limit - kept]}
