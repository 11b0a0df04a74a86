"""What people bring, turned into an image folder of the workspace: a zip, dropped files, a saved dataset, a Hub id.

Every import appears whole or not at all. Nothing in an archive or a dataset decides where a file is written or
which file of this machine is read.
"""

from __future__ import annotations

import collections
import lzma
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from explorer import files
from explorer.data import hub_data, rows
from explorer.data.folder import SPLITS
from explorer.data.hub_data import is_hub_id
from explorer.data.images import SUFFIXES
from explorer.data.rows import SourceError, Tell
from explorer.workspace import Workspace, check_name, free_name

__all__ = [
    "SourceError",
    "hub_columns",
    "import_files",
    "import_hub",
    "import_parquet",
    "import_saved",
    "import_zip",
    "is_hub_id",
    "is_saved",
    "list_datasets",
]

MAX_MEMBERS = 50_000
MAX_BYTES = 8 * 1024**3
MAX_RATIO = 200
SIDE_FILES = {".txt", ".jsonl", ".csv", ".tsv", ".parquet"}


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
    """Unpack the pictures, tables and sidecars of a zip; a zip of parquet files gives the pictures inside them.

    Raises SourceError naming the zip or the member at fault.
    """
    path = Path(path)
    final = _free(workspace, path.stem, name)
    with _opened(path) as archive:
        members = _members(archive, path, max_members, max_bytes)
        if any(_suffix(member) in SUFFIXES for member in members):
            with files.whole_folder(final) as folder:
                _unpack_all(archive, members, folder, path, max_bytes)
            return final
        with tempfile.TemporaryDirectory() as folder:
            _unpack_all(archive, [m for m in members if _suffix(m) == ".parquet"], Path(folder), path, max_bytes)
            return _import_parquets(sorted(Path(folder).rglob("*.parquet")), workspace, final, path.name)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip, whatever is wrong with it told as a SourceError while it is read."""
    broken = (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error, lzma.LZMAError, struct.error, ValueError, KeyError)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {path.name}: choose the zip again.") from error
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be taken in ({error.strerror or error}): choose the zip itself, and see that the disk has room."
        ) from error
    except broken as error:
        raise SourceError(f"{path.name} is not a readable zip ({error}): make it again and check that the upload was complete.") from error


def _spelled(member: zipfile.ZipInfo) -> str:
    """The member's name. A Mac writes UTF-8 and does not say so, which makes Kätzchen.png read as K├ñtzchen.png."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _suffix(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).suffix.lower()


def _members(archive: zipfile.ZipFile, path: Path, max_members: int, max_bytes: int) -> list[zipfile.ZipInfo]:
    """The members worth unpacking, after every check that needs no unpacking."""
    everything = archive.infolist()
    if len(everything) > max_members:
        raise SourceError(f"{path.name} holds {len(everything):,} files; at most {max_members:,} are taken: split it.")
    kept = []
    for member in everything:
        if member.is_dir():
            continue
        member.filename = _spelled(member)
        _check_member(member, path)
        hidden = any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(member.filename).parts)
        if _suffix(member) in SUFFIXES | SIDE_FILES and not hidden:
            kept.append(member)
    if not any(_suffix(member) in SUFFIXES | {".parquet"} for member in kept):
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
    if member.flag_bits & 1:
        raise SourceError(f"{path.name} is locked by a password: make a zip without one.")
    if member.compress_size and member.file_size / member.compress_size > MAX_RATIO and member.file_size > 50_000_000:
        raise SourceError(f"{path.name} holds {member.filename!r}, which unpacks to {member.file_size / 1e6:.0f} MB: that is no photo.")


def _single_top(names: Iterable[PurePosixPath]) -> str | None:
    """The one folder everything lies in, which people zip along; None when there is none or it names a split."""
    tops = {name.parts[0] if len(name.parts) > 1 else "" for name in names}
    top = tops.pop() if len(tops) == 1 else ""
    return top if top and top.lower() not in SPLITS else None


def _unpack_all(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, path: Path, max_bytes: int) -> None:
    """Stream the members out, counting what really comes: the sizes a zip states may be lies."""
    top = _single_top(PurePosixPath(member.filename) for member in members)
    room = max_bytes
    for member in members:
        parts = PurePosixPath(member.filename).parts
        try:
            room = _unpack(archive, member, folder.joinpath(*(parts[1:] if top else parts)), room)
        except FileExistsError:
            raise SourceError(f"{path.name} holds {member.filename!r} twice, or as a file and a folder: make it again.") from None
        except OSError as error:
            if error.errno is None:  # bzip2 on damaged bytes
                raise zipfile.BadZipFile(f"{member.filename}: {error}") from error
            raise SourceError(f"{path.name} holds {member.filename!r}, which cannot be written ({error.strerror or error}).") from error
        if room < 0:
            raise SourceError(f"{path.name} unpacks to more than it says: it is damaged or made to do harm.")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Write one member as a new file; the bytes still allowed afterwards, below 0 when there were too many."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, open(target, "xb") as out:
        while room >= 0 and (block := source.read(1 << 18)):
            room -= len(block)
            out.write(block)
    return room


