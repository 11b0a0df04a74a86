"""Rows of a `datasets` dataset, written out as an image folder: one file a picture, one metadata.jsonl a split.

Used for datasets saved to disk, parquet files and the Hub alike. A cell of an image column may name a file of
this machine instead of holding a picture (`{bytes: None, path: "/etc/passwd"}`), so the library never opens
one here: bytes are taken, paths are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from explorer import files
from explorer.data import tables
from explorer.data.folder import SPLITS
from explorer.errors import UserError

Tell = Callable[[int, int | None], None]
IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "png", "jpeg", "webp")
NOT_CAPTIONS = {*tables.FILE_COLUMNS, "id", "image_id", "split", "url", "image_url", "source", "license"}
KINDS = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"RIFF", ".webp"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*", ".tif"),
    (b"MM\0*", ".tif"),
)


class SourceError(UserError):
    """Something brought that cannot be taken in; the sentence names it and what would do."""


def columns_of(features: Mapping) -> tuple[list[str], list[str]]:
    """(columns that hold images, columns that hold texts), the likeliest first: what a person may choose from."""
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    images += [name for name in features if name in IMAGE_COLUMNS and name not in images]
    texts = [name for column in tables.TEXT_COLUMNS for name in features if name.lower() == column and name not in images]
    others = (name for name, feature in features.items() if "string" in str(feature))
    texts += [name for name in others if name not in texts + images and name.lower() not in NOT_CAPTIONS]
    return images, texts


def choose(features: Mapping, source: str, image: str | None, caption: str | None) -> tuple[str, str | None]:
    """The column of pictures and the column of captions; the latter None when nothing there is text.

    Raises SourceError, naming the columns there are, when a column is absent or the choice is a person's.
    """
    have = ", ".join(features)
    for wanted in (image, caption):
        if wanted and wanted not in features:
            raise SourceError(f"{source} has no column {wanted!r}; it has {have}.")
    images, texts = columns_of(features)
    if not image and not images:
        raise SourceError(f"{source} has no column of images; it has {have}. Name the right one.")
    known = [name for name in texts if name.lower() in tables.TEXT_COLUMNS]
    if not caption and not known and len(texts) > 1:
        raise SourceError(f"{source} has several columns of text, {', '.join(texts)}: name the one with the captions.")
    return image or images[0], caption or next(iter(known or texts), None)


def write(
    parts: Mapping,
    final: Path,
    source: str,
    image: str | None = None,
    caption: str | None = None,
    limit: int | None = None,
    tell: Tell | None = None,
) -> Path:
    """Write ``parts`` (datasets by split; one under None has no split) as the folder ``final``, whole or not at all.

    ``limit``: rows of each split at most. ``tell`` gets (rows written, rows in all). Raises SourceError.
    """
    with files.whole_folder(final) as folder:
        several = len(parts) > 1
        written = 0
        for split, part in parts.items():
            target = folder / SPLITS.get(str(split).lower(), "train") if several else folder
            target.mkdir(exist_ok=True)
            prefix = f"{split}-" if several else ""
            rows = list(_rows(part, target, prefix, choose(part.features, source, image, caption), limit, tell))
            # val and test share a folder: the second adds its rows to those of the first.
            files.write_jsonl(target / "metadata.jsonl", [*files.read_jsonl(target / "metadata.jsonl"), *rows])
            written += sum((target / row["file_name"]).exists() for row in rows)
        if not written:
            raise SourceError(f"{source} holds no picture itself, at most names of picture files: bring those files as a zip or folder.")
    return final


def _rows(part, target: Path, prefix: str, columns: tuple[str, str | None], limit: int | None, tell: Tell | None) -> Iterator[dict]:
    """Write the pictures of ``part``; yields the rows of its table. A row without a picture stays, and is told when read."""
    import datasets

    image, caption = columns
    part = part.select_columns([name for name in columns if name])
    if isinstance(part.features[image], datasets.Image):
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
    return next((suffix for start, suffix in KINDS if data.startswith(start)), ".jpg")
