"""Where a workspace can be kept: in a private dataset of the Hub, or in a folder that outlives the machine.

Such a folder is what a bucket of the Hub is to a Space that it is mounted in, or a disk that is backed up. Both places give
the same: the version they are at with the names of their files, a text, a folder, and a change that fails when somebody
else made one since.
"""

from __future__ import annotations

import fcntl
import io
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from explorer import files
from explorer.hub import client
from explorer.hub.client import HubError

INDEX = "kept.json"
"""The file that says what is there; it is written last."""
MEANWHILE = "at the same moment"
"""In the words of every error that says that somebody else was faster."""


def place_named(name: str) -> Dataset | Folder:
    """A dataset for owner/name, a folder for an absolute path. Raises HubError for what is neither."""
    name = (name or "").strip()
    return Folder(name) if Path(name).is_absolute() else Dataset(name)


def refuse_others(place: str, names: list[str]) -> None:
    """Raises HubError when there are files in a place that is not ours."""
    if names:
        raise HubError(f"{place} holds other things, such as {names[0]}: name another place in EXPLORER_KEEP.")


class Dataset:
    """A private dataset of the Hub, made when there is none; each change is a commit with its parent named."""

    def __init__(self, repo: str):
        self.name = client.check_id(repo, "dataset")

    def connect(self) -> None:
        """Raises HubError when there is no token."""
        self.api = client.connect()

    def telling(self) -> AbstractContextManager:
        return client.telling(self.name, f"keep this workspace in {self.name}")

    def at(self) -> tuple[str, list[str]]:
        """(the version, the names of all files). Raises HubError when it holds other things."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.dataset_info(self.name, timeout=20)
        except RepositoryNotFoundError:
            self.api.create_repo(self.name, repo_type="dataset", private=True, exist_ok=True)
            info = self.api.dataset_info(self.name, timeout=20)
        names = [file.rfilename for file in info.siblings or [] if file.rfilename not in (".gitattributes", "README.md")]
        if INDEX not in names:
            refuse_others(self.name, names)
        return info.sha, names

    def read(self, name: str, version: str, work: Path) -> bytes:
        return Path(self.api.hf_hub_download(self.name, name, repo_type="dataset", revision=version, local_dir=work)).read_bytes()

    def fetch(self, folder: str, version: str, work: Path) -> Path:
        """A folder of the place as one of this machine, somewhere in ``work``."""
        self.api.snapshot_download(self.name, allow_patterns=[f"{folder}/*"], repo_type="dataset", revision=version, local_dir=work)
        return work / folder

    def change(self, put: dict[str, Path | bytes], gone: list[str], version: str) -> str:
        """The version after files were put and others deleted (a folder where the name ends with /)."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations = [CommitOperationDelete(name, is_folder=name.endswith("/")) for name in gone]
        operations += [CommitOperationAdd(name, what) for name, what in put.items()]
        return self.api.create_commit(self.name, operations, commit_message="kept", repo_type="dataset", parent_commit=version).oid


class Folder:
    """A folder on a disk that stays. Things come before what lists them, so that a change that breaks off is never half seen.

    Changes wait for each other by a lock on a file. A mount that knows no locks between machines does not see to that: keep
    one machine at a time in such a folder.
    """

    VERSION, LOCK = "version", ".lock"

    def __init__(self, path: str):
        self.name, self.root = path, Path(path)

    def connect(self) -> None:
        if not self.root.parent.is_dir():
            raise HubError(f"Could not keep this workspace in {self.name}: there is no folder {self.root.parent}. Is the bucket mounted there?", away=True)
        with self.telling():
            self.root.mkdir(exist_ok=True)
            if not any(self.root.iterdir()):
                files.write_text(self.root / self.VERSION, secrets.token_hex(8))  # ours from now on, whatever breaks off

    @contextmanager
    def telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HubError(f"Could not keep this workspace in {self.name}: {error.strerror or error}. Try again later.", away=True) from error

    def at(self) -> tuple[str, list[str]]:
        mark = self.root / self.VERSION
        own = mark, self.root / self.LOCK
        found = [path for path in self.root.rglob("*") if path.is_file() and path.suffix != ".part" and path not in own]
        names = sorted(path.relative_to(self.root).as_posix() for path in found)
        if not mark.exists():
            refuse_others(self.name, names)
        return mark.read_text("utf-8"), names

    def read(self, name: str, version: str, work: Path) -> bytes:
        return (self.root / name).read_bytes()

    def fetch(self, folder: str, version: str, work: Path) -> Path:
        return Path(shutil.copytree(self.root / folder, work / folder))

    def change(self, put: dict[str, Path | bytes], gone: list[str], version: str) -> str:
        with open(self.root / self.LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self.root / self.VERSION).read_text("utf-8") != version:
                raise HubError(f"Could not keep this workspace in {self.name}: somebody else changed it {MEANWHILE}. Try again.", away=True)
            for name, what in put.items():  # what lists the things comes last in ``put``
                with files.whole_file(self.root / name) as file, io.BytesIO(what) if isinstance(what, bytes) else open(what, "rb") as source:
                    shutil.copyfileobj(source, file)
            for name in gone:
                self._delete(name, put)
            fresh = secrets.token_hex(8)
            files.write_text(self.root / self.VERSION, fresh)
            return fresh

    def _delete(self, name: str, put: dict) -> None:
        """A file, or of a folder all that was not put anew."""
        old = [path for path in (self.root / name).rglob("*") if path.is_file()] if name.endswith("/") else [self.root / name]
        for path in old:
            if path.relative_to(self.root).as_posix() not in put:
                path.unlink(missing_ok=True)
        if name.endswith("/") and not any(path.is_file() for path in (self.root / name).rglob("*")):
            shutil.rmtree(self.root / name, ignore_errors=True)
