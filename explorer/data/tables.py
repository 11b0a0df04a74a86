"""The table beside a folder's images: which references belong to which file, in whatever format it came.

metadata.jsonl, metadata.csv, metadata.tsv or metadata.parquet with a file column and one or several text columns.
What cannot be used is told by line, and the rest is kept.
"""

from __future__ import annotations

import ast
import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from explorer.errors import UserError

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.parquet")
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_file", "image_name", "image_path", "img", "path")
TEXT_COLUMNS = ("captions", "references", "text", "caption", "reference", "sentences", "sentence", "description")
TOO_DEEP = "is not JSON that can be used: lists in lists, too deep to be read"


class TableError(UserError):
    """A table that cannot be used at all; the sentence names it, what it holds and what is wanted."""


@dataclass
class Table:
    """Rows of a table: (line, file name, references); what was wrong, as (line, reason); blank texts, as (line, file)."""

    path: Path
    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    blanks: list[tuple[int, str]] = field(default_factory=list)


def find(folder: Path) -> Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def read(path: Path) -> Table:
    """Every usable row of ``path``. Raises TableError when there is no file column or no text column."""
    table = Table(path)
    columns: dict[str, None] = {}
    for line, row in _rows(path, table):
        columns |= dict.fromkeys(row)
        file = file_of(row)
        if not file:
            table.problems.append((line, "names no file"))
            continue
        try:
            found = references(row)
        except RecursionError:
            table.problems.append((line, TOO_DEEP))
            continue
        if _has_blank(row, found):
            table.blanks.append((line, file))
        table.rows.append((line, file, found))
    _check_columns(path, list(columns), table)
    return table


def _check_columns(path: Path, columns: list[str], table: Table) -> None:
    if not columns:
        if not table.problems:
            raise TableError(f"{path.name} is empty: it needs a line an image with file_name and text.")
        raise TableError(f"{path.name} has no readable line; line {table.problems[0][0]} {table.problems[0][1]}.")
    have = ", ".join(columns[:12])
    if not {_plain(name) for name in columns} & set(FILE_COLUMNS):
        raise TableError(f"{path.name} has the columns {have}: name the one with the image files file_name.")
    if not any(is_text(name) for name in columns):
        raise TableError(f"{path.name} has the columns {have}: name the one with the references text, caption or captions.")


# --- columns ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    """A column's name as people mean it: " File Name" is file_name."""
    return re.sub(r"[ -]+", "_", name.strip().lower())


@lru_cache(maxsize=1024)
def _unnumbered(name: str) -> str:
    """caption_0 ... caption_4 are all caption."""
    return re.sub(r"_?\d+$", "", _plain(name))


def is_text(name: str) -> bool:
    """Whether a column of this name holds references."""
    return _unnumbered(name) in TEXT_COLUMNS


