"""What people bring becomes an image folder, or is refused by name and leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pictures_helper import encoded, folder_of, picture

from explorer.data.dataset import read
from explorer.data.sources import SourceError, import_files, import_hub, import_parquet, import_saved, import_zip, is_hub_id, list_datasets

PICTURE = encoded(picture(1))


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", PICTURE)
        entry = zipfile.ZipInfo("b.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return path


def locked(path: Path) -> Path:
    data = bytearray(zip_of(path, {"a.png": PICTURE}).read_bytes())
    data[6] |= 1  # the bit that says encrypted, in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def lying(path: Path) -> Path:
    """Says it unpacks to ten bytes."""
    data = bytearray(zip_of(path, {"a.png": PICTURE}).read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    return path


def torn(method: int):
    def make(path: Path) -> Path:
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.png", PICTURE)
        data = bytearray(path.read_bytes())
        data[60:90] = bytes(30)
        path.write_bytes(data)
        return path

    return make


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"PK\x03\x04 half of a zip")
    return path


REFUSED = {
    "dots": (lambda p: zip_of(p, {"../a.png": PICTURE}), "points outside"),
    "absolute": (lambda p: zip_of(p, {"/tmp/a.png": PICTURE}), "points outside"),
    "drive": (lambda p: zip_of(p, {"C:/a.png": PICTURE}), "points outside"),
    "link": (link, "holds a link, 'b.png'"),
    "password": (locked, "password"),
    "no zip": (broken, "not a readable zip"),
    "no pictures": (lambda p: zip_of(p, {"notes.txt": b"hello"}), "holds no pictures"),
    "empty": (lambda p: zip_of(p, {}), "holds no pictures"),
    "backslashes": (lambda p: zip_of(p, {"..\\a.png": PICTURE}), "points outside"),
    "lying size": (lying, "mine.zip"),
    "a folder called zip": (directory, "cannot be taken in (Is a directory): choose the zip itself"),
    "no such file": (lambda p: p, "There is no file"),
    "torn, stored": (torn(zipfile.ZIP_STORED), "not a readable zip"),
    "torn, deflate": (torn(zipfile.ZIP_DEFLATED), "not a readable zip"),
    "torn, bzip2": (torn(zipfile.ZIP_BZIP2), "not a readable zip"),
    "torn, lzma": (torn(zipfile.ZIP_LZMA), "not a readable zip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_zip_is_refused_by_name_and_leaves_nothing(workspace, tmp_path, name):
    make, words = REFUSED[name]
    path = make(tmp_path / "mine.zip")
    with pytest.raises(SourceError, match="mine.zip") as error:
        import_zip(path, workspace)
    assert words in str(error.value)
    assert list_datasets(workspace) == [] and not list(workspace.datasets.glob("*") if workspace.datasets.exists() else [])


def test_too_many_files_and_too_many_bytes_are_refused(workspace, tmp_path):
    path = zip_of(tmp_path / "mine.zip", {f"{n}.png": PICTURE for n in range(5)})
    with pytest.raises(SourceError, match="holds 5 files; at most 4"):
        import_zip(path, workspace, max_members=4)
    with pytest.raises(SourceError, match="unpacks to more than"):
        import_zip(path, workspace, max_bytes=3 * len(PICTURE))


def test_a_zip_bomb_is_refused(workspace, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 60_000_000)
    with pytest.raises(SourceError, match="that is no photo"):
        import_zip(tmp_path / "bomb.zip", workspace)


def test_a_zip_becomes_an_image_folder_without_its_top_folder(workspace, tmp_path):
    source = folder_of(tmp_path / "pets", 3)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"pets/{path.name}")
        archive.writestr("__MACOSX/._good00.png", b"junk")
        archive.writestr("pets/.DS_Store", b"junk")
    folder = import_zip(tmp_path / "pets.zip", workspace)
    assert sorted(p.name for p in folder.iterdir()) == ["good00.png", "good01.png", "good02.png", "metadata.jsonl"]
    assert read(folder).fingerprint == read(source).fingerprint
    assert import_zip(tmp_path / "pets.zip", workspace).name == "pets-2"
    assert {p.name for p in list_datasets(workspace)} == {"pets", "pets-2"}


@pytest.mark.parametrize("name", ["Kätzchen.png", "猫/猫.png"])
def test_names_in_a_zip_of_a_mac_are_read_as_they_were_written(workspace, tmp_path, name):
    """Its zips hold UTF-8 without the bit that says so; the table then names files that are nowhere."""
    plain = "".join(c if c.isascii() else "x" * len(c.encode()) for c in name)
    table = json.dumps({"file_name": name, "text": "a cat"}).encode()
    path = zip_of(tmp_path / "mac.zip", {plain: PICTURE, "metadata.jsonl": table, "b.png": encoded(picture(2))})
    path.write_bytes(path.read_bytes().replace(plain.encode(), name.encode()))
    found = read(import_zip(path, workspace))
    assert {e.file_name: e.references for e in found.examples} == {name: ("a cat",), "b.png": ()}


def test_names_of_an_old_zip_stay_as_its_code_page_has_them(workspace, tmp_path):
    path = zip_of(tmp_path / "old.zip", {"Kxtzchen.png": PICTURE})
    path.write_bytes(path.read_bytes().replace(b"Kxtzchen", "Kätzchen".encode("cp437")))
    assert [p.name for p in import_zip(path, workspace).iterdir()] == ["Kätzchen.png"]


def test_damaged_zips_are_taken_in_or_refused_and_leave_nothing_half_made(workspace, tmp_path):
    data = zip_of(tmp_path / "a.zip", {"p/a.png": PICTURE, "p/a.txt": b"a dog"}).read_bytes()
    start, draw = data.index(b"PK\x01\x02"), random.Random(0)
    for number in range(300):
        bad = bytearray(data)
        for _ in range(2):
            bad[draw.randrange(start if number % 2 else 0, len(bad))] = draw.randrange(256)
        (tmp_path / "bad.zip").write_bytes(bad)
        before = set(list_datasets(workspace))
        try:
            made = {import_zip(tmp_path / "bad.zip", workspace)}
        except SourceError as error:
            made = set()
            assert "bad.zip" in str(error)
        left = set(workspace.datasets.iterdir()) if workspace.datasets.exists() else set()
        assert left == before | made


def test_dropped_files_become_an_image_folder(workspace, tmp_path):
    source = folder_of(tmp_path / "pets", 3)
    folder = import_files(list(source.iterdir()), workspace)
    assert read(folder).fingerprint == read(source).fingerprint


def test_dropped_files_that_make_no_sense_are_told(workspace, tmp_path):
    source = folder_of(tmp_path / "pets", 2)
    (tmp_path / "run.exe").write_bytes(b"MZ")
    with pytest.raises(SourceError, match="run.exe is neither"):
        import_files([*source.iterdir(), tmp_path / "run.exe"], workspace)
    with pytest.raises(SourceError, match="No picture"):
        import_files([source / "metadata.jsonl"], workspace)
    with pytest.raises(SourceError, match="Nothing was dropped"):
        import_files([], workspace)


def saved_dataset(folder: Path) -> Path:
    import datasets

    cells = [{"bytes": encoded(picture(n)), "path": None} for n in range(3)]
    features = datasets.Features({"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))})
    datasets.Dataset.from_dict({"image": cells, "captions": [["one", "two"]] * 3}, features=features).save_to_disk(folder)
    return folder


def test_a_saved_dataset_becomes_an_image_folder_with_all_references(workspace, tmp_path):
    folder = import_saved(saved_dataset(tmp_path / "saved"), workspace)
    dataset = read(folder)
    assert [e.references for e in dataset.examples] == [("one", "two")] * 3
    assert sorted(e.path.read_bytes() for e in dataset.examples) == sorted(encoded(picture(n)) for n in range(3))


def test_a_cell_that_names_a_file_of_the_server_never_gives_its_content(workspace, tmp_path):
    import pyarrow
    import pyarrow.parquet

    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(99)))
    cells = [{"bytes": encoded(picture(1)), "path": "a.png"}, {"bytes": None, "path": str(secret)}]
    table = pyarrow.table({"image": cells, "text": ["one", "two"]})
    pyarrow.parquet.write_table(table, tmp_path / "data.parquet")
    folder = import_parquet(tmp_path / "data.parquet", workspace)
    assert secret.read_bytes() not in [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    assert [e.references for e in read(folder).examples] == [("one",)]


def test_a_dataset_without_images_names_its_columns(workspace, tmp_path):
    import datasets

    datasets.Dataset.from_dict({"words": ["a"], "label": [1]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match="no column of images; it has words, label"):
        import_saved(tmp_path / "saved", workspace)


@pytest.mark.parametrize("text", ["/etc/passwd", "../x", "text", "a/b/c", "owner/..", "https://x.y/z", "owner/na me", ""])
def test_only_an_owner_and_a_name_are_ever_looked_up(workspace, text):
    assert not is_hub_id(text)
    with pytest.raises(SourceError, match="owner/name"):
        import_hub(text, workspace)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_out_of_reach_is_a_sentence_within_seconds(tmp_path, offline):
    code = (
        "import time, datasets; from explorer.data.sources import *; from explorer.workspace import Workspace; from pathlib import Path\n"
        "start = time.monotonic()\n"
        f"try: import_hub('nobody/nothing', Workspace(Path({str(tmp_path)!r})))\n"
        "except SourceError as error: print(error, '|', time.monotonic() - start)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.startswith("The Hub dataset nobody/nothing could not be loaded"), done.stderr[-500:]
    assert float(done.stdout.split("|")[-1]) < 5
    assert not list(tmp_path.glob("datasets/*"))
