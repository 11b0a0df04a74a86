"""A view of the comparison to take along: CSV, parquet, one HTML file with its pictures, contact sheets as PNG or PDF.

    export.write(comparison, places, Path("table.html"), thumb)      the ending decides

``places`` are those of `Comparison.select`: all images of the view in its order, not one page of them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from explorer import files
from explorer.compare import still
from explorer.compare.comparison import LEFT, Comparison
from explorer.errors import UserError

TABLES = (".csv", ".parquet", ".html")
SHEETS = 60
"""Images on contact sheets: the first of the view. A sheet of thousands would be no sheet."""

Thumb = Callable[[str, str, int], str | None]


def write(comparison: Comparison, places: Sequence[int], out: Path, thumb: Thumb, against: str = LEFT) -> Path:
    """Write the table in the format of ``out``'s ending; returns ``out``. Raises UserError for another ending."""
    ending = out.suffix.lower()
    if ending == ".csv":
        write_csv(comparison, places, out)
    elif ending == ".parquet":
        write_parquet(comparison, places, out)
    elif ending == ".html":
        files.write_text(out, _whole(still.page(comparison, places, thumb, against)))
    else:
        raise UserError(f"{out.name} cannot be written: take a name that ends in {', '.join(TABLES)}.")
    return out


def rows(comparison: Comparison, places: Sequence[int]) -> list[dict]:
    """A dict an image: image_id, file, references (list) and each column's label with its caption, None where there is none."""
    found = []
    for place in places:
        image = comparison.images[place]
        said = {comparison.label(column): comparison.text(column, place) for column in comparison.columns}
        found.append({"image_id": image["image_id"], "file": image["file"], "references": list(image["references"]), **said})
    return found


def write_csv(comparison: Comparison, places: Sequence[int], path: Path) -> None:
    """References as a JSON list, texts raw."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    labels = [comparison.label(column) for column in comparison.columns]
    writer.writerow(["image_id", "file", "references", *labels])
    for row in rows(comparison, places):
        references = json.dumps(row["references"], ensure_ascii=False)
        writer.writerow([row["image_id"], row["file"], references, *(row[label] or "" for label in labels)])
    files.write_text(path, _whole(out.getvalue()))


def write_parquet(comparison: Comparison, places: Sequence[int], path: Path) -> None:
    """References as a list of strings; a caption that is not there yet is null."""
    import pyarrow as pa
    from pyarrow import parquet

    labels = [comparison.label(column) for column in comparison.columns]
    texts = [("image_id", pa.string()), ("file", pa.string()), ("references", pa.list_(pa.string()))]
    schema = pa.schema([*texts, *((label, pa.string()) for label in labels)])
    table = pa.Table.from_pylist(_encodable(rows(comparison, places)), schema)
    out = io.BytesIO()
    parquet.write_table(table, out)
    files.write_bytes(path, out.getvalue())


def _encodable(found: list[dict]) -> list[dict]:
    return [{key: [_whole(each) for each in v] if isinstance(v, list) else _whole(v) for key, v in row.items()} for row in found]


def _whole(text: str | None) -> str | None:
    """Half an emoji (a lone surrogate) has no UTF-8: it becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8") if text is not None else None
