"""What people bring, turned into an image folder of the workspace: a zip, dropped files, a saved dataset, a Hub id.

Every import appears whole or not at all. Nothing in an archive or a dataset decides where a file is written or
which file of this machine is read.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from explorer import files, tables
from explorer.errors import UserError
from explorer.images import SUFFIXES
from explorer.workspace import Workspace, check_name, free_name

MAX_MEMBERS = 50_000
MAX_BYTES = 8 * 1024**3
MAX_RATIO = 200
SIDE_FILES = {".txt", ".jsonl", ".csv", ".tsv", ".parquet"}
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "png", "jpeg", "webp")
Tell = Callable[[int, int | None], None]


class SourceError(UserError):
    """Something brought that cannot be taken in; the sentence names it and what would do."""


def list_datasets(workspace: Workspace) -> list[Path]:
    """The image folders of the workspace, newest first."""
    found = [p for p in workspace.datasets.glob("*") if p.is_dir() and not p.name.startswith(".")]
    return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)


def _free(workspace: Workspace, wish: str, name: str | None) -> Path:
    if name is not None:
        check_name(name)
        if (workspace.datasets / name).exists():
            raise SourceError(f"There is a dataset named {name!r} already: choose another name.")
        return workspace.datasets / name
    taken = {p.name for p in workspace.datasets.glob("*")}
    return workspace.datasets / free_name(wish, taken)


# --- archives and dropped files ---------------------------------------------------------------------------


def import_zip(
    path: Path, workspace: Workspace, name: str | None = None, max_members: int = MAX_MEMBERS, max_bytes: int = MAX_BYTES
) -> Path:
    """Unpack the pictures, tables and sidecars of a zip. Raises SourceError naming the zip or the member at fault."""
    final = _free(workspace, path.stem, name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path, max_members, max_bytes)
            with files.whole_folder(final) as folder:
                top = _single_top(PurePosixPath(m.filename) for m in members)
                room = [max_bytes]
                for member in members:
                    _unpack(archive, member, folder, top, room, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zipfile.zlib.error) as error:
        raise SourceError(f"{path.name} is not a readable zip ({error}): make it again and check that the upload was complete.") from error
    except RuntimeError as error:
        raise SourceError(f"{path.name} is locked by a password: make a zip without one.") from error
    return final


def _members(archive: zipfile.ZipFile, path: Path, max_members: int, max_bytes: int) -> list[zipfile.ZipInfo]:
    """The members worth unpacking, after every check that needs no unpacking."""
    everything = archive.infolist()
    if len(everything) > max_members:
        raise SourceError(f"{path.name} holds {len(everything):,} files; at most {max_members:,} are taken: split it.")
    kept = []
    for member in everything:
        if member.is_dir():
            continue
        _check_member(member, path)
        parts = PurePosixPath(member.filename).parts
        suffix = PurePosixPath(member.filename).suffix.lower()
        if suffix in SUFFIXES | SIDE_FILES and not any(p.startswith((".", "__MACOSX")) for p in parts):
            kept.append(member)
    if not any(PurePosixPath(m.filename).suffix.lower() in SUFFIXES | {".parquet"} for m in kept):
        raise SourceError(f"{path.name} holds no pictures: zip the folder with your images and their metadata.jsonl or .txt files.")
    if sum(m.file_size for m in kept) > max_bytes:
        raise SourceError(f"{path.name} unpacks to more than {max_bytes / 1e9:.1f} GB: split it or make the pictures smaller.")
    return kept


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    where = PurePosixPath(member.filename)
    mode = member.external_attr >> 16
    if where.is_absolute() or ".." in where.parts or re.match(r"[A-Za-z]:", member.filename) or "\\" in member.filename:
        raise SourceError(f"{path.name} holds {member.filename!r}, which points outside the folder: make the zip from inside the folder.")
    if mode and stat.S_ISLNK(mode):
        raise SourceError(f"{path.name} holds a link, {member.filename!r}: put the file itself in.")
    if member.compress_size and member.file_size / member.compress_size > MAX_RATIO and member.file_size > 50_000_000:
        raise SourceError(f"{path.name} holds {member.filename!r}, which unpacks to {member.file_size / 1e6:.0f} MB: that is no photo.")


def _single_top(names: Iterable[PurePosixPath]) -> str | None:
    """The one folder everything lies in, which people zip along; None when there is none or it names a split."""
    from explorer.dataset import SPLITS

    tops = {name.parts[0] if len(name.parts) > 1 else "" for name in names}
    top = tops.pop() if len(tops) == 1 else ""
    return top if top and top.lower() not in SPLITS else None


def _unpack(archive, member, folder: Path, top: str | None, room: list[int], path: Path) -> None:
    """Stream one member out, counting what really comes: the sizes a zip states may be lies."""
    parts = PurePosixPath(member.filename).parts
    target = folder.joinpath(*(parts[1:] if top else parts))
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, open(target, "wb") as out:
        while block := source.read(1 << 18):
            room[0] -= len(block)
            if room[0] < 0:
                raise SourceError(f"{path.name} unpacks to more than it says: it is damaged or made to do harm.")
            out.write(block)


def import_files(paths: Sequence[Path], workspace: Workspace, name: str | None = None) -> Path:
    """Files dropped on the page: one zip, or images with their table or sidecars."""
    paths = [Path(p) for p in paths]
    if not paths:
        raise SourceError("Nothing was dropped: choose a zip, or images with their metadata.jsonl or .txt files.")
    zips = [p for p in paths if p.suffix.lower() == ".zip"]
    if len(paths) == 1 and zips:
        return import_zip(zips[0], workspace, name)
    if zips:
        raise SourceError(f"{zips[0].name} came with other files: drop one zip alone, or the files without it.")
    strange = [p.name for p in paths if p.suffix.lower() not in SUFFIXES | SIDE_FILES]
    if strange:
        raise SourceError(f"{strange[0]} is neither a picture nor a table nor a .txt sidecar: leave it out.")
    if not any(p.suffix.lower() in SUFFIXES for p in paths):
        raise SourceError("No picture among the dropped files: add the images the table speaks of.")
    twice = {p.name for p in paths if [q.name for q in paths].count(p.name) > 1}
    if twice:
        raise SourceError(f"{sorted(twice)[0]} was dropped twice: file names must differ.")
    final = _free(workspace, "photos", name)
    with files.whole_folder(final) as folder:
        for path in paths:
            shutil.copyfile(path, folder / path.name)
    return final


# --- datasets ---------------------------------------------------------------------------------------------


def is_saved(path: Path) -> bool:
    """Whether ``path`` was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()


