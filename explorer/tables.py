"""The table beside a folder's images: which references belong to which file, in whatever format it came.

metadata.jsonl, metadata.csv or metadata.parquet with a file column and one or several text columns. What cannot
be used is told by line, and the rest is kept.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from explorer.errors import UserError

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.parquet")
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_file", "path")
TEXT_COLUMNS = ("captions", "references", "text", "caption", "reference", "sentences", "sentence", "description")


class TableError(UserError):
    """A table that cannot be used at all; the sentence names it, what it holds and what is wanted."""


@dataclass
class Table:
    """Rows of a table: (line, file name, references); and what was wrong, as (line, reason)."""

    path: Path
    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)


def find(folder: Path) -> Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def read(path: Path) -> Table:
    """Every usable row of ``path``. Raises TableError when there is no file column or no text column."""
    table = Table(path)
    columns: set[str] = set()
    for line, row in _rows(path, table):
        columns |= set(row)
        file = next((row[name] for name in FILE_COLUMNS if _filled(row.get(name))), None)
        if not isinstance(file, str):
            if any(name in row for name in FILE_COLUMNS):
                table.problems.append((line, "names no file"))
            continue
        table.rows.append((line, file.strip(), references(row)))
    _check_columns(path, columns, table)
    return table


def _filled(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_columns(path: Path, columns: set[str], table: Table) -> None:
    if not columns:
        if not table.problems:
            raise TableError(f"{path.name} is empty: it needs a line an image with file_name and text.")
        raise TableError(f"{path.name} has no readable line; line {table.problems[0][0]} {table.problems[0][1]}.")
    have = ", ".join(sorted(columns)[:12])
    if not columns & set(FILE_COLUMNS):
        raise TableError(f"{path.name} has the columns {have}: name the one with the image files file_name.")
    if not columns & set(TEXT_COLUMNS):
        raise TableError(f"{path.name} has the columns {have}: name the one with the references text, caption or captions.")


def references(row: dict) -> list[str]:
    """The references of a row: every text column, lists flattened, white space tidied, repeats left out."""
    found: list[str] = []
    for name in TEXT_COLUMNS:
        for text in _texts(row.get(name)):
            tidy = " ".join(text.split())
            if tidy and tidy not in found:
                found.append(tidy)
    return found


def _texts(value) -> list[str]:
    if value is None or isinstance(value, (bool, int, float)):
        return [] if value is None or isinstance(value, bool) or value != value else [str(value)]
    if isinstance(value, str):
        return _listed(value) if value.lstrip().startswith("[") else [value]
    if isinstance(value, dict):
        return _texts(value.get("raw") or value.get("text"))
    try:
        return [text for item in value for text in _texts(item)]
    except TypeError:
        return []


def _listed(text: str) -> list[str]:
    """A JSON list written into a cell of a csv; any other text in brackets is just text."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else [text]


# --- the formats ------------------------------------------------------------------------------------------


def _rows(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        yield from _jsonl(path, table)
    else:
        yield from _csv(path, table)


def _text(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"):
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    raise TableError(f"{path.name} is not UTF-8 text: save it again as UTF-8.")


def _jsonl(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            table.problems.append((number, "is not JSON"))
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            table.problems.append((number, "is not a JSON object"))


def _csv(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    text = _text(path)
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="")
    try:
        for row in reader:
            if "" in row and any(_filled(extra) for extra in row[""] or []):
                table.problems.append((reader.line_num, "has more fields than the header: quote texts that hold a comma"))
            yield reader.line_num, {(name or "").strip(): value for name, value in row.items() if name}
    except csv.Error as error:
        table.problems.append((reader.line_num, f"cannot be read as CSV ({error})"))


def _parquet(path: Path) -> Iterator[tuple[int, dict]]:
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise TableError(f"{path.name} cannot be read as parquet: {str(error).splitlines()[0][:160]}.") from error
    for number, row in enumerate(rows, 1):
        file = row.get("image")
        yield number, {**row, "image": file.get("path")} if isinstance(file, dict) else row
