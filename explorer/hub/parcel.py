"""What travels between this machine and a Job: the project, a run with its pictures, and back what the run has become."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from explorer import files
from explorer.errors import UserError
from explorer.model import origin
from explorer.settings import SHIPPED
from explorer.train.run import Run
from explorer.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]
STAYS = {"job.json", "status.json", "stop", "output.txt"}
"""Files of a run's folder that speak of this machine's own process."""


def project(base: str) -> bytes:
    """The explorer as a tar.gz that is the same each time, so that the Hub keeps it once; with the embedded base if needed."""
    paths = [PROJECT / "requirements.txt", *sorted((PROJECT / "explorer").rglob("*.py"))]
    paths += sorted((SHIPPED / "blip-mini").iterdir()) if base == str(SHIPPED / "blip-mini") else []
    return _packed((f"checkpoints/{p.relative_to(SHIPPED)}" if p.is_relative_to(SHIPPED) else p.relative_to(PROJECT).as_posix(), p) for p in paths)


def run(run: Run, workspace: Workspace) -> tuple[bytes, str]:
    """(a run's folder as a tar.gz, its pictures beside it and named so; the base it stands on).

    Raises UserError when its pictures are gone, or when it stands on a folder that cannot go along.
    """
    base = origin.unfold(run.base(workspace))[0]
    parts: list[tuple[str, Path | bytes]] = []
    if Path(base).is_dir() and base != str(SHIPPED / "blip-mini") and not Path(base).is_relative_to(run.folder):
        if run.config.base != base:
            raise UserError(f"The run {run.name!r} cannot go to a Job: it stands on {base}, a folder of this machine. Push that model first.")
        # As a run that begins from a checkpoint: there the folder has no other name.
        parts += [(f"{origin.START}/1/{path.name}", path) for path in sorted(Path(base).iterdir()) if path.is_file()]
        parts += [(f"{origin.START}/1/checkpoint.json", b"{}")]
    rows = []
    for number, row in enumerate(run.examples()):
        path = run.folder / row["path"]
        if not path.is_file():
            raise UserError(f"The picture {row['file']} of the run {run.name!r} is gone: it cannot go to a Job.")
        rows.append({**row, "path": f"images/{number:06}{path.suffix}"})
        parts.append((rows[-1]["path"], path))
    parts += [(name, path) for name, path in _own(run.folder) if name != "examples.jsonl" and not name.startswith("images/")]
    parts.append(("examples.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()))
    return _packed(parts), base


def _own(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts) and name.as_posix() not in STAYS:
            yield name.as_posix(), path


def _packed(parts) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, compresslevel=1) as zipped, tarfile.open(fileobj=zipped, mode="w|") as archive:
        for name, content in parts:
            data = content if isinstance(content, bytes) else content.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def unpack(archive: Path, folder: Path) -> None:
    """The files of a parcel; names that lead out of ``folder``, links and devices are refused by tarfile's data filter."""
    with tarfile.open(archive, "r:gz") as opened:
        opened.extractall(folder, filter="data")


def bring_back(out: Path, run: Run, at_end: bool) -> None:
    """Put what a Job has sent, in ``out``, into the run's folder: complete checkpoints, captions; at the end the log and the state."""
    for marker in sorted(out.glob("epoch-*/checkpoint.json")):
        final = run.folder / marker.parent.name
        if not (final / marker.name).exists() or at_end:
            with files.whole_folder(final) as folder:
                shutil.copytree(marker.parent, folder, dirs_exist_ok=True)
    wanted = [*out.glob("captions/*/*.jsonl"), *([*out.glob("log.jsonl"), *out.glob("resume/*")] if at_end else [])]
    for path in wanted:
        files.write_bytes(run.folder / path.relative_to(out), path.read_bytes())
    for folder in run.folder.glob("epoch-*") if at_end else ():
        if not (out / folder.name).exists():  # the run was told not to keep it
            os.rename(folder, gone := folder.with_name(f".{folder.name}.old"))
            shutil.rmtree(gone, ignore_errors=True)
