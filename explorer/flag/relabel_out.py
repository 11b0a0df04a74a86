"""A dataset version on its way out: as a `datasets` dataset on disk or as a zip. Pictures go as their own bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from explorer import files
from explorer.data import folder
from explorer.errors import UserError
from explorer.flag import relabel


def save(root: Path, target: Path) -> Path:
    """Write the image folder ``root`` as a `datasets.DatasetDict` with image, captions and file_name, whole or not at all.

    Raises UserError when there is something at ``target`` already, or no picture at ``root``.
    """
    import datasets

    if target.exists():
        raise UserError(f"There is something at {target} already: name a new folder.")
    entries = folder.entries(root, [])
    if not entries:
        raise UserError(f"{root.name} has no pictures to save.")
    kinds = datasets.Features({"image": datasets.Image(), "captions": datasets.List(datasets.Value("string")), "file_name": datasets.Value("string")})
    with files.whole_folder(target) as staging, tempfile.TemporaryDirectory() as cache:
        parts = {}
        for side in sorted({entry.split or "train" for entry in entries}):
            rows = [(str(e.path), list(e.references), e.file_name) for e in entries if (e.split or "train") == side]
            parts[side] = datasets.Dataset.from_generator(_rows, features=kinds, gen_kwargs={"rows": rows}, cache_dir=cache)
        datasets.DatasetDict(parts).save_to_disk(str(staging))
        if (root / relabel.MANIFEST).exists():
            shutil.copyfile(root / relabel.MANIFEST, staging / relabel.MANIFEST)
    return target


def _rows(rows: list[tuple]) -> Iterator[dict]:
    for path, captions, name in rows:
        yield {"image": {"bytes": Path(path).read_bytes(), "path": Path(name).name}, "captions": captions, "file_name": name}


def zipped(root: Path, target: Path) -> Path:
    """The folder as one zip, its files at the top, as the page takes it back in."""
    made = shutil.make_archive(str(target.with_suffix("")), "zip", root)
    return Path(made)
