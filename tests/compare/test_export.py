"""A view taken along: every format gives every text back, and nothing in it runs."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from helpers_runs import example, make_images, make_run
from hostile import HOSTILE

from explorer.compare import export
from explorer.compare.comparison import REFERENCE, View, build
from explorer.data.images import thumbnail_uri
from explorer.errors import UserError

AWKWARD = ["=1+2", 'she said "a dog, a cat"', "two\nlines", "NA", "  spaces  ", "🐈 قطة", "'- a cat", "null", "semi;colon", "1,5"]


@pytest.fixture
def awkward(tmp_path, workspace):
    examples = [example(p, [text, "two"]) for p, text in zip(make_images(tmp_path / "p", len(AWKWARD)), AWKWARD, strict=True)]
    return build([make_run(tmp_path, examples, [AWKWARD, [*AWKWARD[:0:-1], None]])], workspace)


def thumb(path, key, size):
    return thumbnail_uri(path, size)


def written(comparison, path, **view):
    return export.write(comparison, comparison.select(View(**view)), path, thumb)


def test_csv_read_by_pandas_gives_every_text_back_exactly(awkward, tmp_path):
    table = pd.read_csv(written(awkward, tmp_path / "out.csv"), keep_default_na=False, dtype=str)
    assert list(table.columns) == ["image_id", "file", "references", "base", "epoch 1"]
    assert list(table["base"]) == AWKWARD and list(table["epoch 1"]) == [*AWKWARD[:0:-1], ""]
    assert [json.loads(cell) for cell in table["references"]] == [[text, "two"] for text in AWKWARD]
    assert list(table["image_id"]) == [image["image_id"] for image in awkward.images]


def test_parquet_gives_every_text_back_references_as_lists_and_no_caption_as_null(awkward, tmp_path):
    table = pd.read_parquet(written(awkward, tmp_path / "out.parquet"))
    assert list(table.columns) == ["image_id", "file", "references", "base", "epoch 1"]
    assert list(table["base"]) == AWKWARD
    assert list(table["epoch 1"])[:-1] == AWKWARD[:0:-1] and table["epoch 1"].isna().iloc[-1]
    assert [list(cell) for cell in table["references"]] == [[text, "two"] for text in AWKWARD]


@pytest.mark.parametrize("ending", ["csv", "parquet", "html"])
def test_files_hold_the_whole_filtered_view_in_its_order_not_one_page(awkward, tmp_path, ending):
    path = written(awkward, tmp_path / f"out.{ending}", search="photo-00", order="file name", page=1, page_size=1)
    if ending == "html":
        files = re.findall(r"<small>(photo-\d+\.png)</small>", path.read_text("utf-8"))
    else:
        files = list((pd.read_csv if ending == "csv" else pd.read_parquet)(path)["file"])
    assert files == [f"photo-{n:03}.png" for n in range(10)]


def test_columns_that_are_off_are_left_out_and_order_is_kept(awkward, tmp_path):
    only = awkward.only([awkward.columns[1], awkward.columns[0]])
    assert list(pd.read_csv(written(only, tmp_path / "out.csv")).columns[3:]) == ["epoch 1", "base"]


def test_half_an_emoji_stops_no_export(tmp_path, workspace):
    [photo] = make_images(tmp_path / "p", 1)
    run = make_run(tmp_path, [example(photo, ["a dog"])], [["a dog"]])
    comparison = build([run], workspace)
    comparison.images[0]["references"][0] = "a \ud83d dog"
    for ending in ("csv", "html"):
        assert "a ? dog" in written(comparison, tmp_path / f"o.{ending}").read_text("utf-8")
    assert list(pd.read_parquet(written(comparison, tmp_path / "o.parquet"))["references"][0]) == ["a ? dog"]


def test_another_ending_is_refused_by_name(awkward, tmp_path):
    with pytest.raises(UserError, match="table.docx cannot be written: take a name that ends in .csv, .parquet, .html"):
        written(awkward, tmp_path / "table.docx")
    assert not list(tmp_path.glob("*.docx"))


class Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("against", ["left", REFERENCE, "pets@0"])
def test_the_html_file_stands_alone_and_hostile_texts_stay_texts(tmp_path, workspace, against):
    paths = make_images(tmp_path / "p", len(HOSTILE))
    examples = [{**example(p, [text]), "file": text} for p, text in zip(paths, HOSTILE, strict=True)]
    comparison = build([make_run(tmp_path, examples, [HOSTILE, HOSTILE[::-1]])], workspace)
    out = export.write(comparison, range(len(HOSTILE)), tmp_path / "out.html", thumb, against)
    page = Page(out.read_text("utf-8"))
    assert not {"script", "iframe", "object", "embed", "link", "form", "svg"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "href"]
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == len(HOSTILE) and all(source.startswith("data:image/webp;base64,") for source in sources)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes
    assert page.tags.count("tr") == 1 + len(HOSTILE)
    said = "".join(page.words)
    assert all(text in said for text in HOSTILE)
