"""What people bring becomes a whole image folder or a sentence; nothing brought decides what is read or written."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from drawn import captioned, photos, picture, rows, table
from hub_server import HubServer, Repo

from explorer.data import dataset, sources
from explorer.data.sources import SourceError
from explorer.errors import UserError
from explorer.workspace import Workspace

WANTED = {f"photo-{n}.png": (f"a blot number {n}",) for n in range(3)}


def references(folder: Path) -> dict[str, tuple[str, ...]]:
    found = dataset.read(folder)
    assert found.problems == ()
    return {e.file_name: e.references for e in found.examples}


def nothing_left(workspace: Workspace) -> bool:
    """No folder, finished or half made."""
    return not workspace.datasets.exists() or not list(workspace.datasets.iterdir())


def refused(workspace: Workspace, reason: str, bring, *arguments, **options) -> None:
    with pytest.raises(SourceError, match=reason):
        bring(*arguments, workspace, **options)
    assert nothing_left(workspace)


def make_zip(path: Path, members: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data, **options)
    return path


def good_members(tmp_path: Path, top: str = "") -> dict[str, bytes]:
    folder = captioned(tmp_path / "made")
    return {top + path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def test_reading_data_loads_no_large_library():
    """The page is up before any of these is needed."""
    large = "torch transformers gradio datasets huggingface_hub pandas pyarrow"
    code = f"import sys; import explorer.data.dataset, explorer.data.sources; print([n for n in {large.split()} if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout.strip() == "[]"


# --- zips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "pets/", "my pets ü/"])
def test_zip_becomes_the_folder_it_was_made_from(tmp_path, workspace, top):
    junk = {"__MACOSX/._photo-0.png": b"x", f"{top}.DS_Store": b"x", f"{top}.hidden/a.png": b"x", f"{top}setup.exe": b"x"}
    folder = sources.import_zip(make_zip(tmp_path / "Pets 1.zip", good_members(tmp_path, top) | junk), workspace)
    assert folder == workspace.datasets / "Pets-1"
    assert references(folder) == WANTED
    assert sorted(p.name for p in folder.rglob("*")) == ["metadata.jsonl", *WANTED]


def test_zip_of_split_folders_keeps_them(tmp_path, workspace):
    members = {"d/train/a.png": png(1), "d/train/a.txt": b"a dog", "d/val/b.png": png(2), "d/val/b.txt": b"a cat"}
    folder = sources.import_zip(make_zip(tmp_path / "d.zip", members), workspace)
    assert references(folder) == {"train/a.png": ("a dog",), "val/b.png": ("a cat",)}
    only = {"train/a.png": png(1), "train/b.png": png(2)}
    assert set(e.split for e in dataset.read(sources.import_zip(make_zip(tmp_path / "t.zip", only), workspace)).examples) == {"train"}


def test_same_zip_twice_is_two_datasets_and_a_taken_name_is_told(tmp_path, workspace):
    path = make_zip(tmp_path / "pets.zip", good_members(tmp_path))
    one, two, three = (sources.import_zip(path, workspace, name) for name in (None, None, "mine"))
    assert [p.name for p in (one, two, three)] == ["pets", "pets-2", "mine"]
    assert set(sources.list_datasets(workspace)) == {one, two, three}
    with pytest.raises(SourceError, match="There is a dataset named 'mine' already"):
        sources.import_zip(path, workspace, "mine")
    with pytest.raises(UserError, match="'../mine' cannot be used"):
        sources.import_zip(path, workspace, "../mine")


EVIL = {
    "up": "../evil.png",
    "up inside": "a/../../evil.png",
    "absolute": "/evil.png",
    "a drive": "C:/evil.png",
    "backslashes": "..\\evil.png",
}


@pytest.mark.parametrize("case", EVIL)
def test_zip_member_that_points_outside_is_refused_by_name(tmp_path, workspace, case):
    path = make_zip(tmp_path / "evil.zip", {"good.png": png(), EVIL[case]: png(1)})
    refused(workspace, r"evil.zip holds '.*evil.png', which points outside", sources.import_zip, path)
    assert not list(tmp_path.rglob("evil.png"))


def test_link_in_a_zip_is_refused_by_name(tmp_path, workspace):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.writestr("good.png", png())
        archive.writestr(link, "/etc/passwd")
    refused(workspace, "l.zip holds a link, 'link.png'", sources.import_zip, tmp_path / "l.zip")


def test_zip_that_would_fill_the_disk_is_refused(tmp_path, workspace):
    path = make_zip(tmp_path / "big.zip", {"a.png": png(), "b.bmp": bytes(300_000)})
    refused(workspace, "big.zip holds 2 files; at most 1", sources.import_zip, path, max_members=1)
    refused(workspace, "big.zip unpacks to more than", sources.import_zip, path, max_bytes=200_000)
    make_zip(tmp_path / "bomb.zip", {"a.bmp": bytes(60_000_000)})
    refused(workspace, "bomb.zip holds 'a.bmp', which unpacks to 60 MB: that is no photo", sources.import_zip, tmp_path / "bomb.zip")


def test_zip_that_lies_about_its_size_is_stopped_while_unpacking(tmp_path, workspace):
    path = make_zip(tmp_path / "liar.zip", {"a.bmp": bytes(300_000)})
    data = path.read_bytes().replace((300_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(data)
    refused(workspace, "liar.zip (unpacks to more|is not a readable zip)", sources.import_zip, path, max_bytes=5000)


def test_zip_that_cannot_be_read_is_told_with_a_remedy(tmp_path, workspace):
    whole = make_zip(tmp_path / "whole.zip", good_members(tmp_path)).read_bytes()
    for name, data in {"empty": b"", "text": b"hello", "cut": whole[:-200], "torn": whole[:80] + bytes(100) + whole[180:]}.items():
        (tmp_path / f"{name}.zip").write_bytes(data)
        refused(workspace, f"{name}.zip is not a readable zip .*make it again", sources.import_zip, tmp_path / f"{name}.zip")
    refused(workspace, "There is no file gone.zip", sources.import_zip, tmp_path / "gone.zip")


def test_zip_without_pictures_is_told(tmp_path, workspace):
    for members in ({}, {"notes.txt": b"x"}, {"__MACOSX/a.png": png()}):
        path = make_zip(tmp_path / "bare.zip", members)
        refused(workspace, "bare.zip holds no pictures: zip the folder with your images", sources.import_zip, path)


def test_zip_with_a_password_is_told(tmp_path, workspace):
    path = make_zip(tmp_path / "locked.zip", {"a.png": png()})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    refused(workspace, "locked.zip is locked by a password: make a zip without one", sources.import_zip, path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_that_holds_a_name_twice_or_as_file_and_folder_is_told(tmp_path, workspace):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("a.png", png(1))
    refused(workspace, "twice.zip holds 'a.png' twice", sources.import_zip, tmp_path / "twice.zip")
    path = make_zip(tmp_path / "both.zip", {"a.png": png(), "a.png/b.png": png(1)})
    refused(workspace, "both.zip holds 'a.png/b.png'", sources.import_zip, path)
    path = make_zip(tmp_path / "long.zip", {"a.png": png(), "x" * 300 + ".png": png(1)})
    refused(workspace, "long.zip holds 'x+.png', which cannot be written", sources.import_zip, path)


def test_broken_picture_in_a_zip_costs_only_itself(tmp_path, workspace):
    folder = sources.import_zip(make_zip(tmp_path / "z.zip", good_members(tmp_path) | {"bad.jpg": b"junk"}), workspace)
    found = dataset.read(folder)
    assert len(found.captioned) == 3 and [p.file for p in found.problems if p.left_out] == ["bad.jpg"]


# --- dropped files -----------------------------------------------------------------------------------------


def test_dropped_files_become_a_folder(tmp_path, workspace):
    folder = captioned(tmp_path / "made")
    (folder / ".DS_Store").touch()
    assert references(sources.import_files(sorted(folder.iterdir()), workspace)) == WANTED
    (folder / "metadata.jsonl").unlink()
    for name, (text,) in WANTED.items():
        (folder / name).with_suffix(".txt").write_text(text)
    assert references(sources.import_files(sorted(folder.iterdir()), workspace, "sidecars")) == WANTED


def test_one_dropped_zip_is_unpacked(tmp_path, workspace):
    assert references(sources.import_files([make_zip(tmp_path / "a.zip", good_members(tmp_path))], workspace)) == WANTED


def test_dropped_files_of_no_use_are_told_by_name(tmp_path, workspace):
    one, two = photos(tmp_path / "a", 2)
    (tmp_path / "b").mkdir()
    other = one.rename(tmp_path / "b" / two.name)
    for name in ("a.zip", "notes.docx", "metadata.csv"):
        (tmp_path / name).touch()
    refused(workspace, "Nothing was dropped", sources.import_files, [])
    refused(workspace, "a.zip came with other files", sources.import_files, [tmp_path / "a.zip", two])
    refused(workspace, "notes.docx is neither a picture", sources.import_files, [tmp_path / "notes.docx", two])
    refused(workspace, "No picture among the dropped files", sources.import_files, [tmp_path / "metadata.csv"])
    refused(workspace, "photo-1.png was dropped twice", sources.import_files, [two, other])
    refused(workspace, "photo-0.png cannot be copied", sources.import_files, [one])


# --- datasets saved to disk and parquet --------------------------------------------------------------------


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("datasets")


def part(library, first: int = 0, count: int = 2, image: str = "image", **columns):
    features = {image: [{"bytes": png(n), "path": None} for n in range(first, first + count)], **columns}
    return library.Dataset.from_dict(features).cast_column(image, library.Image())


def texts(folder: Path) -> list[tuple[str, ...]]:
    return [e.references for e in dataset.read(folder).examples]


def test_saved_dataset_keeps_pictures_and_all_references(tmp_path, workspace, library):
    part(library, captions=[["a dog", "a pup"], ["a cat"]], filename=["x.jpg", "y.jpg"]).save_to_disk(tmp_path / "saved")
    assert sources.is_saved(tmp_path / "saved") and not sources.is_saved(tmp_path)
    folder = sources.import_saved(tmp_path / "saved", workspace)
    assert references(folder) == {"000000.png": ("a dog", "a pup"), "000001.png": ("a cat",)}
    assert (folder / "000000.png").read_bytes() == png(0)


def test_saved_splits_become_split_folders(tmp_path, workspace, library):
    splits = {name: part(library, 2 * n, text=["a", "b"]) for n, name in enumerate(("train", "restval", "val", "test"))}
    library.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    found = dataset.read(sources.import_saved(tmp_path / "saved", workspace))
    assert {(e.file_name.split("-")[0], e.split) for e in found.examples} == {
        ("train/train", "train"),
        ("train/restval", "train"),
        ("validation/val", "validation"),
        ("validation/test", "validation"),
    }
    assert len(found.captioned) == 8


def test_parquet_of_pictures_is_taken_in_alone_or_in_a_zip(tmp_path, workspace, library):
    for number, name in enumerate(("train-00000-of-00001", "validation-00000-of-00001")):
        part(library, 2 * number, caption=["a dog", "a cat"]).to_parquet(tmp_path / f"{name}.parquet")
    files = sorted(tmp_path.glob("*.parquet"))
    assert texts(sources.import_files([files[0]], workspace)) == [("a dog",), ("a cat",)]
    path = make_zip(tmp_path / "both.zip", {f"data/{f.name}": f.read_bytes() for f in files})
    found = dataset.read(sources.import_zip(path, workspace))
    assert [e.split for e in found.examples] == ["train"] * 2 + ["validation"] * 2 and found.problems == ()


def test_picture_cell_that_names_a_file_of_this_machine_is_not_opened(tmp_path, workspace, library):
    """A cell {bytes: None, path: ...} makes the library open that file; here it is a missing picture."""
    import pyarrow
    import pyarrow.parquet

    secret = photos(tmp_path / "secret", 1)[0]
    cells = [{"bytes": png(1), "path": None}, {"bytes": None, "path": str(secret)}]
    features = library.Features({"image": library.Image(), "text": library.Value("string")})
    rows_ = pyarrow.table({"image": cells, "text": ["good", "evil"]}).replace_schema_metadata(features.arrow_schema.metadata)
    pyarrow.parquet.write_table(rows_, tmp_path / "evil.parquet")
    found = dataset.read(sources.import_parquet(tmp_path / "evil.parquet", workspace))
    assert [e.references for e in found.examples] == [("good",)]
    assert [(p.file, p.kind) for p in found.problems] == [("000001.jpg", dataset.MISSING_FILE)]
    pyarrow.parquet.write_table(rows_.slice(1), tmp_path / "worse.parquet")
    with pytest.raises(SourceError, match="worse.parquet holds no picture itself"):
        sources.import_parquet(tmp_path / "worse.parquet", workspace)
    assert [p.name for p in sources.list_datasets(workspace)] == ["evil"]


def test_columns_are_found_by_what_they_hold_or_taken_as_told(tmp_path, workspace, library):
    saved = tmp_path / "saved"
    part(library, image="foto", id=["1", "2"], blurb=["a dog", "a cat"]).save_to_disk(saved)
    assert texts(sources.import_saved(saved, workspace)) == [("a dog",), ("a cat",)]
    assert texts(sources.import_saved(saved, workspace, image="foto", caption="id")) == [("1",), ("2",)]
    part(library, label=[0, 1]).save_to_disk(tmp_path / "bare")
    assert texts(sources.import_saved(tmp_path / "bare", workspace)) == [(), ()]


def test_columns_that_cannot_be_chosen_are_named(tmp_path, workspace, library):
    part(library, image="foto", en=["a", "b"], de=["c", "d"]).save_to_disk(tmp_path / "pair")
    refused(workspace, "pair has several columns of text, en, de: name the one with the captions", sources.import_saved, tmp_path / "pair")
    for wrong in ({"caption": "text"}, {"image": "text"}):
        refused(workspace, "pair has no column 'text'; it has foto, en, de", sources.import_saved, tmp_path / "pair", **wrong)
    library.Dataset.from_dict({"text": ["a"], "n": [1]}).save_to_disk(tmp_path / "words")
    refused(workspace, "words has no column of images; it has text, n", sources.import_saved, tmp_path / "words")


def test_saved_dataset_or_parquet_that_is_damaged_is_told_by_name(tmp_path, workspace, library):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_info.json").write_text("{")
    refused(workspace, "saved cannot be read as a saved dataset", sources.import_saved, tmp_path / "saved")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 nonsense")
    refused(workspace, "p.parquet cannot be read as parquet", sources.import_parquet, tmp_path / "p.parquet")


# --- the Hub -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", ["", "name", "/etc/passwd", "../up", "a/b/c", "a/..", "text", "https://x.org/a", "owner/na me", "o/n\n", "-o/n"]
)
def test_only_an_owner_and_a_name_are_looked_up(workspace, wrong):
    assert not sources.is_hub_id(wrong)
    for ask in (lambda: sources.import_hub(wrong, workspace), lambda: sources.hub_columns(wrong)):
        with pytest.raises(SourceError, match="is not a Hub dataset id: it looks like owner/name"):
            ask()


def test_hub_id_that_is_also_a_folder_here_is_not_opened(tmp_path, workspace, monkeypatch):
    """The library would open the folder instead of asking the Hub."""
    captioned(tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    refused(workspace, "'owner/name' is also a folder where the explorer runs", sources.import_hub, "owner/name")


ASK = """
import json, sys
from pathlib import Path
from explorer.data import sources
from explorer.workspace import Workspace
try:
    if sys.argv[2] == "columns":
        print(json.dumps(sources.hub_columns("owner/name")))
    else:
        seen = []
        split, limit = sys.argv[3] or None, int(sys.argv[4]) or None
        told = lambda done, total: seen.append((done, total))
        print(sources.import_hub("owner/name", Workspace(Path(sys.argv[1])), split=split, limit=limit, tell=told), seen[-1])