def is_hub_id(text: str) -> bool:
    return bool(HUB_ID.fullmatch(text)) and ".." not in text


def import_saved(path: Path, workspace: Workspace, name: str | None = None, image: str | None = None, caption: str | None = None) -> Path:
    """A `datasets` folder saved to disk, written out as an image folder."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever pyarrow and datasets raise, the folder is what is wrong
        raise SourceError(f"{path.name} cannot be read as a saved dataset: {_short(error)}.") from error
    return _materialise(_parts(loaded), _free(workspace, path.name, name), str(path.name), image, caption, None)


def import_parquet(path: Path, workspace: Workspace, name: str | None = None, image: str | None = None, caption: str | None = None) -> Path:
    """A parquet file with image bytes inside."""
    import datasets

    try:
        loaded = datasets.Dataset.from_parquet(str(path), cache_dir=str(workspace.cache / "parquet"))
    except Exception as error:
        raise SourceError(f"{path.name} cannot be read as parquet: {_short(error)}.") from error
    return _materialise({None: loaded}, _free(workspace, path.stem, name), path.name, image, caption, None)


def import_hub(
    dataset_id: str,
    workspace: Workspace,
    name: str | None = None,
    split: str | None = None,
    image: str | None = None,
    caption: str | None = None,
    limit: int | None = None,
    tell: Tell | None = None,
) -> Path:
    """A dataset of the Hub, written out as an image folder. Only ids like owner/name are ever looked up."""
    import datasets

    if not is_hub_id(dataset_id):
        raise SourceError(f"{dataset_id!r} is not a Hub dataset id: it looks like owner/name.")
    final = _free(workspace, dataset_id.replace("/", "-"), name)
    try:
        loaded = datasets.load_dataset(dataset_id, split=split or None)
    except Exception as error:
        raise SourceError(
            f"The Hub dataset {dataset_id} could not be loaded: {_short(error)}. Check the id, the split and the connection."
        ) from error
    return _materialise(_parts(loaded), final, dataset_id, image, caption, limit, tell)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")


def _parts(loaded) -> dict:
    """Datasets by the name of their split; None when there is one without."""
    return dict(loaded) if hasattr(loaded, "keys") else {None: loaded}


def columns_of(part) -> tuple[list[str], list[str]]:
    """(columns that hold images, columns that hold texts) of a `datasets` dataset: what a person may choose from."""
    import datasets

    images = [n for n, f in part.features.items() if isinstance(f, datasets.Image)]
    images += [n for n in part.column_names if n in IMAGE_COLUMNS and n not in images]
    texts = [n for n in part.column_names if n in tables.TEXT_COLUMNS]
    texts += [n for n, f in part.features.items() if n not in texts + images and "string" in str(f)]
    return images, texts


def _choose(part, what: str, wanted: str | None, found: list[str], source: str) -> str | None:
    if wanted:
        if wanted not in part.column_names:
            raise SourceError(f"{source} has no column {wanted!r}; it has {', '.join(part.column_names)}.")
        return wanted
    if not found and what == "images":
        raise SourceError(f"{source} has no column of images; it has {', '.join(part.column_names)}. Name the right one.")
    return found[0] if found else None


def _materialise(parts: dict, final: Path, source: str, image, caption, limit, tell: Tell | None = None) -> Path:
    """Write the rows of each split as files and a metadata.jsonl, which comes last."""
    from explorer.dataset import SPLITS

    with files.whole_folder(final) as folder:
        several = len(parts) > 1
        for split, part in parts.items():
            side = SPLITS.get(str(split).lower(), "train") if several else None
            target = folder / side if side else folder
            target.mkdir(exist_ok=True)
            rows = list(_rows(part, target, source, image, caption, limit, tell, prefix=f"{split}-" if several else ""))
            known = files.read_jsonl(target / "metadata.jsonl")
            files.write_jsonl(target / "metadata.jsonl", known + rows)
    return final


def _rows(part, target: Path, source: str, image, caption, limit, tell, prefix: str) -> Iterator[dict]:
    import datasets

    images, texts = columns_of(part)
    image = _choose(part, "images", image, images, source)
    caption = _choose(part, "texts", caption, texts, source)
    if isinstance(part.features[image], datasets.Image):
        # Never let the library open anything: a cell may name a file of this machine.
        part = part.cast_column(image, datasets.Image(decode=False))
    total = min(len(part), limit or len(part))
    for number in range(total):
        row = part[number]
        data = _bytes(row[image])
        file = f"{prefix}{number:06d}{_suffix(data)}"
        if data:
            (target / file).write_bytes(data)
        yield {"file_name": file, "captions": tables.references({"captions": _plain(row.get(caption))})}
        if tell and (number % 50 == 0 or number + 1 == total):
            tell(number + 1, total)


def _plain(value):
    return json.loads(json.dumps(value, default=str))


def _bytes(cell) -> bytes:
    """The picture inside the cell itself; a cell that only names a path gives nothing."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return bytes(data) if isinstance(data, (bytes, bytearray)) else b""


def _suffix(data: bytes) -> str:
    kinds = (
        (b"\xff\xd8", ".jpg"),
        (b"\x89PNG", ".png"),
        (b"RIFF", ".webp"),
        (b"GIF8", ".gif"),
        (b"BM", ".bmp"),
        (b"II*", ".tif"),
        (b"MM\0*", ".tif"),
    )
    return next((suffix for start, suffix in kinds if data.startswith(start)), ".jpg")
