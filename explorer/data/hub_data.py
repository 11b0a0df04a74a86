"""A dataset of the Hub, by its id: rows that hold pictures, or a repository of picture files.

Only ids like owner/name are ever looked up, and never one that is also a path here: `datasets.load_dataset`
would open the local folder, and a visitor could read this machine's files.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from explorer import files
from explorer.data import rows
from explorer.data.folder import SPLITS
from explorer.data.images import SUFFIXES
from explorer.data.rows import SourceError, Tell
from explorer.data.tables import TABLES

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
PACKED = {".parquet", ".arrow", ".tar", ".zip", ".gz", ".tgz"}
"""Files that hold rows or pictures themselves; a repository with one is a matter for `datasets`."""


def is_hub_id(text: str) -> bool:
    return bool(HUB_ID.fullmatch(text)) and ".." not in text


def fetch(
    dataset_id: str, final: Path, split: str | None, image: str | None, caption: str | None, limit: int | None, tell: Tell | None
) -> Path:
    """Write the Hub dataset as the image folder ``final``. Raises SourceError naming the id and the remedy."""
    info = _look_up(dataset_id)
    names = _picture_files(info, split) if info else []
    if names:
        return _download(dataset_id, info.sha, names, final, limit, tell)
    loaded = _ask(dataset_id, lambda datasets: datasets.load_dataset(dataset_id, split=split or None))
    return rows.write(parts_of(loaded), final, dataset_id, image, caption, limit, tell)


def columns(dataset_id: str, split: str | None = None) -> tuple[list[str], list[str]]:
    """(columns of images, columns of texts) a person may choose from, with little downloaded. Raises SourceError."""
    _look_up(dataset_id)

    def features(datasets):
        known = datasets.load_dataset_builder(dataset_id).info.features
        if known:
            return known
        stream = datasets.load_dataset(dataset_id, split=split or None, streaming=True)
        part = next(iter(parts_of(stream).values()))
        return part.features or part._resolve_features().features  # the latter looks at the first rows

    return rows.columns_of(_ask(dataset_id, features))


def parts_of(loaded) -> dict:
    """Datasets by the name of their split; None when there is one without."""
    return dict(loaded) if hasattr(loaded, "keys") else {None: loaded}


def _look_up(dataset_id: str):
    """What the Hub tells of the id, at once and with a clear error; None when offline, where the cache may still do."""
    if not is_hub_id(dataset_id):
        raise SourceError(f"{dataset_id!r} is not a Hub dataset id: it looks like owner/name.")
    if Path(dataset_id).exists():
        raise SourceError(f"{dataset_id!r} is also a folder where the explorer runs, so the Hub is not asked for it.")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        return HfApi().dataset_info(dataset_id, timeout=15)
    except OfflineModeIsEnabled:
        return None
    except GatedRepoError as error:
        raise SourceError(f"The Hub dataset {dataset_id} asks for its terms to be accepted: do so on its page and log in.") from error
    except RepositoryNotFoundError as error:
        raise SourceError(f"There is no Hub dataset {dataset_id}, or it is private: check the spelling.") from error
    except Exception as error:  # whatever the network library raises, the Hub did not answer
        raise SourceError(
            f"The Hub dataset {dataset_id} could not be loaded, the Hub does not answer ({short(error)}): "
            "check the connection, or bring a zip."
        ) from error


def _ask(dataset_id: str, question):
    """The answer of `datasets` to ``question``, its errors as a sentence."""
    import datasets

    try:
        return question(datasets)
    except ConnectionError as error:
        raise SourceError(
            f"The Hub dataset {dataset_id} could not be loaded, the Hub is out of reach: check the connection, or bring a zip."
        ) from error
    except Exception as error:  # whatever the library raises on files of strangers
        raise SourceError(f"The Hub dataset {dataset_id} could not be loaded: {short(error)}. Check the id and the split.") from error


def _picture_files(info, split: str | None) -> list[str]:
    """The pictures, tables and sidecars of a repository that is an image folder; [] when it is something else.

    `datasets` would give only the paths of such pictures in its cache, and paths are not opened.
    """
    names = [file.rfilename for file in info.siblings or []]
    plain = [PurePosixPath(name) for name in names if not name.startswith(".") and ".." not in PurePosixPath(name).parts]
    data = [name for name in plain if name.name not in TABLES]
    if any(name.suffix.lower() in PACKED for name in data) or not any(name.suffix.lower() in SUFFIXES for name in data):
        return []
    side = SPLITS.get((split or "").lower())
    kept = [name for name in plain if name.suffix.lower() in SUFFIXES | {".txt"} or name.name in TABLES]
    if side and any(_side(name) for name in kept):
        kept = [name for name in kept if _side(name) in (side, None)]
    return sorted(name.as_posix() for name in kept)


def _side(name: PurePosixPath) -> str | None:
    return next((SPLITS[part.lower()] for part in name.parts[:-1] if part.lower() in SPLITS), None)


def _download(dataset_id: str, revision: str, names: list[str], final: Path, limit: int | None, tell: Tell | None) -> Path:
    from huggingface_hub import hf_hub_download

    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    wanted = [*(name for name in names if name not in set(pictures)), *pictures[: limit or len(pictures)]]
    with files.whole_folder(final) as folder:

        def get(name: str) -> None:
            hf_hub_download(dataset_id, name, repo_type="dataset", revision=revision, local_dir=folder)

        try:
            with ThreadPoolExecutor(4) as pool:
                for count, _ in enumerate(pool.map(get, wanted), 1):
                    if tell:
                        tell(count, len(wanted))
        except Exception as error:  # whatever the network library raises
            raise SourceError(f"The files of the Hub dataset {dataset_id} could not be fetched ({short(error)}): try again.") from error
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # what the client notes down beside them
    return final


def short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(lines) or type(error).__name__)[:200].rstrip(".")