except sources.SourceError as error:
    print("SENTENCE", error)
"""


def ask_hub(home: Path, endpoint: str | None, what: str = "import", split: str = "", limit: int = 0) -> str:
    """What a process of its own says, whose Hub is at ``endpoint``; None: told to stay offline."""
    environment = {**os.environ, "HF_HOME": str(home / "hf"), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"} if endpoint else {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(home), what, split, str(limit)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def hub():
    """(fill the dataset owner/name with files, the address of the Hub that has it)"""
    with HubServer() as served:
        yield lambda found: served.repos.update({("dataset", "owner/name"): Repo(files=found)}), served.url


def test_hub_that_cannot_be_reached_is_a_sentence_within_seconds(tmp_path):
    said = ask_hub(tmp_path, "http://127.0.0.1:9")
    assert said.startswith("SENTENCE The Hub dataset owner/name could not be loaded, the Hub does not answer") and "or bring a zip" in said
    assert ask_hub(tmp_path, None).startswith("SENTENCE The Hub dataset owner/name could not be loaded, the Hub is out of reach")
    assert not (tmp_path / "datasets").exists() or not list((tmp_path / "datasets").iterdir())


def test_hub_repository_of_picture_files_becomes_a_folder(tmp_path, hub):
    """The library would give paths in its cache for these, and paths are not opened."""
    hold, endpoint = hub
    for side, first in (("train", 0), ("test", 3)):
        photos(tmp_path / "made" / side, 3, first)
        table(tmp_path / "made" / side, rows(3, first))
    made = {p.relative_to(tmp_path / "made").as_posix(): p.read_bytes() for p in (tmp_path / "made").rglob("*") if p.is_file()}
    hold({**made, "README.md": b"hello", ".gitattributes": b"x", "script.py": b"x"})
    assert ask_hub(tmp_path, endpoint).endswith("owner-name (8, 8)")
    folder = tmp_path / "datasets" / "owner-name"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(made)
    assert {e.file_name: e.split for e in dataset.read(folder).captioned} == {
        name: "train" if name.startswith("train") else "validation" for name in made if name.endswith(".png")
    }
    assert ask_hub(tmp_path, endpoint, split="test", limit=2).endswith("owner-name-2 (3, 3)")
    folder = tmp_path / "datasets" / "owner-name-2"
    assert sorted(p.name for p in folder.rglob("*.*")) == ["metadata.jsonl", "photo-3.png", "photo-4.png"]


def test_hub_dataset_that_is_not_there_is_told_by_its_id(tmp_path, hub):
    said = ask_hub(tmp_path, hub[1] + "/nowhere")
    assert said == "SENTENCE There is no Hub dataset owner/name, or it is private: check the spelling."
