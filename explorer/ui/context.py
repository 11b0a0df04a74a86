"""What every tab is given: the workspace, the flags, the models on the shelf, who asks and what they may do."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from explorer import quotas
from explorer.compare.columns import Shelf
from explorer.data.images import thumbnail_uri
from explorer.errors import UserError
from explorer.flag.flags import FlagStore
from explorer.quotas import FULL_ROOM, Disk, Quotas
from explorer.rights import Person
from explorer.settings import Settings
from explorer.train import worker
from explorer.train.run import Run
from explorer.ui import who
from explorer.workspace import Workspace


class Room:
    """A workspace with its flags and the models in use there."""

    def __init__(self, workspace: Workspace, disk: Disk | None = None):
        self.workspace, self.disk = workspace, disk
        self.flags = FlagStore(workspace)
        self.shelf = Shelf(workspace)


class Context:
    """The room that whoever sends the request works in, and what the page's rules say of them.

    There is one room for everybody. An owner of a public page may work in a room of their own instead, whose datasets, runs,
    photos and flags are in a folder no other person's handlers look into.
    """

    def __init__(self, settings: Settings, workspace: Workspace):
        self.settings, self.common = settings, Room(workspace)
        self.rooms: dict[str, Room] = {}
        self.lock = threading.Lock()
        self.doors: list[tuple] = []
        self.quotas = Quotas(settings.public)
        self.disk = Disk(settings.max_disk_bytes, workspace.root, Path(get_upload_folder()))

    # -- where

    @property
    def room(self) -> Room:
        return self.rooms.get(self.person.name) or self.common if self.rooms else self.common

    @property
    def workspace(self) -> Workspace:
        return self.room.workspace

    @property
    def flags(self) -> FlagStore:
        return self.room.flags

    @property
    def shelf(self) -> Shelf:
        return self.room.shelf

    @property
    def in_private(self) -> bool:
        return self.room is not self.common

    def work_in_private(self, wanted: bool) -> None:
        """Take whoever asks to a room of their own, or back to everybody's. Raises UserError unless they are an owner."""
        self.allow("train")
        name = self.person.name
        with self.lock:
            self.rooms.pop(name, None)
            if wanted:
                workspace = self.common.workspace.private_room(name)
                self.rooms[name] = Room(workspace, Disk(self.settings.max_room_bytes, workspace.root, full=FULL_ROOM))

    # -- who

    @property
    def person(self) -> Person:
        return who.person()

    def allow(self, act: str) -> None:
        """The first line of a handler: raises UserError unless whoever sent the request may do ``act``, see `explorer.rights`."""
        self.settings.rules.check(self.person, act)

    def may(self, act: str) -> bool:
        """Whether whoever sent the request may do ``act``; for doors that are shown closed."""
        return self.settings.rules.may(self.person, act)

    def door(self, part, act: str):
        """``part``, which `doors` shows closed to whoever may not do ``act``; "sign": a field for one's name."""
        self.doors.append((part, act))
        return part

    def why_not(self, act: str) -> str:
        """The sentence that goes with a closed door."""
        return self.settings.rules.why_not(self.person, act)

    def take(self, what: str, amount: float = 1) -> None:
        """Count what whoever asks takes of a public page. Raises UserError when it is too much, see `explorer.quotas`."""
        self.quotas.take(what, self.person.key, amount)

    def turn(self, what: str):
        """Long work in here, see `explorer.quotas.Quotas.turn`."""
        return self.quotas.turn(what, self.person.key)

    def room_for(self, more: int = 0) -> None:
        """Raises UserError when ``more`` bytes do not fit a public page, or the private room of whoever asks."""
        if self.settings.public:
            self.disk.check(more)
            if self.room.disk:
                self.room.disk.check(more)

    def reviewer(self, typed: str | None) -> str:
        """Who signs a flag: what they typed, on a public page who they are. Also whose changes they can take back."""
        return self.person.signature if self.settings.public else (typed or "").strip()

    def texts(self, *typed: str | None) -> None:
        """Raises UserError when somebody typed more than a flag is for."""
        if self.settings.public and max((len(text or "") for text in typed), default=0) > quotas.MAX_TEXT:
            raise UserError(f"A correction or note has at most {quotas.MAX_TEXT:,} characters here: make it shorter.")

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Make and start a run in here: one at a time on this machine, whoever it is of. Raises UserError."""
        self.allow("train")
        self.room_for()
        with worker.one_at_a_time(self.common.workspace):
            for room in self.common.workspace.root.glob("people/*/"):
                if worker.running(Workspace(room, self.common.workspace.shipped)):
                    raise UserError("A run is still training in private on this machine: wait until it has ended, then start yours.")
            self.take("run")
            yield

    # -- what

    def runs(self) -> list[Run]:
        """Readable runs, the newest first, shipped ones last."""
        found = []
        for folder in self.workspace.run_folders():
            run = Run(folder)
            try:
                run.config  # noqa: B018 - a run whose config cannot be read is not offered
            except UserError:
                continue
            found.append((folder.parent == self.workspace.root, (folder / "run.json").stat().st_mtime, run))
        return [run for *_, run in sorted(found, key=lambda row: row[:2], reverse=True)]

    def run(self, name: str) -> Run:
        return Run(self.workspace.run_folder(name))

    @property
    def exports(self) -> Path:
        """Where files to download are made, each in a folder with a random name."""
        return self.settings.home / "cache" / "exports"

    def thumb(self, path: str | Path, key: str, size: int = 248) -> str | None:
        """The picture as a data address, made once; None when the file is gone or no picture."""
        own = self.settings.public and self.is_upload(path)
        return thumbnail_uri(Path(path), size, None if own else self.workspace.cache / "thumbnails", key)

    @staticmethod
    def is_upload(path: str | Path) -> bool:
        """Whether a picture is where uploads are: a visitor's own, of which the workspace keeps nothing."""
        return Path(path).is_relative_to(get_upload_folder())


def told(handler):
    """A handler whose UserError becomes a message on the page; the page stays as it was."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def guarded(*args, **kwargs):
            with _telling():
                yield from handler(*args, **kwargs)
    else:

        @functools.wraps(handler)
        def guarded(*args, **kwargs):
            with _telling():
                return handler(*args, **kwargs)

    return guarded


@contextmanager
def _telling():
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), title="That did not work", duration=12, print_exception=False) from None
