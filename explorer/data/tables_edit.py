"""A folder's references changed where they stand: a few rows of its tables, a few sidecars, every other byte left alone.

Parquet has no lines: there the other rows keep their values.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from explorer import files
from explorer.data import tables
from explorer.data.folder import named_path, tabled

Wanted = dict[Path, tuple[str, ...]]


def set_references(root: Path, wanted: Wanted) -> None:
    """Give each picture (an absolute path below ``root``) these references, in the table that names it or in its sidecar."""
    left = dict(wanted)
    for folder in tabled(root):
        path = tables.find(folder)
        named = _edit(path, lambda file, folder=folder: wanted.get(named_path(folder, file)))
        for file in named:
            left.pop(named_path(folder, file), None)
    for picture, references in left.items():
        files.write_text(picture.with_suffix(".txt"), "".join(f"{text}\n" for text in references))


def _edit(path: Path, wanted: Callable[[str], tuple[str, ...] | None]) -> set[str]:
    """Change the rows of the files ``wanted`` gives references for; the files found. The first row of a file gets them
    all, and its other rows are taken out."""
    edit = {".jsonl": _edit_jsonl, ".parquet": _edit_parquet}.get(path.suffix, _edit_csv)
    found: set[str] = set()

    def change(file: str) -> tuple[str, ...] | None:
        """The references for a row, () for one to take out, None for one to leave."""
        references = wanted(file)
        if references is None:
            return None
        if file in found:
            return ()
        found.add(file)
        return references

    edit(path, change)
    return found


def new_row(row: dict, references: Sequence[str]) -> dict:
    """``row`` with its text columns saying ``references``: a list column takes all, plain ones take one each. A row with
    fewer columns than references gets a list: JSON in the first text cell of a CSV, a captions column elsewhere."""
    texts = [name for name in row if tables.is_text(name)]
    lists = [name for name in texts if isinstance(row[name], (list, dict))]
    plain = [name for name in texts if name not in lists]
    changed = dict(row) | {name: list(references) for name in lists}
    changed |= {name: references[at] if at < len(references) else "" for at, name in enumerate(plain)}
    if not lists and len(references) > len(plain):
        changed["captions"] = list(references)
    return changed


def _edit_jsonl(path: Path, change) -> None:
    lines, encoding = _raw_lines(path)
    out = []
    for line in lines:
        row = _parsed(line)
        references = change(tables.file_of(row)) if row and tables.file_of(row) else None
        if references is None:
            out.append(line)
        elif references:
            out.append(json.dumps(new_row(row, references), ensure_ascii=False) + _line_end(line))
    files.write_bytes(path, "".join(out).encode(encoding, "surrogateescape"))


def _parsed(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _raw_lines(path: Path) -> tuple[list[str], str]:
    """(lines with their ends, encoding) of a text file; what is not UTF-8 survives the way there and back."""
    data = path.read_bytes()
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    return list(io.StringIO(data.decode(encoding, "surrogateescape"), newline="")), encoding


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _edit_csv(path: Path, change) -> None:
    lines, encoding = _raw_lines(path)
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    delimiter = tables.delimiter_of(lines[first])
    names: list[str] = []
    out = lines[:first]
    for record, raw in _records(lines, first, delimiter):
        if not record or not any(record):
            out += raw
        elif not names:
            names = [name.strip() for name in record]
            out += raw
        else:
            out += _edited_record(names, record, raw, delimiter, change)
    files.write_bytes(path, "".join(out).encode(encoding, "surrogateescape"))


def _records(lines: list[str], at: int, delimiter: str) -> Iterator[tuple[list[str] | None, list[str]]]:
    """(fields, raw lines) of each record from a line on; None for a line with a stray quote, as when the table is read."""
    while at < len(lines):
        reader = csv.reader(lines[at:], delimiter=delimiter, strict=True, skipinitialspace=True)
        begin = at
        try:
            for record in reader:
                end = at + reader.line_num
                yield record, lines[begin:end]
                begin = end
            return
        except csv.Error:
            yield None, [lines[begin]]
            at = begin + 1


def _edited_record(names: list[str], record: list[str], raw: list[str], delimiter: str, change) -> list[str]:
    row = tables.row_of(names, record)
    file = tables.file_of(row)
    references = change(file) if file and len(record) <= len(names) else None
    if references is None:
        return raw
    if not references:
        return []
    cells = [record[at] if at < len(record) else "" for at in range(len(names))]
    places = [at for at, name in enumerate(names) if tables.is_text(name)]
    for rank, at in enumerate(places):
        cells[at] = references[rank] if rank < len(references) else ""
    if len(references) > len(places):
        cells[places[0]] = json.dumps(list(references), ensure_ascii=False)
        for at in places[1:]:
            cells[at] = ""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=_line_end(raw[-1])).writerow(cells)
    return [out.getvalue()]


def _edit_parquet(path: Path, change) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    rows = []
    for row in table.to_pylist():
        named = {**row, "image": row["image"].get("path")} if isinstance(row.get("image"), dict) else row
        references = change(tables.file_of(named)) if tables.file_of(named) else None
        if references is None:
            rows.append(row)
        elif references:
            rows.append(row | {name: value for name, value in new_row(row, references).items() if name != "image"})
    fields = list(table.schema)
    if any("captions" in row for row in rows) and "captions" not in table.schema.names:
        fields.append(pyarrow.field("captions", pyarrow.list_(pyarrow.string())))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, pyarrow.schema(fields)), path)
