"""What is wrong with a folder is told by file or line, and never costs the pictures that are right."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
from drawn import captioned, photos, picture, rows, table
from PIL import Image

from explorer import files
from explorer.data import dataset
from explorer.data.dataset import Dataset, DatasetError
from explorer.data.tables import TableError

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
GOOD = [f"photo-{number}.png" for number in range(3)]


def references(found: Dataset) -> dict[str, tuple[str, ...]]:
    return {e.file_name: e.references for e in found.examples}


def kinds(found: Dataset) -> set[str]:
    return {problem.kind for problem in found.problems}


# --- twenty and more kinds of bad image and table ----------------------------------------------------------


def add(folder: Path, name: str = "bad.png", text="a bad one") -> Path:
    """A row for a further file; the file itself is for the case to make."""
    with open(folder / "metadata.jsonl", "a", encoding="utf-8") as out:
        out.write(json.dumps({"file_name": name, "text": text}) + "\n")
    return folder / name


def add_line(folder: Path, line: bytes) -> None:
    with open(folder / "metadata.jsonl", "ab") as out:
        out.write(line + b"\n")


def as_csv(folder: Path, *lines: bytes) -> None:
    """The same table as csv, with ``lines`` between its second row and its last."""
    (folder / "metadata.jsonl").unlink()
    good = [f"{r['file_name']},{r['text']}".encode() for r in rows(3)]
    (folder / "metadata.csv").write_bytes(b"\n".join([b"file_name,text", *good[:2], *lines, good[2]]) + b"\n")


def truncated(folder: Path, suffix: str) -> None:
    path = add(folder, f"bad{suffix}")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1500])


def bomb(folder: Path) -> None:
    from test_images_odd import write_png

    write_png(add(folder), 9000, 9000)


def wrong_way_out(folder: Path) -> None:
    picture(9).save(folder.parent / "secret.png")
    add(folder, "../secret.png")


def absolute(folder: Path) -> None:
    picture(9).save(folder.parent / "secret.png")
    add(folder, str(folder.parent / "secret.png"))


def link_out(folder: Path) -> None:
    picture(9).save(folder.parent / "secret.png")
    add(folder).symlink_to(folder.parent / "secret.png")


def no_caption(folder: Path) -> None:
    picture(9).save(folder / "bad.png")


def exact_copy(folder: Path) -> None:
    shutil.copy(folder / GOOD[0], add(folder))


def same_look(folder: Path) -> None:
    Image.open(folder / GOOD[0]).resize((128, 96)).save(add(folder, "bad.jpg"))


def said_of_many(folder: Path) -> None:
    for number in range(10, 15):
        picture(number).save(add(folder, f"more-{number}.png", "A photo"))


D = dataset
BAD = {
    "an empty file": (lambda f: add(f).touch(), "bad.png", D.UNREADABLE, "empty file", True),
    "text called a picture": (lambda f: add(f).write_text("hello"), "bad.png", D.UNREADABLE, "is not a picture", True),
    "a truncated JPEG": (lambda f: truncated(f, ".jpg"), "bad.jpg", D.UNREADABLE, "truncated", True),
    "a truncated PNG": (lambda f: truncated(f, ".png"), "bad.png", D.UNREADABLE, "bad.png cannot be read", True),
    "a picture bomb": (bomb, "bad.png", D.UNREADABLE, "more than 64 million pixels", True),
    "a format nobody needs": (lambda f: picture(9).save(add(f, "bad.jpg"), "PPM"), "bad.jpg", D.UNREADABLE, "is not a picture", True),
    "a row naming a text file": (lambda f: add(f, "notes.txt").write_text("x"), "notes.txt", D.UNREADABLE, "is not a picture", True),
    "a tiny image": (lambda f: picture(9, (16, 12)).save(add(f)), "bad.png", D.TINY, "16 x 12", False),
    "a missing file": (lambda f: add(f, "gone.png"), "gone.png", D.MISSING_FILE, "line 4 of metadata.jsonl", True),
    "a folder for a file": (lambda f: add(f, "sub").mkdir(), "sub", D.MISSING_FILE, "line 4", True),
    "a name too long": (lambda f: add(f, "x" * 5000), "x" * 5000, D.MISSING_FILE, "line 4", True),
    "a name with ..": (wrong_way_out, "../secret.png", D.OUTSIDE, "line 4", True),
    "an absolute name": (absolute, None, D.OUTSIDE, "line 4", True),
    "a link out of the folder": (link_out, "bad.png", D.OUTSIDE, "line 4", True),
    "a name with a null": (lambda f: add_line(f, rb'{"file_name": "a\u0000.png", "text": "x"}'), "a\0.png", D.OUTSIDE, "line 4", True),
    "half a character": (lambda f: add_line(f, rb'{"file_name": "\ud800.png", "text": "x"}'), "?.png", D.MISSING_FILE, "line 4", True),
    "an image no row names": (no_caption, "bad.png", D.NO_CAPTION, "no caption", False),
    "a row without text": (lambda f: picture(9).save(add(f, text=None)), "bad.png", D.NO_CAPTION, "no caption", False),
    "a blank caption": (lambda f: picture(9).save(add(f, text="  \t ")), "bad.png", D.NO_CAPTION, "line 4 of metadata.jsonl", False),
    "a blank among captions": (lambda f: picture(9).save(add(f, text=["a dog", ""])), "bad.png", D.EMPTY, "line 4", False),
    "an exact copy": (exact_copy, "bad.png", D.DUPLICATE, "same picture as photo-0.png", True),
    "the same at another size": (same_look, "bad.jpg", D.NEAR_DUPLICATE, "looks like photo-0.png", False),
    "one caption for many": (said_of_many, "'a photo'", D.REPEATED, "5 images", False),
    "a line that is no JSON": (lambda f: add_line(f, b'{"file_name": '), "metadata.jsonl, line 4", D.BAD_LINE, "is not JSON", True),
    "a line that is a list": (lambda f: add_line(f, b"[1, 2]"), "metadata.jsonl, line 4", D.BAD_LINE, "not a JSON object", True),
    "a line nested too deep": (lambda f: add_line(f, b"[" * 100_000), "metadata.jsonl, line 4", D.BAD_LINE, "is not JSON", True),
    "a line without a file": (lambda f: add_line(f, b'{"text": "a dog"}'), "metadata.jsonl, line 4", D.BAD_LINE, "names no file", True),
    "a file that is a number": (lambda f: add_line(f, b'{"file_name": 7}'), "metadata.jsonl, line 4", D.BAD_LINE, "names no file", True),
    "a line not in UTF-8": (lambda f: add_line(f, '{"text": "é"}'.encode("latin-1")), "metadata.jsonl, line 4", D.BAD_LINE, "UTF-8", True),
    "a csv line not in UTF-8": (lambda f: as_csv(f, b"x.png,caf\xe9"), "metadata.csv, line 4", D.BAD_LINE, "UTF-8", True),
    "a comma out of quotes": (lambda f: as_csv(f, b"x.png,a dog, a cat"), "metadata.csv, line 4", D.BAD_LINE, "more fields", True),
    "a quote never closed": (lambda f: as_csv(f, b'x.png,"a dog'), "metadata.csv, line 4", D.BAD_LINE, "quotes", True),
    "a quote not doubled": (lambda f: as_csv(f, b'x.png,"a "big" dog"'), "metadata.csv, line 4", D.BAD_LINE, "quotes", True),
    "a csv row without a file": (lambda f: as_csv(f, b",a dog"), "metadata.csv, line 4", D.BAD_LINE, "names no file", True),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_image_or_row_is_told_by_name_and_costs_no_other(tmp_path, case):
    spoil, file, kind, reason, left_out = BAD[case]
    folder = captioned(tmp_path / "pets")
    spoil(folder)
    found = dataset.read(folder)
    told = [p for p in found.problems if p.kind == kind]
    assert len(told) == 1, found.problems
    assert told[0].file == (file or str(tmp_path / "secret.png"))
    assert reason in told[0].reason and told[0].left_out is left_out
    kept = references(found)
    assert {name: kept[name][0] for name in GOOD} == {r["file_name"]: r["text"] for r in rows(3)}
    assert (file in kept) is (not left_out and kind != dataset.REPEATED)
    json.dumps([p.__dict__ for p in found.problems], ensure_ascii=False).encode()  # half a character would stop the page


BAD_TABLES = {
    "no file column": ("metadata.jsonl", b'{"of": "a.png", "text": "x"}', "the columns of, text: name the one with the image"),
    "no text column": ("metadata.csv", b"file_name,colour\na.png,red\n", "the columns file_name, colour: name the one with the references"),
    "an empty table": ("metadata.jsonl", b"", "metadata.jsonl is empty"),
    "a csv of a header only": ("metadata.csv", b"file_name,text\n", "metadata.csv is empty"),
    "no line readable": ("metadata.jsonl", b"<html>\n</html>\n", "no readable line; line 1 is not JSON"),
    "a header not in UTF-8": ("metadata.csv", b"file_name,l\xe9gende\na.png,x\n", "line 1 is not UTF-8"),
    "a parquet that is none": ("metadata.parquet", b"PAR1 hello", "metadata.parquet cannot be read as parquet"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_table_of_no_use_is_told_with_what_it_holds_and_what_is_wanted(tmp_path, case):
    name, data, reason = BAD_TABLES[case]
    photos(tmp_path, 3)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TableError, match=reason):
        dataset.read(tmp_path)


def test_all_that_can_be_wrong_at_once_still_leaves_the_good_ones(tmp_path):
    folder = captioned(tmp_path / "pets")
    for case in ("an empty file", "a missing file", "a name with ..", "a line that is no JSON", "one caption for many"):
        BAD[case][0](folder)
    found = dataset.read(folder)
    assert set(GOOD) < set(references(found))
    assert kinds(found) == {dataset.UNREADABLE, dataset.MISSING_FILE, dataset.OUTSIDE, dataset.BAD_LINE, dataset.REPEATED}


def test_folder_of_no_use_is_told_by_name(tmp_path):
    with pytest.raises(DatasetError, match="gone is not a folder"):
        dataset.read(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty has no pictures: put images beside a metadata.jsonl"):
        dataset.read(tmp_path / "empty")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("x")
    with pytest.raises(DatasetError, match="broken has no picture that can be used; for one, a.jpg: a.jpg is not a picture"):
        dataset.read(tmp_path / "broken")
    with pytest.raises(DatasetError, match="pets has 3 images; at most 2"):
        dataset.read(captioned(tmp_path / "pets"), max_images=2)


# --- the forms a folder may have ---------------------------------------------------------------------------

WANTED = {"photo-0.png": ("a blot", "a stain"), "photo-1.png": ("a smear, red",)}


def as_jsonl(folder):
    table(folder, [{"file_name": name, "captions": list(texts)} for name, texts in WANTED.items()])


def as_rows_repeated(folder):
    table(folder, [{"file_name": name, "text": text} for name, texts in WANTED.items() for text in texts])


def as_parquet(folder):
    frame = pandas.DataFrame({"file_name": list(WANTED), "captions": [list(texts) for texts in WANTED.values()]})
    frame.to_parquet(folder / "metadata.parquet")


def as_spreadsheet(delimiter, encoding="utf-8", header=("file_name", "caption", "caption"), end="\n"):
    def write(folder):
        with open(folder / "metadata.csv", "w", encoding=encoding, newline="") as out:
            writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
            writer.writerows([header, *((name, *texts, *[""] * (2 - len(texts))) for name, texts in WANTED.items())])

    return write


def as_pandas_csv(folder):
    frame = pandas.DataFrame({"file_name": list(WANTED), "captions": [list(texts) for texts in WANTED.values()]})
    frame.to_csv(folder / "metadata.csv")


def as_sidecars(folder):
    for name, texts in WANTED.items():
        (folder / name).with_suffix(".txt").write_text("\n\n".join([*texts, texts[0]]) + "\n", "utf-8-sig")


FORMS = {
    "jsonl": as_jsonl,
    "one row a reference": as_rows_repeated,
    "parquet": as_parquet,
    "csv": as_spreadsheet(","),
    "csv with a byte mark": as_spreadsheet(",", "utf-8-sig"),
    "csv of a European spreadsheet": as_spreadsheet(";", "utf-8-sig", end="\r\n"),
    "csv with tabs in UTF-16": as_spreadsheet("\t", "utf-16"),
    "csv with other names": as_spreadsheet(",", header=("Image", "caption_1", "caption_2")),
    "csv of lists by pandas": as_pandas_csv,
    "sidecars": as_sidecars,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_references(tmp_path, form):
    photos(tmp_path, 2)
    FORMS[form](tmp_path)
    found = dataset.read(tmp_path)
    assert (references(found), found.problems) == (WANTED, ())
    assert [(e.width, e.height) for e in found.examples] == [(64, 48)] * 2


def test_references_are_tidied_and_kept_apart(tmp_path):
    photos(tmp_path, 1)
    table(tmp_path, [{"file_name": "photo-0.png", "captions": [" a  dog\n", "a dog", "[sic] a cat"], "text": "a fox \ud83e\udd8a"}])
    assert references(dataset.read(tmp_path)) == {"photo-0.png": ("a dog", "[sic] a cat", "a fox 🦊")}


def test_class_folders_without_captions_get_one_note(tmp_path):
    photos(tmp_path / "cat", 3)
    photos(tmp_path / "train", 3, first=3)  # a class of locomotives
    photos(tmp_path / "dog", 3, first=6)
    found = dataset.read(tmp_path)
    assert len(found.examples) == 9 and found.captioned == ()
    assert [(p.kind, p.left_out) for p in found.problems] == [(dataset.UNCAPTIONED, False)]
    assert "9 images" in found.problems[0].reason


@pytest.mark.parametrize("names", [("train", "validation"), ("train", "val"), ("train", "valid"), ("train", "test")])
@pytest.mark.parametrize("one_table", [True, False])
def test_split_folders_are_the_split(tmp_path, names, one_table):
    for number, name in enumerate(names):
        photos(tmp_path / name, 2, first=2 * number)
        if not one_table:
            table(tmp_path / name, rows(2, first=2 * number))
    if one_table:
        table(tmp_path, [{**row, "file_name": f"{names[row['file_name'] > 'photo-1.png']}/{row['file_name']}"} for row in rows(4)])
    found = dataset.read(tmp_path)
    assert found.problems == ()
    first, second = names
    assert {e.file_name: e.split for e in found.examples} == {
        f"{first}/photo-0.png": "train",
        f"{first}/photo-1.png": "train",
        f"{second}/photo-2.png": "validation",
        f"{second}/photo-3.png": "validation",
    }
    parts = dataset.split(found)
    assert {e.split for e in parts.train} == {"train"} and {e.split for e in parts.validation} == {"validation"}


def test_pictures_beside_split_folders_are_not_forgotten(tmp_path):
    photos(tmp_path / "val", 1)
    photos(tmp_path, 1, first=1)
    assert set(references(dataset.read(tmp_path))) == {"val/photo-0.png", "photo-1.png"}


def test_table_in_a_folder_below_is_found(tmp_path):
    captioned(tmp_path / "data" / "train")
    assert len(dataset.read(tmp_path).captioned) == 3


def test_names_written_on_windows_and_upwards_within_the_folder_are_found(tmp_path):
    photos(tmp_path / "images", 2)
    (tmp_path / "train").mkdir()
    table(tmp_path / "train", [{"file_name": "..\\images\\photo-0.png", "text": "x"}, {"file_name": "../images/photo-1.png", "text": "y"}])
    assert references(dataset.read(tmp_path)) == {"images/photo-0.png": ("x",), "images/photo-1.png": ("y",)}


def test_hidden_files_and_links_to_elsewhere_are_not_listed(tmp_path):
    folder = captioned(tmp_path / "pets", 1)
    photos(tmp_path / "elsewhere", 1, first=5)
    (folder / "._photo-0.png").write_bytes(b"junk")
    (folder / "__MACOSX").mkdir()
    shutil.copy(folder / "photo-0.png", folder / "__MACOSX" / "x.png")
    (folder / "link.png").symlink_to(tmp_path / "elsewhere" / "photo-5.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "photo-0.txt").symlink_to("/etc/hostname")
    assert list(references(dataset.read(folder))) == ["photo-0.png"]


def test_a_relative_folder_reads_as_an_absolute_one(tmp_path, monkeypatch):
    captioned(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    wanted = dataset.read(tmp_path / "pets")
    assert [dataset.read(Path(p)) for p in ("pets", "../" + tmp_path.name + "/pets")] == [wanted] * 2
    monkeypatch.chdir(tmp_path / "pets")
    assert dataset.read(Path(".")) == wanted


def test_copies_give_their_references_to_the_first(tmp_path):
    captioned(tmp_path, 2)
    shutil.copy(tmp_path / "photo-0.png", tmp_path / "zz.png")
    table(tmp_path, [*rows(2), {"file_name": "zz.png", "captions": ["a blot number 0", "another"]}])
    assert references(dataset.read(tmp_path))["photo-0.png"] == ("a blot number 0", "another")


# --- numbers over the whole --------------------------------------------------------------------------------


def test_fingerprint_is_of_the_content_not_of_names_or_order(tmp_path):
    captioned(tmp_path / "one")
    photos(tmp_path / "two", 3)
    for number in range(3):
        (tmp_path / "two" / f"photo-{number}.png").rename(tmp_path / "two" / f"{9 - number}.png")
    table(tmp_path / "two", [{"file_name": f"{9 - n}.png", "text": f"a blot number {n}"} for n in (2, 0, 1)])
    one, two = dataset.read(tmp_path / "one"), dataset.read(tmp_path / "two")
    assert one.fingerprint == two.fingerprint and len(one.fingerprint) == 16
    add(tmp_path / "one", "photo-0.png", "another reference")
    assert dataset.read(tmp_path / "one").fingerprint != one.fingerprint


def test_summary_counts(tmp_path):
    photos(tmp_path, 4)
    picture(7, (100, 40)).save(tmp_path / "bare.png")
    (tmp_path / "bad.png").touch()
    table(tmp_path, [{"file_name": f"photo-{n}.png", "captions": ["a dog", "a big brown dog"][: 1 + n % 2]} for n in range(4)])
    assert dataset.read(tmp_path).summary() == {
        "images": 5,
        "captioned": 4,
        "references": 1.5,
        "words": pytest.approx(16 / 6),
        "smallest": 40,
        "largest": 100,
        "left_out": 1,
    }


def test_too_long_references_are_told_with_their_length(tmp_path):
    photos(tmp_path, 2)
    table(tmp_path, [{"file_name": "photo-0.png", "captions": ["a dog", "dog " * 30]}, {"file_name": "photo-1.png", "text": "🦊" * 9}])
    found = dataset.read(tmp_path)
    words = dataset.too_long(found, lambda text: len(text.split()) + 2, 20)
    assert [(p.file, p.kind, p.left_out) for p in words] == [("photo-0.png", dataset.TOO_LONG, False)]
    assert "32 tokens; the model takes 20" in words[0].reason
    # A tokenizer of bytes makes several tokens of one emoji.
    assert [p.file for p in dataset.too_long(found, lambda text: len(text.encode()) + 2, 30)] == ["photo-0.png", "photo-1.png"]


def test_second_read_opens_nothing_but_what_changed(tmp_path):
    folder, cache = captioned(tmp_path / "pets"), tmp_path / "cache"
    (folder / "bad.png").write_bytes(b"broken")
    first = dataset.read(folder, cache=cache)
    index = cache / "pictures.jsonl"
    remembered = files.read_jsonl(index)
    assert len(remembered) == 3
    files.write_jsonl(index, [{**row, "size": [7, 7]} for row in remembered])  # what is remembered is believed ...
    assert {e.width for e in dataset.read(folder, cache=cache).examples} == {7}
    picture(11, (80, 60)).save(folder / "photo-0.png")
    again = {e.file_name: e.width for e in dataset.read(folder, cache=cache).examples}
    assert again == {"photo-0.png": 80, "photo-1.png": 7, "photo-2.png": 7}  # ... until the file changes
    index.write_text('{"key": 1}\ntorn', "utf-8")
    shutil.copy(folder / "photo-1.png", folder / "photo-0.png")
    assert len(dataset.read(folder, cache=cache).problems) == 2 and first.problems


def test_progress_counts_to_the_end(tmp_path):
    seen = []
    dataset.read(captioned(tmp_path, 30), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(25, 30), (30, 30)]
