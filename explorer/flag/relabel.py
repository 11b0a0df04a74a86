"""Relabel: the corrections of flags become references, in a new version of the dataset.

    plan = relabel.plan(dataset.read(folder), store.list(status="open"))
    folder = relabel.write(plan, workspace)

A flag marks a caption; relabelling changes references. What a correction does to an image's references is one of RULES:

mistaken   The references that make the flagged mistake, saying a word the correction takes back and none it puts in its
           place (of the words that several flags agree on, when they do), are replaced by the correction. The others stay, and the correction is among them. The default: it mends
           references that taught the mistake, and keeps what people said well.
all        Every reference gives way to the correction.
add        Nothing is taken away; the correction is added.

Everything else of the dataset stays byte for byte as it was (in a metadata.parquet, value for value). relabel.json in
the new folder says what came from which flag.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from explorer import files
from explorer.data import dataset as datasets
from explorer.data import folder, tables_edit
from explorer.data.dataset import Dataset, Example
from explorer.data.images import ImageError, image_id
from explorer.errors import UserError
from explorer.flag.flags import Flag, FlagStore
from explorer.flag.mistakes import Mistake, mistake, shared
from explorer.workspace import Workspace, check_name, free_name

RULES = {
    "mistaken": "replace the references that make the flagged mistake, keep the others",
    "all": "replace all references of a flagged image",
    "add": "keep all references and add the correction",
}
MANIFEST = "relabel.json"
SUFFIX = "-relabelled"


class RelabelError(UserError):
    """A dataset that cannot be relabelled; the sentence says why and what would do."""


@dataclass(frozen=True)
class Edit:
    """What happens to one image's references, and the flags it comes from. Nothing, when they agree with the flags already."""

    example: Example
    flags: tuple[Flag, ...]
    after: tuple[str, ...]

    @property
    def before(self) -> tuple[str, ...]:
        return self.example.references

    @property
    def changes(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class Plan:
    """A new version before it is written. ``elsewhere``: corrected flags of images that this dataset does not have."""

    dataset: Dataset
    rule: str
    edits: tuple[Edit, ...]
    elsewhere: tuple[Flag, ...]

    @property
    def changed(self) -> list[Edit]:
        return [edit for edit in self.edits if edit.changes]

    @property
    def flags(self) -> list[Flag]:
        return [flag for edit in self.edits for flag in edit.flags]


# --- planning ---------------------------------------------------------------------------------------------


def plan(dataset: Dataset, flags: Iterable[Flag], rule: str = "mistaken") -> Plan:
    """What the corrected, open ones among ``flags`` do to ``dataset``. Raises RelabelError for an unknown rule."""
    if rule not in RULES:
        raise RelabelError(f"The rule {rule!r} is not known: take one of {', '.join(RULES)}.")
    corrected: dict[str, list[Flag]] = defaultdict(list)
    for flag in sorted(flags, key=lambda flag: (flag.updated, flag.flag_id)):
        if flag.corrected_caption.strip() and flag.status == "open":
            corrected[flag.image_id].append(flag)
    known = shared(flag for group in corrected.values() for flag in group)
    by_id = {example.image_id: example for example in dataset.examples}
    edits = [
        Edit(example, tuple(corrected[identity]), new_references(example.references, corrected[identity], rule, known))
        for identity, example in by_id.items()
        if identity in corrected
    ]
    elsewhere = [flag for identity, group in corrected.items() if identity not in by_id for flag in group]
    return Plan(dataset, rule, tuple(edits), tuple(elsewhere))


def new_references(
    references: Sequence[str], flags: Sequence[Flag], rule: str = "mistaken", known: Mapping[str, Mistake] = {}
) -> tuple[str, ...]:
    """An image's references after its corrected ``flags``, each text once. White space in corrections is tidied, as it
    is in references. ``known``: by flag id the mistake a flag shares with others, see `mistakes.shared`."""
    corrections = [" ".join(flag.corrected_caption.split()) for flag in flags]
    if rule == "all":
        return tuple(dict.fromkeys(corrections))
    kept = list(references)
    for flag, correction in zip(flags, corrections, strict=True):
        made = mistake(flag.caption, correction)
        made = [made, known[flag.flag_id]] if flag.flag_id in known else [made]
        hit = [rule == "mistaken" and text not in corrections and any(m.is_in(text) for m in made) for text in kept]
        kept = [correction if is_hit else text for text, is_hit in zip(kept, hit, strict=True)]
        if correction not in kept:
            kept.append(correction)
    return tuple(dict.fromkeys(kept))


# --- writing ----------------------------------------------------------------------------------------------


def write(plan: Plan, workspace: Workspace, name: str | None = None) -> Path:
    """Write the new version as an image folder of the workspace, whole or not at all.

    Raises RelabelError when nothing would change, the disk is too full, or the folder does not read back as planned.
    """
    if not plan.changed:
        raise RelabelError("No reference would change: correct some flags of this dataset first.")
    root, final = plan.dataset.root, workspace.datasets / _name(plan.dataset.name, workspace, name)
    sources = _sources(root)
    _check_room(sources, workspace.datasets)
    wanted = _wanted(plan)
    with files.whole_folder(final) as staging:
        for path in sources:
            copy = staging / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        tables_edit.set_references(staging, {staging / path.relative_to(root): after for path, after in wanted.items()})
        _check_written(root, staging, wanted)
        files.write_json(staging / MANIFEST, manifest(plan, final.name))
    return final


def finish(plan: Plan, store: FlagStore, name: str, who: str = "") -> int:
    """Mark the flags whose corrections are in the new version ``name`` as relabelled, undone as one; how many."""
    ids = [flag.flag_id for flag in plan.flags]
    if ids:
        store.edit_all(ids, who, f"relabel {len(ids)} flags into {name}", status="relabelled")
    return len(ids)


def _name(source: str, workspace: Workspace, name: str | None) -> str:
    if name:
        check_name(name)
        if (workspace.datasets / name).exists():
            raise RelabelError(f"There is a dataset named {name!r} already: choose another name.")
        return name
    stem = source.split(SUFFIX)[0]
    return free_name(f"{stem}{SUFFIX}", {path.name for path in workspace.datasets.glob("*")})


def _sources(root: Path) -> list[Path]:
    """The files a new version takes along: all but hidden ones, links to elsewhere and an earlier manifest."""
    found = []
    for here, names, here_files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        paths = (Path(here, name) for name in sorted(here_files) if not name.startswith(".") and name != MANIFEST)
        found += [path for path in paths if path.is_file() and folder.inside(path, root)]
    return found


def _check_room(sources: list[Path], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    size, free = sum(path.stat().st_size for path in sources), shutil.disk_usage(place).free
    if size * 1.05 > free:
        raise RelabelError(f"The new version takes {size / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB left: free some space first.")


def _wanted(plan: Plan) -> dict[Path, tuple[str, ...]]:
    """New references by picture file: the examples', and those of files that hold the same picture."""
    changed = {edit.example.image_id: edit for edit in plan.changed}
    wanted = {edit.example.path: edit.after for edit in plan.changed}
    for problem in plan.dataset.problems:
        if problem.kind == datasets.DUPLICATE:
            path = plan.dataset.root / problem.file
            try:
                edit = changed.get(image_id(path))
            except ImageError:
                continue
            wanted |= {path: edit.after} if edit else {}
    return wanted


def _check_written(root: Path, staging: Path, wanted: dict[Path, tuple[str, ...]]) -> None:
    """Read both folders' references: those that were to change did, and no other. Raises RelabelError naming the file."""
    before = {entry.file_name: (wanted.get(entry.path, entry.references), entry.split) for entry in folder.entries(root, [])}
    after = {entry.file_name: (entry.references, entry.split) for entry in folder.entries(staging, [])}
    for file in before.keys() | after.keys():
        if before.get(file) != after.get(file):
            raise RelabelError(f"The references of {file} could not be changed in the table that names it: mend its row there first.")


def manifest(plan: Plan, name: str) -> dict:
    """What came from which flag, and from which dataset; references before and after."""
    kept = ("flag_id", "run", "checkpoint", "caption", "corrected_caption", "reason", "reviewer")
    rows = [
        {
            "file": edit.example.file_name,
            "image_id": edit.example.image_id,
            "before": list(edit.before),
            "after": list(edit.after),
            "flags": [{key: value for key, value in asdict(flag).items() if key in kept} for flag in edit.flags],
        }
        for edit in plan.edits
    ]
    source = {"name": plan.dataset.name, "path": str(plan.dataset.root), "fingerprint": plan.dataset.fingerprint}
    return {"name": name, "made": time.time(), "from": source, "rule": plan.rule, "changed": len(plan.changed), "examples": rows}


def read_manifest(path: Path) -> dict | None:
    """The manifest of a dataset folder; None when it is no relabelled version."""
    return files.read_json(path / MANIFEST)


def newest_version(path: Path, workspace: Workspace) -> Path:
    """The latest relabelled version that came from the dataset at ``path``, step by step; ``path`` itself when there is none."""
    made = [(found, folder) for folder in workspace.datasets.glob("*") if (found := read_manifest(folder))]
    for found, version in sorted(made, key=lambda pair: pair[0]["made"]):
        if Path(found["from"].get("path", "")) == path:  # one that came from the Hub has none
            path = version
    return path
