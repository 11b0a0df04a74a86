"""A folder is read whatever is wrong with it; what is wrong is told by file or line."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from pictures_helper import add_row, encoded, folder_of, picture, write_table

from explorer.data import dataset as d
from explorer.data.dataset import DatasetError, read, split, too_long
from explorer.data.tables import TableError

GOOD = 6


def bad_file(name: str, data: bytes):
    """A spoiler that adds one captioned file with these bytes."""

    def spoil(root):
        (root / name).write_bytes(data)
        add_row(root, {"file_name": name, "text": f"what {name} shows"})

    return spoil


def symlink_out(root):
    outside = root.parent / "outside.png"
    picture(90).save(outside)
    (root / "link.png").symlink_to(outside)
    add_row(root, {"file_name": "link.png", "text": "a secret"})


def same_caption(root):
    for number in range(20, 28):
        picture(number).save(root / f"p{number}.png")
        add_row(root, {"file_name": f"p{number}.png", "text": "a photo"})


def duplicate(root):
    shutil.copy(root / "good00.png", root / "again.png")
    add_row(root, {"file_name": "again.png", "text": "the same again"})


def near_duplicate(root):
    picture(40, (256, 256)).save(root / "large.png")
    picture(40, (256, 256)).resize((200, 200)).save(root / "small.png")
    for name in ("large", "small"):
        add_row(root, {"file_name": f"{name}.png", "text": f"{name} one"})


def tiny(root):
    picture(50, (12, 40)).save(root / "tiny.png")
    add_row(root, {"file_name": "tiny.png", "text": "very small"})


def uncaptioned(root):
    picture(60).save(root / "silent.png")


def empty_caption(root):
    picture(61).save(root / "blank.png")
    add_row(root, {"file_name": "blank.png", "text": "   "})


def empty_list(root):
    picture(62).save(root / "none.png")
    add_row(root, {"file_name": "none.png", "captions": []})


HUGE = bytearray(encoded(picture(1)))
HUGE[16:24] = (70_000).to_bytes(4, "big") * 2
WHOLE = encoded(picture(70, (200, 200)), "JPEG")
OTHER = encoded(picture(71, (200, 200)), "PNG")

KINDS = {
    "zero bytes": (bad_file("empty.jpg", b""), "empty.jpg", d.UNREADABLE, True),
    "truncated jpeg": (bad_file("torn.jpg", WHOLE[: len(WHOLE) // 2]), "torn.jpg", d.UNREADABLE, True),
    "truncated png": (bad_file("torn.png", OTHER[: len(OTHER) // 2]), "torn.png", d.UNREADABLE, True),
    "text named jpg": (bad_file("words.jpg", b"these are words"), "words.jpg", d.UNREADABLE, True),
    "svg named png": (bad_file("drawing.png", b"<svg/>"), "drawing.png", d.UNREADABLE, True),
    "pdf named jpg": (bad_file("paper.jpg", b"%PDF-1.4 ..."), "paper.jpg", d.UNREADABLE, True),
    "far too many pixels": (bad_file("huge.png", bytes(HUGE)), "huge.png", d.UNREADABLE, True),
    "half a header": (bad_file("head.gif", b"GIF89a"), "head.gif", d.UNREADABLE, True),
    "missing file": (lambda r: add_row(r, {"file_name": "gone.png", "text": "x"}), "gone.png", d.MISSING_FILE, True),
    "path with dots": (lambda r: add_row(r, {"file_name": "../../x.png", "text": "x"}), "../../x.png", d.OUTSIDE, True),
    "absolute path": (lambda r: add_row(r, {"file_name": "/etc/passwd", "text": "x"}), "/etc/passwd", d.OUTSIDE, True),
    "link leading out": (symlink_out, "link.png", d.OUTSIDE, True),
    "bad json": (lambda r: add_row(r, '{"file_name": "a.png", '), "metadata.jsonl, line 7", d.BAD_LINE, True),
    "a list for a line": (lambda r: add_row(r, "[1, 2]"), "metadata.jsonl, line 7", d.BAD_LINE, True),
    "no file named": (lambda r: add_row(r, {"file_name": None, "text": "x"}), "metadata.jsonl, line 7", d.BAD_LINE, True),
    "no caption": (uncaptioned, "silent.png", d.NO_CAPTION, False),
    "blank caption": (empty_caption, "blank.png", d.NO_CAPTION, False),
    "empty list of captions": (empty_list, "none.png", d.NO_CAPTION, False),
    "tiny image": (tiny, "tiny.png", d.TINY, False),
    "exact duplicate": (duplicate, "again.png", d.DUPLICATE, True),
    "near duplicate": (near_duplicate, "small.png", d.NEAR_DUPLICATE, False),
    "one caption on many images": (same_caption, "'a photo'", d.REPEATED, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_bad_file_or_line_is_named_and_the_good_examples_stay(tmp_path, name):
    spoil, file, kind, left_out = KINDS[name]
    root = folder_of(tmp_path / "photos", GOOD)
    before = {e.image_id: e.references for e in read(root).examples}
    spoil(root)
    dataset = read(root)
    found = [p for p in dataset.problems if p.kind == kind]
    assert [(p.file, p.left_out) for p in found] == [(file, left_out)], dataset.problems
    assert found[0].reason
    after = {e.image_id: e.references for e in dataset.examples}
    assert all(set(references) <= set(after[image]) for image, references in before.items())


@pytest.mark.parametrize(
    "table,text,words",
    [
        ("metadata.csv", "id,label\n1,cat\n", "metadata.csv has the columns id, label"),
        ("metadata.csv", "file_name,label\na.png,cat\n", "name the one with the references"),
        ("metadata.jsonl", "", "metadata.jsonl is empty"),
        ("metadata.jsonl", "no json at all\n", "line 1"),
        ("metadata.parquet", "no parquet", "metadata.parquet cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_it_has_and_what_is_wanted(tmp_path, table, text, words):
    picture(1).save(tmp_path / "a.png")
    (tmp_path / table).write_text(text)
    with pytest.raises(TableError, match=words):
        read(tmp_path)


def test_latin_1_is_told_and_not_guessed(tmp_path):
    picture(1).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes("file_name,text\na.png,ein Kätzchen\n".encode("latin-1"))
    with pytest.raises(TableError, match="UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name,text",
    [
        ("metadata.csv", "file_name,text\na.png,one\na.png,two\n"),
        ("metadata.csv", "\ufefffile_name;caption\na.png;one\na.png;two\n"),
        ("metadata.csv", 'image,captions\na.png,"[""one"", ""two""]"\n'),
        ("metadata.tsv", "file_name\ttext\na.png\tone\na.png\ttwo\n"),
        ("metadata.jsonl", '{"file_name": "a.png", "captions": ["one", "two", "one"]}\n'),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "one"}\n{"file_name": "a.png", "caption": " two "}\n'),
        ("a.txt", "one\n\n  two \n"),
    ],
)
def test_every_table_keeps_several_references(tmp_path, name, text):
    picture(1).save(tmp_path / "a.png")
    (tmp_path / name).write_text(text, "utf-8")
    assert [e.references for e in read(tmp_path).examples] == [("one", "two")]


def test_a_parquet_table_is_read(tmp_path):
    import pandas as pd

    picture(1).save(tmp_path / "a.png")
    pd.DataFrame({"file_name": ["a.png"], "captions": [["one", "two"]]}).to_parquet(tmp_path / "metadata.parquet")
    assert [e.references for e in read(tmp_path).examples] == [("one", "two")]


def test_class_folders_can_be_captioned_and_say_so_once(tmp_path):
    for number, kind in enumerate(("cats", "cats", "dogs")):
        (tmp_path / kind).mkdir(exist_ok=True)
        picture(number).save(tmp_path / kind / f"{number}.png")
    dataset = read(tmp_path)
    assert [e.file_name for e in dataset.examples] == ["cats/0.png", "cats/1.png", "dogs/2.png"]
    assert [p.kind for p in dataset.problems] == [d.UNCAPTIONED]
    with pytest.raises(DatasetError, match="no captioned image"):
        split(dataset)


def test_split_folders_are_kept_as_they_are(tmp_path):
    folder_of(tmp_path / "train", 5)
    folder_of(tmp_path / "val", 2, first=10)
    parts = split(read(tmp_path))
    assert {e.file_name for e in parts.validation} == {"val/good10.png", "val/good11.png"}
    assert len(parts.train) == 5


def test_the_split_depends_on_seed_and_content_alone(tmp_path):
    one = read(folder_of(tmp_path / "one", 20))
    rows = [json.loads(line) for line in (tmp_path / "one" / "metadata.jsonl").read_text().splitlines()]
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    write_table(tmp_path / "two", rows[::-1])
    two = read(tmp_path / "two")

    def ids(parts):
        return [[e.image_id for e in side] for side in (parts.train, parts.validation)]

    assert ids(split(one, seed=1)) == ids(split(two, seed=1)) != ids(split(one, seed=2))
    assert one.fingerprint == two.fingerprint
    assert len(split(one).validation) == 4
    limited = split(one, limit=10)
    assert (len(limited.train), len(limited.validation)) == (8, 2)


def test_near_duplicates_never_sit_on_both_sides(tmp_path):
    root = folder_of(tmp_path / "photos", 12)
    for number in range(12):
        picture(number).resize((128, 128)).save(root / f"near{number:02d}.png")
        add_row(root, {"file_name": f"near{number:02d}.png", "text": f"near {number}"})
    dataset = read(root)
    for seed in range(5):
        parts = split(dataset, 0.3, seed)
        train, validation = ({e.file_name[-6:-4] for e in side} for side in (parts.train, parts.validation))
        assert parts.validation and not train & validation


def test_one_captioned_image_is_too_few(tmp_path):
    with pytest.raises(DatasetError, match="1 captioned image; fine-tuning needs at least 2"):
        split(read(folder_of(tmp_path / "photos", 1)))


def test_a_caption_longer_than_the_model_takes_is_told(tmp_path):
    root = folder_of(tmp_path / "photos", 2)
    picture(9).save(root / "long.png")
    add_row(root, {"file_name": "long.png", "text": "word " * 50})
    found = too_long(read(root), lambda text: len(text.split()) + 2, 20)
    assert [(p.file, p.kind) for p in found] == [("long.png", d.TOO_LONG)]


def test_an_empty_folder_says_what_to_put_there(tmp_path):
    with pytest.raises(DatasetError, match="has no pictures"):
        read(tmp_path)


def test_a_second_reading_opens_no_picture_again(tmp_path):
    root = folder_of(tmp_path / "photos", 4)
    first = read(root, cache=tmp_path / "cache")
    for path in root.glob("*.png"):
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read(root, cache=tmp_path / "cache").examples == first.examples


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_and_a_table_too(tmp_path):
    root = folder_of(tmp_path / "photos", 3)
    (root / "good01.png").chmod(0)
    dataset = read(root)
    assert [(p.file, p.kind, p.left_out) for p in dataset.problems] == [("good01.png", d.UNREADABLE, True)]
    assert "permission denied" in dataset.problems[0].reason and len(dataset.examples) == 2
    (root / "metadata.jsonl").chmod(0)
    with pytest.raises(TableError, match="metadata.jsonl cannot be read: Permission denied"):
        read(root)


def test_a_file_name_that_is_not_utf_8_is_told_and_costs_no_other(tmp_path):
    """Such a name can be opened but not written into any JSON: it would end the reading, or the run."""
    root = folder_of(tmp_path / "photos", 3)
    try:
        with open(os.fsencode(root) + b"/caf\xe9.png", "wb") as file:
            file.write(encoded(picture(30)))
    except OSError:
        pytest.skip("the file system takes no such name")
    for _ in range(2):
        dataset = read(root, cache=tmp_path / "cache")
        assert [(p.file, p.kind, p.left_out) for p in dataset.problems] == [("caf?.png", d.UNREADABLE, True)]
        assert "not UTF-8: rename it" in dataset.problems[0].reason and len(dataset.captioned) == 3


def test_an_image_that_repeats_itself_is_one_image(tmp_path):
    for number in range(4):
        picture(number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("A dog\na dog\n")
    assert read(tmp_path).problems == ()
    picture(4).save(tmp_path / "4.png")
    (tmp_path / "4.txt").write_text("a dog")
    assert [p.reason.split(":")[0] for p in read(tmp_path).problems] == ["is the reference of 5 images"]


def test_the_fingerprint_asks_for_no_order_of_references(tmp_path):
    for name, texts in (("one", ["a dog", "a cat"]), ("two", ["a cat", "a dog"])):
        (tmp_path / name).mkdir()
        picture(1).save(tmp_path / name / "a.png")
        write_table(tmp_path / name, [{"file_name": "a.png", "captions": texts}])
    assert read(tmp_path / "one").fingerprint == read(tmp_path / "two").fingerprint


def test_a_row_of_lists_without_end_costs_its_caption_and_not_the_reading(tmp_path):
    root = folder_of(tmp_path / "photos", 3)
    picture(31).save(root / "deep.png")
    add_row(root, '{"file_name": "deep.png", "captions": ' + "[" * 3_000 + "]" * 3_000 + "}")
    dataset = read(root)
    assert {(p.file, p.kind) for p in dataset.problems} == {("metadata.jsonl, line 4", d.BAD_LINE), ("deep.png", d.NO_CAPTION)}
    assert len(dataset.captioned) == 3
