"""What every tab is given: the workspace, the flags, the models on the shelf, and small helpers around them."""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from explorer.compare.columns import Shelf
from explorer.data.images import thumbnail_uri
from explorer.errors import UserError
from explorer.flag.flags import FlagStore
from explorer.settings import Settings
from explorer.train.run import Run
from explorer.workspace import Workspace


@dataclass
class Context:
    settings: Settings
    workspace: Workspace
    flags: FlagStore = field(init=False)
    shelf: Shelf = field(init=False)

    def __post_init__(self):
        self.flags = FlagStore(self.workspace)
        self.shelf = Shelf(self.workspace)

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

    def owners_only(self) -> None:
        """Raises UserError on a public page: strangers compare and flag there, and change nothing else."""
        if self.settings.public:
            raise UserError("This is a public page: here you can compare and flag. Start runs on your own copy of it.")

    def thumb(self, path: str | Path, key: str, size: int = 248) -> str | None:
        """The picture as a data address, made once; None when the file is gone or no picture."""
        return thumbnail_uri(Path(path), size, self.workspace.cache / "thumbnails", key)


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