def import_files(paths: Sequence[Path], workspace: Workspace, name: str | None = None) -> Path:
    """Files dropped on the page: one zip, one parquet file with pictures inside, or images with their table or sidecars."""
    paths = [Path(path) for path in paths if not Path(path).name.startswith(".")]
    if not paths:
        raise SourceError("Nothing was dropped: choose a zip, or images with their metadata.jsonl or .txt files.")
    suffixes = [path.suffix.lower() for path in paths]
    if suffixes == [".zip"]:
        return import_zip(paths[0], workspace, name)
    if suffixes == [".parquet"]:
        return import_parquet(paths[0], workspace, name)
    _check_dropped(paths)
    final = _free(workspace, "photos", name)
    with files.whole_folder(final) as folder:
        for path in paths:
            try:
                shutil.copyfile(path, folder / path.name)
            except OSError as error:
                raise SourceError(f"{path.name} cannot be copied ({error.strerror}): drop it again.") from error
    return final


def _check_dropped(paths: Sequence[Path]) -> None:
    suffixes = [path.suffix.lower() for path in paths]
    if ".zip" in suffixes:
        raise SourceError(f"{paths[suffixes.index('.zip')].name} came with other files: drop one zip alone, or the files without it.")
    for path, suffix in zip(paths, suffixes, strict=True):
        if suffix not in SUFFIXES | SIDE_FILES:
            raise SourceError(f"{path.name} is neither a picture nor a table nor a .txt sidecar: leave it out.")
    if not SUFFIXES & set(suffixes):
        raise SourceError("No picture among the dropped files: add the images the table speaks of.")
    name, count = collections.Counter(path.name for path in paths).most_common(1)[0]
    if count > 1:
        raise SourceError(f"{name} was dropped twice: file names must differ.")


# --- datasets ---------------------------------------------------------------------------------------------


def is_saved(path: Path) -> bool:
    """Whether ``path`` was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()


def import_saved(path: Path, workspace: Workspace, name: str | None = None, image: str | None = None, caption: str | None = None) -> Path:
    """A `datasets` folder saved to disk, written out as an image folder. Raises SourceError."""
    import datasets

    path = Path(path)
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever pyarrow and datasets raise, the folder is what is wrong
        raise SourceError(f"{path.name} cannot be read as a saved dataset: {hub_data.short(error)}.") from error
    return rows.write(hub_data.parts_of(loaded), _free(workspace, path.name, name), path.name, image, caption)


def import_parquet(path: Path, workspace: Workspace, name: str | None = None, image: str | None = None, caption: str | None = None) -> Path:
    """A parquet file with the pictures' bytes inside. Raises SourceError."""
    path = Path(path)
    return _import_parquets([path], workspace, _free(workspace, path.stem, name), path.name, image, caption)


def _import_parquets(
    paths: Sequence[Path], workspace: Workspace, final: Path, source: str, image: str | None = None, caption: str | None = None
) -> Path:
    """Parquet files as one dataset; several are put on sides by their names, as in train-00000-of-00002.parquet."""
    import datasets

    sides: dict[str | None, list[str]] = collections.defaultdict(list)
    for path in paths:
        words = re.split(r"[^a-z]+", path.stem.lower()) if len(paths) > 1 else []
        sides[next((SPLITS[word] for word in words if word in SPLITS), None)].append(str(path))
    with tempfile.TemporaryDirectory() as cache:
        try:
            parts = {side: datasets.Dataset.from_parquet(found, cache_dir=cache) for side, found in sides.items()}
        except Exception as error:  # whatever pyarrow and datasets raise, the file is what is wrong
            raise SourceError(f"{source} cannot be read as parquet: {hub_data.short(error)}.") from error
        return rows.write(parts, final, source, image, caption)


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
    """A dataset of the Hub, written out as an image folder. ``limit``: images of each split at most. Raises SourceError."""
    final = _free(workspace, dataset_id.replace("/", "-"), name)
    return hub_data.fetch(dataset_id, final, split, image, caption, limit, tell)


def hub_columns(dataset_id: str, split: str | None = None) -> tuple[list[str], list[str]]:
    """(columns of images, columns of texts) of a Hub dataset, to choose from. Raises SourceError."""
    return hub_data.columns(dataset_id, split)
