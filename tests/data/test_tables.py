"""A table gives every reference it holds to the file it names; what it cannot give is told by line."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from explorer.data import tables
from explorer.data.tables import TableError


def read(folder, name: str, data: str | bytes) -> tables.Table:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return tables.read(path)


def given(table: tables.Table) -> list[tuple[str, list[str]]]:
    return [(file, references) for _, file, references in table.rows]


# --- columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["file_name", "File Name", "filename", "image", "image_path", " file-name ", "IMG"])
def test_the_file_column_is_known_by_its_usual_names(tmp_path, column):
    assert given(read(tmp_path, "metadata.csv", f"{column},text\na.png,a dog\n")) == [("a.png", ["a dog"])]


@pytest.mark.parametrize("column", ["text", "caption", "Caption", "captions", "caption_0", "sentence 2", "description", "references"])
def test_the_text_column_is_known_by_its_usual_names(tmp_path, column):
    assert given(read(tmp_path, "metadata.csv", f"file_name,{column}\na.png,a dog\n")) == [("a.png", ["a dog"])]


def test_five_caption_columns_are_five_references_and_empty_ones_are_no_fault(tmp_path):
    table = read(tmp_path, "metadata.csv", "image,caption_1,caption_2,caption_3\na.png,one,two,three\nb.png,one,,\n")
    assert given(table) == [("a.png", ["one", "two", "three"]), ("b.png", ["one"])]
    assert (table.problems, table.blanks) == ([], [])


def test_columns_of_one_name_are_all_kept(tmp_path):
    assert given(read(tmp_path, "metadata.csv", "image,caption,caption\na.png,one,two\n")) == [("a.png", ["one", "two"])]


def test_other_columns_are_not_mistaken_for_references(tmp_path):
    assert given(read(tmp_path, "metadata.csv", "id,file_name,label,text,url\n7,a.png,cat,one,http://x\n")) == [("a.png", ["one"])]


# --- cells ------------------------------------------------------------------------------------------------

CELLS = {
    "a text": ("a dog", ["a dog"]),
    "a list": (["a dog", "a cat"], ["a dog", "a cat"]),
    "lists in a list": ([["a dog"], ["a cat"]], ["a dog", "a cat"]),
    "a list with a hole": (["a dog", None, "", "a cat"], ["a dog", "a cat"]),
    "COCO's sentences": ([{"raw": "A dog.", "tokens": ["a", "dog"]}], ["A dog."]),
    "white space": (" a \n dog\t", ["a dog"]),
    "a repeat": (["a dog", "a  dog"], ["a dog"]),
    "a number": (7, ["7"]),
    "nothing": (None, []),
    "not a number": (float("nan"), []),
    "a yes": (True, []),
    "JSON in a text": ('["a dog", "a cat"]', ["a dog", "a cat"]),
    "JSON with a hole": ('["a dog", null]', ["a dog"]),
    "Python's list": ("['a dog', \"it's a cat\"]", ["a dog", "it's a cat"]),
    "Python's list with a hole": ("['a dog', None, nan]", ["a dog"]),
    "numpy's list": ("['a dog' 'a cat'\n 'a fox']", ["a dog", "a cat", "a fox"]),
    "numpy's list with both quotes": ("[\"it's\" 'say \"b\"' 'back \\\\ slash, comma']", ["it's", 'say "b"', "back \\ slash, comma"]),
    "an empty list in a text": ("[]", []),
    "brackets that are no list": ("[sic] a dog", ["[sic] a dog"]),
    "brackets never closed": ("['a dog'", ["['a dog'"]),
    "a list of numbers": ("[1, 2]", ["[1, 2]"]),
    "code": ("[__import__('os').getcwd()]", ["[__import__('os').getcwd()]"]),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_gives_every_reference_in_it_and_no_other(case):
    cell, wanted = CELLS[case]
    assert tables.references({"file_name": "a.png", "captions": cell}) == wanted


def test_lists_that_pandas_writes_out_come_back_one_by_one(tmp_path):
    """From parquet they are arrays, which to_csv writes without commas; once they came back as 'a doga cat'."""
    wanted = [["a dog", "a cat"], ["it's one"], ['"quoted", with comma', "two\tthree"]]
    frame = pandas.DataFrame({"file_name": ["a.png", "b.png", "c.png"], "captions": wanted})
    frame.to_parquet(tmp_path / "x.parquet")
    pandas.read_parquet(tmp_path / "x.parquet").to_csv(tmp_path / "metadata.csv", index=False)
    assert [references for _, references in given(tables.read(tmp_path / "metadata.csv"))] == [
        [" ".join(text.split()) for text in texts] for texts in wanted
    ]


def test_a_long_cell_that_is_nearly_a_list_takes_no_time():
    started = time.process_time()
    for cell in ("[" + "'a' " * 50_000 + "x]", "['" + "\\'" * 50_000, "[" + "None" * 50_000 + "'", "[" * 50_000):
        assert tables.references({"text": cell}) == [" ".join(cell.split())]
    assert time.process_time() - started < 2


# --- lines ------------------------------------------------------------------------------------------------

GOOD = [("a.png", ["a dog"]), ("c.png", ["a fox"])]


@pytest.mark.parametrize(
    "line,reason",
    [
        ("{", "is not JSON"),
        ("[1, 2]", "is not a JSON object"),
        ("7", "is not a JSON object"),
        ('{"text": "a cat"}', "names no file"),
        ('{"file_name": "  ", "text": "a cat"}', "names no file"),
        ('{"file_name": 3, "text": "a cat"}', "names no file"),
        ('{"file_name": "b.png", "text": ' + "[" * 3_000 + "]" * 3_000 + "}", "too deep"),
        ('{"file_name": "b.png", "text": ' + "[" * 600 + "]" * 600, "is not JSON"),
        (b'{"file_name": "b.png", "text": "caf\xe9"}', "is not UTF-8"),
    ],
)
def test_a_bad_json_line_is_told_by_number_and_costs_no_other(tmp_path, line, reason):
    first, last = (json.dumps({"file_name": file, "text": texts[0]}).encode() for file, texts in GOOD)
    line = line if isinstance(line, bytes) else line.encode()
    table = read(tmp_path, "metadata.jsonl", b"\n".join([first, line, b"", last]))
    assert given(table) == GOOD
    assert [number for number, _ in table.problems] == [2] and reason in table.problems[0][1]


@pytest.mark.parametrize(
    "line,reason",
    [
        (b"b.png,a cat, sitting", "more fields than the header"),
        (b",a cat", "names no file"),
        (b"b.png,caf\xe9", "is not UTF-8"),
        (b'b.png,"a cat', "look at its quotes"),
        (b'b.png,"a "big" cat"', "look at its quotes"),
        (b"b.png," + b"x" * 200_000, "field"),
    ],
)
def test_a_bad_csv_line_is_told_by_number_and_costs_no_other(tmp_path, line, reason):
    table = read(tmp_path, "metadata.csv", b"\n".join([b"file_name,text", b"a.png,a dog", line, b"", b"c.png,a fox"]))
    assert given(table) == GOOD
    assert [number for number, _ in table.problems] == [3] and reason in table.problems[0][1]


def test_a_text_over_several_lines_is_one_reference_and_later_lines_keep_their_number(tmp_path):
    table = read(tmp_path, "metadata.csv", 'file_name,text\na.png,"a ""big""\ndog, red"\n\nb.png,x,y\nc.png,a fox\n')
    assert given(table) == [("a.png", ['a "big" dog, red']), ("c.png", ["a fox"])]
    assert [line for line, _, _ in table.rows] == [2, 6] and [line for line, _ in table.problems] == [5]


def test_blank_captions_are_told_with_line_and_file(tmp_path):
    lines = [
        '{"file_name": "a.png", "text": " "}',
        '{"file_name": "b.png", "captions": ["x", ""]}',
        '{"file_name": "c.png", "captions": []}',
    ]
    table = read(tmp_path, "metadata.jsonl", "\n".join(lines))
    assert table.blanks == [(1, "a.png"), (2, "b.png")]
    assert given(table) == [("a.png", []), ("b.png", ["x"]), ("c.png", [])]


# --- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_spreadsheet_is_read_however_it_was_saved(tmp_path, delimiter, encoding, end):
    rows = (("file_name", "caption"), ("a.png", "ein Kätzchen 🐈"), ("b.png", f'"one{delimiter} two"'))
    text = end.join(delimiter.join(row) for row in rows) + end
    assert given(read(tmp_path, "metadata.csv", text.encode(encoding))) == [
        ("a.png", ["ein Kätzchen 🐈"]),
        ("b.png", [" ".join(f"one{delimiter} two".split())]),
    ]


def test_a_comma_in_a_quoted_header_is_no_delimiter(tmp_path):
    assert given(read(tmp_path, "metadata.csv", 'file_name;text;"seen by, and when"\na.png;a dog;me\n')) == [("a.png", ["a dog"])]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    assert given(read(tmp_path, "metadata.jsonl", '{"file_name": "a.png", "text": "a\u2028dog"}\n')) == [("a.png", ["a dog"])]


def test_parquet_of_texts_lists_and_picture_cells_is_read(tmp_path):
    columns = {"image": [{"bytes": None, "path": "a.png"}], "captions": [["one", "two"]], "text": ["three"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "metadata.parquet")
    assert given(tables.read(tmp_path / "metadata.parquet")) == [("a.png", ["one", "two", "three"])]


def damaged(name: str):
    def write(folder):
        path = folder / "metadata.parquet"
        days = pyarrow.array(np.array([10**7], np.int32)).cast(pyarrow.date32())
        pyarrow.parquet.write_table(pyarrow.table({"file_name": ["a.png"], "text": ["x"], "when": days}), path)
        data = path.read_bytes()
        path.write_bytes({"a far date": data, "cut": data[:-40], "no parquet": b"hello", "empty": b""}[name])

    return write


@pytest.mark.parametrize("name", ["a far date", "cut", "no parquet", "empty"])
def test_parquet_that_cannot_be_read_is_told_by_name(tmp_path, name):
    damaged(name)(tmp_path)
    with pytest.raises(TableError, match="^metadata.parquet cannot be read as parquet: "):
        tables.read(tmp_path / "metadata.parquet")


USELESS = {
    "empty": ("metadata.jsonl", "", "^metadata.jsonl is empty: it needs a line an image with file_name and text"),
    "blank lines": ("metadata.csv", "\n \n", "^metadata.csv is empty: it needs a line"),
    "a header alone": ("metadata.tsv", "file_name\ttext\n", "^metadata.tsv is empty"),
    "no file column": (
        "metadata.csv",
        "id,text\n1,x\n",
        "^metadata.csv has the columns id, text: name the one with the image files file_name",
    ),
    "no text column": (
        "metadata.csv",
        "image,label\na,1\n",
        "^metadata.csv has the columns image, label: name the one .* text, caption or",
    ),
    "no line readable": ("metadata.jsonl", "<p>\n</p>", "^metadata.jsonl has no readable line; line 1 is not JSON"),
    "every row too long": (
        "metadata.csv",
        "image,text\na,b,c\n",
        "^metadata.csv has no readable line; line 2 has more fields than the header",
    ),
    "a latin-1 header": (
        "metadata.csv",
        "image,l\xe9gende\n".encode("latin-1"),
        "no readable header: line 1 is not UTF-8 text: save the table",
    ),
    "a picture": ("metadata.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe", "^metadata.csv has no readable header"),
}


@pytest.mark.parametrize("case", USELESS)
def test_a_table_of_no_use_says_what_it_holds_and_what_is_wanted(tmp_path, case):
    name, data, sentence = USELESS[case]
    with pytest.raises(TableError, match=sentence):
        read(tmp_path, name, data)


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_that_went_away_is_told_by_name(tmp_path, name):
    with pytest.raises(TableError, match=f"^{name} cannot be read"):
        tables.read(tmp_path / name)


def test_damaged_bytes_give_a_table_or_a_sentence_and_nothing_else(tmp_path):
    random = np.random.default_rng(0)
    columns = {"file_name": ["a.png", "b.png"], "captions": [["a dog", "a cat"], ["a fox"]]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "metadata.parquet")
    good = {
        "metadata.jsonl": b'{"file_name": "a.png", "captions": ["a dog", "a cat"]}\n{"file_name": "b.png", "text": "\\u00e9"}\n',
        "metadata.csv": b'file_name,captions\na.png,"[""a dog"", ""a cat""]"\nb.png,"[\'a\' \'b\']"\n',
        "metadata.parquet": (tmp_path / "metadata.parquet").read_bytes(),
    }
    for name, data in good.items():
        for _ in range(150):
            bad = bytearray(data)
            for place in random.integers(0, len(bad), 2):
                bad[place] = random.integers(0, 256)
            try:
                table = read(tmp_path, name, bytes(bad))
            except TableError as error:
                assert name in str(error)
            else:
                json.dumps([table.rows, table.problems, table.blanks], ensure_ascii=False).encode()


@pytest.mark.parametrize("depth", [100, 600, 900, 3_000, 100_000])
def test_lists_of_any_depth_end_no_reading(tmp_path, depth):
    """At 600 the parser goes through and only the search for texts gives up; which of them does is Python's business."""
    deep = '{"file_name": "b.png", "captions": ' + "[" * depth + '"a cat"' + "]" * depth + "}"
    table = read(tmp_path, "metadata.jsonl", '{"file_name": "a.png", "text": "a dog"}\n' + deep)
    assert given(table)[0] == ("a.png", ["a dog"])
    assert table.problems == [(2, tables.TOO_DEEP)] or given(table)[1:] == [("b.png", ["a cat"])]