def _filled(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


def file_of(row: dict) -> str:
    """The file a row names; "" when it names none."""
    cells = {_plain(name): value for name, value in row.items()}
    return next((_sound(cells[name].strip()) for name in FILE_COLUMNS if _filled(cells.get(name))), "")


def _sound(text: str) -> str:
    """``text`` without half characters (JSON may hold a lone surrogate), which no file and no page could take."""
    return text.encode("utf-8", "replace").decode("utf-8")


def references(row: dict) -> list[str]:
    """The references of a row: every text column, lists flattened, white space tidied, repeats left out."""
    found: dict[str, None] = {}
    for column in TEXT_COLUMNS:
        for name, value in row.items():
            if _unnumbered(name) == column:
                found |= dict.fromkeys(_sound(" ".join(text.split())) for text in _texts(value))
    return [text for text in found if text]


def _has_blank(row: dict, found: list[str]) -> bool:
    """Whether a text was meant but is blank. An empty cell beside a filled one is no fault: not all have five captions."""
    cells = [value for name, value in row.items() if is_text(name)]
    inside = any(isinstance(cell, list) and any(isinstance(t, str) and not t.strip() for t in cell) for cell in cells)
    return inside or (not found and any(isinstance(cell, str) for cell in cells))


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


# A text in quotes as Python writes it, and a list of them with or without commas. Nothing is tried twice (*+), so
# that no cell takes long.
QUOTED = r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\""
WRITTEN_LIST = re.compile(rf"\[\s*+(?:(?:{QUOTED}|None|nan)[\s,]*+)*+\]", re.DOTALL)


def _listed(text: str) -> list[str]:
    """A list written into a cell of a csv, as JSON or as pandas writes it; any other text in brackets is just text.

    pandas writes the lists of a parquet file without commas, ['a dog' 'a cat']. Python would join those two,
    so its parser is given one quoted text at a time.
    """
    text = text.strip()
    try:
        value = json.loads(text)
        if isinstance(value, list) and all(item is None or isinstance(item, str) for item in value):
            return [item for item in value if item is not None]
    except (ValueError, RecursionError):
        pass
    if WRITTEN_LIST.fullmatch(text):
        try:
            return [ast.literal_eval(f"({found})") for found in re.findall(QUOTED, text, re.DOTALL)]
        except (ValueError, SyntaxError):  # an escape that is none
            pass
    return [text]


# --- the formats ------------------------------------------------------------------------------------------


def _rows(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        yield from _jsonl(path, table)
    else:
        yield from _csv(path, table)


def _lines(path: Path, table: Table) -> list[str]:
    """The lines of a text file, those that are not UTF-8 told and blanked. A UTF-8 or UTF-16 mark is understood."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path.name} cannot be read: {error.strerror}.") from error
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16", "replace") if wide else data.decode("utf-8-sig", "surrogateescape")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for place, line in enumerate(lines):
        if re.search("[\udc80-\udcff]", line):
            table.problems.append((place + 1, "is not UTF-8 text: save the table again as UTF-8"))
            lines[place] = ""
    return lines


def _jsonl(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(_lines(path, table), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            table.problems.append((number, "is not JSON"))
            continue
        except RecursionError:
            table.problems.append((number, TOO_DEEP))
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            table.problems.append((number, "is not a JSON object"))


def _csv(path: Path, table: Table) -> Iterator[tuple[int, dict]]:
    lines = _lines(path, table)
    head = next((line for line in lines if line.strip()), "")
    if table.problems and table.problems[0][0] == 1:
        raise TableError(f"{path.name} has no readable header: line 1 {table.problems[0][1]}.")
    records = csv_records([line + "\n" for line in lines], delimiter_of(head), table.problems, skipinitialspace=True)
    names = [name.strip() for name in next(records, (0, []))[1]]
    for line, record in records:
        if any(_filled(extra) for extra in record[len(names) :]):
            table.problems.append((line, "has more fields than the header: quote texts that hold a comma"))
        else:
            yield line, row_of(names, record)


def delimiter_of(head: str) -> str:
    bare = re.sub('"[^"]*"', "", head)  # a comma inside a quoted name parts nothing
    return max(",;\t", key=bare.count)


def csv_records(lines: list[str], delimiter: str, problems: list[tuple[int, str]], **form) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each record; ``lines`` with their ends. One with a stray quote is told in ``problems``, and reading
    goes on with the line after its first.

    Without ``strict`` an unclosed quote would silently swallow the rows up to the next quote. ``form``: see csv.reader.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader(itertools.islice(lines, start, None), delimiter=delimiter, strict=True, **form)
        begin = start
        try:
            for record in reader:
                if any(record):
                    yield begin + 1, record
                begin = start + reader.line_num
            return
        except csv.Error as error:
            problems.append((begin + 1, f"cannot be read as CSV, look at its quotes ({error})"))
            start = begin + 1


def row_of(names: Iterable[str], record: list[str]) -> dict:
    """A record by column; columns of one name (caption, caption, caption) become a list of what is filled."""
    row: dict = {}
    for name, value in itertools.zip_longest(names, record):
        if not name:
            continue
        if name not in row:
            row[name] = value
        else:
            known = row[name] if isinstance(row[name], list) else [row[name]]
            row[name] = [text for text in (*known, value) if _filled(text)]
    return row


def _parquet(path: Path) -> Iterator[tuple[int, dict]]:
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except Exception as error:  # whatever pyarrow raises, a date past the year 9999 among it, the file is what is wrong
        raise TableError(f"{path.name} cannot be read as parquet: {(str(error).splitlines() or ['damaged'])[0][:160]}.") from error
    for number, row in enumerate(rows, 1):
        file = row.get("image")
        yield number, {**row, "image": file.get("path")} if isinstance(file, dict) else row
