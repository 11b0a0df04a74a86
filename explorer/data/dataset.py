"""A dataset: an image folder read, checked and split. Nothing that is wrong with one image ends it.

What a folder may look like is told in folder.py.
"""

from __future__ import annotations

import collections
import hashlib
import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from explorer import files
from explorer.data.duplicates import near_groups
from explorer.data.folder import BAD_LINE, EMPTY, MISSING_FILE, OUTSIDE, SPLITS, Entry, Problem, entries
from explorer.data.images import ImageError, image_id, measure
from explorer.errors import UserError

__all__ = ["BAD_LINE", "EMPTY", "MISSING_FILE", "OUTSIDE", "SPLITS", "Dataset", "Example", "Problem", "Split", "read", "split", "too_long"]

UNREADABLE, TINY, DUPLICATE, NEAR_DUPLICATE = "unreadable image", "tiny image", "duplicate", "near duplicate"
NO_CAPTION, UNCAPTIONED, REPEATED, TOO_LONG = "missing caption", "no captions", "repeated caption", "caption too long"


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
        rows = sorted((e.image_id, *sorted(e.references)) for e in self.examples)
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


# --- reading ----------------------------------------------------------------------------------------------


def read(
    path: Path,
    name: str | None = None,
    max_images: int = 20_000,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read and check an image folder. ``cache``: a folder that remembers which files were opened before.
    ``progress`` is told (images opened, images in all).

    Raises DatasetError when there is no picture to be used, naming what was found and what is wanted, and
    TableError when its table has the wrong columns.
    """
    root = Path(os.path.abspath(path))
    if not root.is_dir():
        raise DatasetError(f"{path} is not a folder: name an image folder.")
    problems: list[Problem] = []
    found = entries(root, problems)
    if len(found) > max_images:
        raise DatasetError(f"{root.name} has {len(found):,} images; at most {max_images:,} can be used: split it.")
    if not found and not problems:
        raise DatasetError(f"{root.name} has no pictures: put images beside a metadata.jsonl, or .txt files beside images.")
    examples = _open_all(found, problems, cache, progress)
    if not examples:
        first = problems[0]
        raise DatasetError(f"{root.name} has no picture that can be used; for one, {first.file}: {first.reason.rstrip('.')}.")
    examples = _without_duplicates(examples, problems)
    problems += _near_duplicates(examples) + _repeated(examples)
    return Dataset(name or root.name, root, tuple(examples), tuple(_captions_missing(examples, problems)))


def _open_all(found: list[Entry], problems: list[Problem], cache: Path | None, progress) -> list[Example]:
    """Open every file once; what was opened before, and has not changed since, is remembered in ``cache``.

    Only good files are remembered: what was wrong with the others may have been the disk, or their rights.
    """
    index = cache / "pictures.jsonl" if cache else None
    known = {row["key"]: row for row in files.read_jsonl(index) if row.keys() >= {"key", "id", "size", "hash"}} if index else {}
    examples: list[Example] = []
    fresh: dict[str, dict] = {}
    with ThreadPoolExecutor(2) as pool:
        looks = pool.map(lambda entry: _look(entry.path, known), found)
        for count, (entry, row) in enumerate(zip(found, looks, strict=True), 1):
            if "error" in row:
                problems.append(Problem(_shown(entry.file_name), UNREADABLE, row["error"], True))
            else:
                examples.append(_example(entry, row, problems))
                if row["key"] not in known:
                    fresh[row["key"]] = row
            if progress and (count % 25 == 0 or count == len(found)):
                progress(count, len(found))
    if index and fresh:
        files.write_jsonl(index, (known | fresh).values())
    return examples


def _look(path: Path, known: dict[str, dict]) -> dict:
    """What opening ``path`` shows: id, size, hash; or the reason it cannot be used."""
    if _shown(str(path)) != str(path):
        return {"error": f"{_shown(path.name)} has a name or folder that is not UTF-8: rename it."}
    try:
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if key in known:
            return known[key]
        width, height, look = measure(path)
        return {"key": key, "id": image_id(path), "size": [width, height], "hash": look}
    except ImageError as error:
        return {"error": str(error)}
    except OSError as error:  # it went away since it was listed
        return {"error": f"{path.name} cannot be opened: {error.strerror}."}


def _shown(name: str) -> str:
    """``name`` without the half characters that stand for bytes which are not UTF-8; no JSON and no page takes those."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _example(entry: Entry, row: dict, problems: list[Problem]) -> Example:
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
        reason = f"is the same picture as {first.file_name}; its references were added to it"
        problems.append(Problem(example.file_name, DUPLICATE, reason, True))
    return list(kept.values())


def _near_duplicates(examples: Sequence[Example]) -> list[Problem]:
    found = []
    for places in near_groups([e.hash for e in examples]):
        first = examples[places[0]]
        found += [
            Problem(examples[p].file_name, NEAR_DUPLICATE, f"looks like {first.file_name}; both stay on one side of the split", False)
            for p in places[1:]
        ]
    return found


def _repeated(examples: Sequence[Example]) -> list[Problem]:
    """References that many images share: a model learns to say them of everything."""
    uses = collections.Counter(text for e in examples for text in {reference.lower() for reference in e.references})
    many = max(5, 0.05 * len(examples))
    return [
        Problem(f"{text[:60]!r}", REPEATED, f"is the reference of {count} images: a model will say it of everything", False)
        for text, count in uses.most_common()
        if count >= many
    ]


def _captions_missing(examples: Sequence[Example], problems: list[Problem]) -> list[Problem]:
    """``problems`` with the images that have no caption; one line for all when no image has any."""
    missing = [e for e in examples if not e.references]
    if missing and len(missing) == len(examples):
        reason = f"none of the {len(missing)} images has a caption: they can be captioned, not learned from"
        return [p for p in problems if p.kind != EMPTY] + [Problem("all images", UNCAPTIONED, reason, False)]
    blank = {p.file: p.reason for p in problems if p.kind == EMPTY}
    bare = {e.file_name for e in missing}
    found = [p for p in problems if not (p.kind == EMPTY and p.file in bare)]
    for example in missing:
        reason = blank.get(example.file_name, "has no caption")
        found.append(Problem(example.file_name, NO_CAPTION, f"{reason}, so it cannot be learned from", False))
    return found


def too_long(dataset: Dataset, count_tokens: Callable[[str], int], limit: int) -> tuple[Problem, ...]:
    """References of more than ``limit`` tokens, start and end included; the model cuts them."""
    found = []
    for example in dataset.captioned:
        for text in example.references:
            # A token is at least a byte, so short texts need no tokenizer.
            if len(text.encode()) + 2 > limit and (count := count_tokens(text)) > limit:
                reason = f"a caption of {count} tokens; the model takes {limit} and cuts the rest"
                found.append(Problem(example.file_name, TOO_LONG, reason, False))
    return tuple(found)


# --- splitting --------------------------------------------------------------------------------------------


def split(dataset: Dataset, validation: float = 0.2, seed: int = 0, limit: int | None = None) -> Split:
    """Training and validation examples: the source's own split when it has both sides, else one drawn by ``seed``.

    Near duplicates stay on one side, so that nothing validated was learned. The draw depends on content alone,
    not on the order of files. ``limit``: how many images to use. Raises DatasetError below two images.
    """
    if limit is not None and limit < 2:
        raise DatasetError(f"The number of images to use is {limit}: take at least 2, one to learn from and one to validate on.")
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
    grouped = {place: group for group in near_groups([e.hash for e in examples]) for place in group}
    out, seen = [], set()
    for place in range(len(examples)):
        if place in seen:
            continue
        places = grouped.get(place, [place])
        seen |= set(places)
        out.append([examples[p] for p in places])
    return out


def _dealt(groups: list[list[Example]], share: float, count: int) -> list[tuple[str, list[Example]]]:
    """Groups dealt to validation, small ones first, until its share is reached; never all of them."""
    wanted = max(1, round(share * count))
    if len(groups) == 1:  # everything looks alike: better validation images too close than none
        cut = min(wanted, count - 1)
        return [("validation", groups[0][:cut]), ("train", groups[0][cut:])]
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
