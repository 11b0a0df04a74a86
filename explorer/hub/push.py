"""A checkpoint or a dataset version on its way to the Hub: one commit, whole or not at all.

    for step in push.checkpoint(workspace, run, 3, "owner/name"): print(step.text)

A LoRA checkpoint of a base that is on the Hub goes as an adapter that names it; any other one as a whole model, its
adapters worked in, so that it opens for somebody who has neither this machine nor the explorer.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from explorer.data import folder
from explorer.data.hub_data import is_hub_id
from explorer.errors import UserError
from explorer.flag import relabel
from explorer.hub import card, client
from explorer.hub.client import HubError
from explorer.model import origin
from explorer.train import best
from explorer.train.run import Checkpoint, Run
from explorer.workspace import Workspace

MARK = "explorer.json"
"""The file by which a repository is known to be the explorer's: it may be written over, its history stays."""

UNMARKED = {".gitattributes", "README.md"}
"""What a repository made by hand on the Hub's pages begins with."""

BATCH = 64
"""Files uploaded between two words of progress."""

OWN = {"checkpoint.json", "README.md"}
"""Files of a checkpoint's folder that say things of this machine only."""


@dataclass(frozen=True)
class Step:
    """How far a push is. ``share`` from 0 to 1; ``address`` of what was pushed, in the last step."""

    share: float
    text: str
    address: str = ""


def chosen(workspace: Workspace, name: str) -> tuple[Run, Checkpoint]:
    """The checkpoint meant by run@epoch, or by a run alone: its best one. Raises UserError."""
    run_name, _, epoch = name.partition("@")
    run = Run(workspace.run_folder(run_name))
    run.config  # noqa: B018 - says so when there is no such run
    if epoch and not epoch.isdigit():
        raise UserError(f"{name!r} names no checkpoint: it looks like run@epoch, such as pets@3.")
    if epoch:
        return run, run.checkpoint(int(epoch))
    top, saved = best.best(run.log(), run.config.best_by), run.checkpoints()
    if not saved:
        raise UserError(f"The run {run_name!r} has no checkpoint to push yet.")
    return run, next((c for c in saved if top and c.epoch == top["epoch"]), saved[-1])


def checkpoint(workspace: Workspace, run: Run, epoch: int, repo: str, private: bool = True) -> Iterator[Step]:
    """Push a checkpoint of ``run`` to the model ``repo`` (owner/name). Raises UserError, and then nothing has changed there."""
    repo, made = client.check_id(repo), run.checkpoint(epoch)
    yield Step(0.0, "asking the Hub")
    api = _ready(repo, "model", private)
    with tempfile.TemporaryDirectory() as place:
        root, adapters = origin.unfold(str(made.folder))
        as_adapter = is_hub_id(root) and len(adapters) == 1
        yield Step(0.05, "writing the card" if as_adapter or not adapters else "working the adapter into a whole model")
        weights = made.folder if as_adapter or not adapters else _whole(made.folder, Path(place))
        sent: dict[str, Path | bytes] = {p.name: p for p in sorted(weights.iterdir()) if p.is_file() and p.name not in OWN}
        sent |= card.files_of(workspace, run, made, repo, root, as_adapter)
        sent[MARK] = _mark("checkpoint", run=run.name, epoch=epoch, config=card.public_config(run))
        yield from _send(api, repo, "model", sent, f"{run.name}, epoch {epoch}")


def dataset(root: Path, repo: str, private: bool = True) -> Iterator[Step]:
    """Push the image folder ``root`` to the dataset ``repo``; its pictures go byte for byte. Raises UserError."""
    repo = client.check_id(repo, "dataset")
    sent: dict[str, Path | bytes] = {path.relative_to(root).as_posix(): path for path in _files(root)}
    if not folder.entries(root, []):
        raise UserError(f"{root.name} has no pictures to push.")
    yield Step(0.0, "asking the Hub")
    api = _ready(repo, "dataset", private)
    sent.setdefault("README.md", card.dataset_card(root).encode())
    sent[MARK] = _mark("dataset", name=root.name)
    if relabel.MANIFEST in sent:
        sent[relabel.MANIFEST] = card.public_manifest(root)
    yield from _send(api, repo, "dataset", sent, root.name)


def _files(root: Path) -> list[Path]:
    """The folder's files: none that are hidden, none by a link to elsewhere."""
    found = (path for path in sorted(root.rglob("*")) if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return [path for path in found if path.is_file() and folder.inside(path, root)]


def _whole(checkpoint: Path, place: Path) -> Path:
    from explorer.model import captioner

    opened = captioner.load(str(checkpoint))
    for part in (opened.model, opened.tokenizer, opened.processor):
        part.save_pretrained(place)
    return place


def _mark(kind: str, **values) -> bytes:
    return (json.dumps({"made_by": "caption-explorer", "kind": kind, **values}, ensure_ascii=False, indent=1) + "\n").encode()


def _ready(repo: str, kind: str, private: bool):
    """The client, once there is a repository that may be written to. Raises HubError when it holds other things."""
    api = client.connect()
    with client.telling(repo, f"push to {repo}"):
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        there = {file.rfilename for file in api.repo_info(repo, repo_type=kind).siblings or []}
    if MARK not in there and there - UNMARKED:
        other = sorted(there - UNMARKED)[0]
        raise HubError(f"{repo} holds other things already, such as {other}: nothing was pushed. Choose another name.")
    return api


def _send(api, repo: str, kind: str, sent: dict[str, Path | bytes], message: str) -> Iterator[Step]:
    """Upload, then commit all at once; files of an earlier push that are no longer sent go."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    sizes = {name: len(data) if isinstance(data, bytes) else data.stat().st_size for name, data in sent.items()}
    total, done = max(1, sum(sizes.values())), 0
    adds = [CommitOperationAdd(name, data) for name, data in sent.items()]
    with client.telling(repo, f"push to {repo}"):
        for start in range(0, len(adds), BATCH):
            batch = adds[start : start + BATCH]
            api.preupload_lfs_files(repo, batch, repo_type=kind)
            done += sum(sizes[add.path_in_repo] for add in batch)
            yield Step(0.1 + 0.8 * done / total, f"{done / 1e6:.1f} of {total / 1e6:.1f} MB, {len(adds)} files")
        old = {file.rfilename for file in api.repo_info(repo, repo_type=kind).siblings or []} - sent.keys() - UNMARKED
        operations = [*adds, *(CommitOperationDelete(name) for name in sorted(old))]
        api.create_commit(repo, operations, commit_message=message, repo_type=kind)
    address = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    yield Step(1.0, f"pushed {message} to {address}", address)

