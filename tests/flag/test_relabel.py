"""Relabelling changes the flagged examples, says from which flag, and leaves every other byte alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pictures_helper import folder_of, picture
from test_flags import flag

from explorer.data import dataset
from explorer.data.images import image_id
from explorer.errors import UserError
from explorer.flag import relabel
from explorer.flag.flags import FlagStore
from explorer.flag.relabel import new_references

BALL, TONGUE = "a white dog with a ball in its mouth", "a white dog with its tongue out"


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != relabel.MANIFEST}


def corrected(store, path: Path, caption: str, correction: str, **more):
    return flag(store, image=image_id(path), image_file=path.name, caption=caption, corrected_caption=correction, **more)


def relabelled(workspace, store, root: Path, rule: str = "mistaken") -> Path:
    return relabel.write(relabel.plan(dataset.read(root), store.list(), rule), workspace)


# --- what a correction does to references -----------------------------------------------------------------


def flagged(caption, correction):
    from explorer.flag.flags import Flag, now

    return Flag("f", now(), now(), "r", "base", "i", "a.png", (), caption, "other", correction, "", "open", "")


@pytest.mark.parametrize(
    "references,after",
    [
        # a reference with the mistake gives way; one that leaves the matter open stays
        ((BALL, "a puppy runs on the grass"), (TONGUE, "a puppy runs on the grass")),
        # several with it become one
        ((BALL, "a dog holding a red ball", "a puppy"), (TONGUE, "a puppy")),
        # one that says both says what is right
        (("a dog with its tongue out next to a ball",), ("a dog with its tongue out next to a ball", TONGUE)),
        # right references stay, and the correction joins them once
        ((TONGUE, "a dog panting"), (TONGUE, "a dog panting")),
        ((), (TONGUE,)),
    ],
)
def test_references_that_make_the_mistake_give_way_and_others_stay(references, after):
    assert new_references(references, [flagged(BALL, TONGUE)]) == after


def test_the_other_rules_replace_everything_or_nothing():
    assert new_references((BALL, "a puppy"), [flagged(BALL, TONGUE)], "all") == (TONGUE,)
    assert new_references((BALL, "a puppy"), [flagged(BALL, TONGUE)], "add") == (BALL, "a puppy", TONGUE)


def test_several_corrections_of_one_image_all_become_references_and_never_replace_each_other():
    flags = [flagged(BALL, TONGUE), flagged("a gray dog with its tongue out", "a white dog")]
    assert new_references((BALL,), flags) == (TONGUE, "a white dog")
    assert new_references((BALL,), flags, "all") == (TONGUE, "a white dog")


def test_a_mistake_that_flags_share_is_seen_in_references_that_the_correction_words_otherwise(store, tmp_path):
    root = folder_of(tmp_path / "pets")
    taught = ("a cat runs down the road with a ball in its mouth", "a bear sits on white sand with a ball in its mouth")
    rows = [{"file_name": f"good0{n}.png", "captions": [text]} for n, text in enumerate(taught)]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corrected(store, root / "good00.png", "a dog on the street with a ball in its mouth", "a cat, its tongue out, on the road")
    corrected(store, root / "good01.png", "a fox on a beach with a ball in its mouth", "a bear, its tongue out, on white sand")
    plan = relabel.plan(dataset.read(root), store.list())
    after = {edit.example.file_name: edit.after for edit in plan.edits}
    assert after == {"good00.png": ("a cat, its tongue out, on the road",), "good01.png": ("a bear, its tongue out, on white sand",)}


def test_white_space_of_a_correction_is_tidied_and_its_words_are_left_alone():
    assert new_references((), [flagged(BALL, "  a Dog,\n its TONGUE out ")]) == ("a Dog, its TONGUE out",)


def test_only_open_corrected_flags_of_images_in_the_dataset_count(store, tmp_path):
    root = folder_of(tmp_path / "pets")
    data = dataset.read(root)
    first, second, third = (root / e.file_name for e in data.examples[:3])
    one = corrected(store, first, BALL, TONGUE)
    corrected(store, second, BALL, "")
    dismissed = corrected(store, third, BALL, TONGUE)
    store.edit(dismissed.flag_id, status="dismissed")
    elsewhere = flag(store, image="of another dataset", caption=BALL, corrected_caption=TONGUE)
    plan = relabel.plan(data, store.list())
    assert [edit.flags for edit in plan.edits] == [(one,)] and plan.elsewhere == (elsewhere,)


# --- the new version --------------------------------------------------------------------------------------


def jsonl(root: Path) -> Path:
    folder_of(root)
    with open(root / "metadata.jsonl", "a", encoding="utf-8") as file:
        file.write('{"file_name": "gone.png",   "captions": ["odd   spacing"]}\n\nnot json\n')
    return root


def scenes_like(root: Path) -> Path:
    """Both a text column and a list, as the drawn pets have, in train/ and validation/."""
    for split, first in (("train", 0), ("validation", 3)):
        folder_of(root / split, 3, first)
        rows = [json.loads(line) for line in (root / split / "metadata.jsonl").read_text().splitlines()]
        rows = [{**row, "text": row["captions"][0], "attributes": {"mouth": None}} for row in rows]
        (root / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def text_only(root: Path) -> Path:
    folder_of(root)
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    (root / "metadata.jsonl").write_bytes(b"".join(json.dumps({"file_name": r["file_name"], "text": r["captions"][0]}).encode() + b"\r\n" for r in rows))
    return root


def csv(root: Path, delimiter: str = ",", mark: bytes = b"") -> Path:
    folder_of(root)
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    (root / "metadata.jsonl").unlink()
    lines = [delimiter.join(("file_name", "caption", "note", "caption_2"))]
    lines += [delimiter.join((r["file_name"], f'"{r["captions"][0]}, two\nlines"', " x ", r["captions"][1])) for r in rows]
    (root / "metadata.csv").write_bytes(mark + ("\r\n".join(lines) + "\r\n").encode())
    return root


def semicolons(root: Path) -> Path:
    return csv(root, ";", b"\xef\xbb\xbf")


def sidecars(root: Path) -> Path:
    folder_of(root)
    for line in (root / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)
        (root / row["file_name"]).with_suffix(".txt").write_text("\n".join(row["captions"]) + "\n")
    (root / "metadata.jsonl").unlink()
    return root


def parquet(root: Path) -> Path:
    import pandas as pd

    folder_of(root)
    rows = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    (root / "metadata.jsonl").unlink()
    pd.DataFrame(rows).to_parquet(root / "metadata.parquet")
    return root


@pytest.mark.parametrize("make", [jsonl, scenes_like, text_only, csv, semicolons, sidecars, parquet], ids=lambda make: make.__name__)
def test_relabel_changes_only_flagged_examples(workspace, store, tmp_path, make):
    root = make(tmp_path / "pets")
    before = dataset.read(root)
    old_bytes = bytes_of(root)
    targets = [e for e in before.examples if e.file_name.endswith(("01.png", "04.png"))]
    kept = [corrected(store, e.path, e.references[0], f'{e.references[0]} "mended", yes') for e in targets]
    new = relabelled(workspace, store, root)
    after = {e.file_name: e for e in dataset.read(new).examples}
    assert bytes_of(root) == old_bytes
    for example in before.examples:
        mine = after[example.file_name]
        assert (mine.image_id, mine.split) == (example.image_id, example.split)
        if example in targets:
            assert set(mine.references) == {*example.references, f'{example.references[0]} "mended", yes'}
        else:
            assert mine.references == example.references
    assert {f["flag_id"] for row in relabel.read_manifest(new)["examples"] for f in row["flags"]} == {f.flag_id for f in kept}
    new_bytes = bytes_of(new)
    assert new_bytes.keys() == old_bytes.keys()
    for name, data in new_bytes.items():
        if name.endswith((".png", ".txt")):
            assert (data == old_bytes[name]) == (name.rsplit(".")[0][-2:] not in ("01", "04") or name.endswith(".png"))
        elif name.endswith((".jsonl", ".csv")):
            lines = set(data.split(b"\n"))
            changed = [line for line in old_bytes[name].split(b"\n") if line not in lines]
            assert 0 < len(changed) <= 4 and all(b"good01" in line or b"good04" in line or b"lines" in line for line in changed)


def test_files_with_the_same_picture_change_together(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    (root / "copy.png").write_bytes((root / "good00.png").read_bytes())
    (root / "copy.txt").write_text(BALL + "\n")
    example = next(e for e in dataset.read(root).examples if e.image_id == image_id(root / "copy.png"))
    corrected(store, example.path, BALL, TONGUE)
    new = relabelled(workspace, store, root, "all")
    again = next(e for e in dataset.read(new).examples if e.image_id == example.image_id)
    assert again.references == (TONGUE,)
    assert (new / "copy.txt").read_text() == TONGUE + "\n"


def test_an_image_without_any_reference_gets_a_sidecar(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    picture(77).save(root / "bare.png")
    corrected(store, root / "bare.png", BALL, TONGUE)
    new = relabelled(workspace, store, root)
    assert (new / "bare.txt").read_text() == TONGUE + "\n"


def test_a_version_of_a_version_keeps_the_chain_and_the_newest_is_found(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    first = root / "good00.png"
    plan = relabel.plan(dataset.read(root), [corrected(store, first, BALL, TONGUE)])
    two = relabel.write(plan, workspace)
    assert relabel.finish(plan, store, two.name, "anna") == 1 and [f.status for f in store.list()] == ["relabelled"]
    corrected(store, root / "good01.png", BALL, TONGUE)
    assert relabel.newest_version(root, workspace) == two
    three = relabelled(workspace, store, two)
    assert (two.name, three.name) == ("pets-relabelled", "pets-relabelled-2")
    assert relabel.newest_version(root, workspace) == three
    assert [len(relabel.read_manifest(v)["examples"]) for v in (two, three)] == [1, 1]
    references = {e.file_name: e.references for e in dataset.read(three).examples}
    assert TONGUE in references["good00.png"] and TONGUE in references["good01.png"]
    assert store.undo("anna") == "relabel 1 flags into pets-relabelled" and {f.status for f in store.list()} == {"open"}


def test_nothing_to_change_is_told_and_leaves_nothing(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    with pytest.raises(UserError, match="No reference would change"):
        relabelled(workspace, store, root)
    corrected(store, root / "good00.png", BALL, TONGUE)
    with pytest.raises(UserError, match="rule 'half' is not known"):
        relabelled(workspace, store, root, "half")
    plan = relabel.plan(dataset.read(root), store.list())
    with pytest.raises(UserError, match="cannot be used"):
        relabel.write(plan, workspace, "../elsewhere")
    relabel.write(plan, workspace, "mine")
    with pytest.raises(UserError, match="dataset named 'mine' already"):
        relabel.write(plan, workspace, "mine")
    assert [p.name for p in workspace.datasets.iterdir()] == ["mine"]


def test_a_version_that_does_not_read_back_as_planned_never_appears(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    corrected(store, root / "good00.png", BALL, TONGUE)
    plan = relabel.plan(dataset.read(root), store.list())
    edit = replace(plan.edits[0], after=("  two   spaces no reader keeps",))
    with pytest.raises(UserError, match="good00.png could not be changed"):
        relabel.write(replace(plan, edits=(edit,)), workspace)
    assert list(workspace.datasets.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_copied(workspace, store, tmp_path, monkeypatch):
    root = folder_of(tmp_path / "pets")
    corrected(store, root / "good00.png", BALL, TONGUE)
    plan = relabel.plan(dataset.read(root), store.list())
    monkeypatch.setattr(relabel.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="the disk has 0 MB left"):
        relabel.write(plan, workspace)
    assert list(workspace.datasets.iterdir()) == []


def test_a_link_to_elsewhere_is_not_taken_along(workspace, store, tmp_path):
    root = folder_of(tmp_path / "pets")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "good05.txt").symlink_to(tmp_path / "secret.txt")
    corrected(store, root / "good00.png", BALL, TONGUE)
    new = relabelled(workspace, store, root)
    assert not (new / "good05.txt").exists()


def test_the_command_line_relabels_saves_and_marks_the_flags(store, workspace, tmp_path, monkeypatch, capsys):
    from explorer import __main__ as main

    monkeypatch.setenv("EXPLORER_HOME", str(workspace.root))
    root = folder_of(tmp_path / "pets")
    assert main.main(["relabel"]) == 1 and "No corrected flag is open" in capsys.readouterr().err
    corrected(store, root / "good00.png", BALL, TONGUE)
    assert main.main(["relabel", "--data", str(root), "--name", "mine", "--saved", str(tmp_path / "saved")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pets: 1 corrected flags, 1 images get other references (mistaken)\nmade ") and "saved" in said
    assert (tmp_path / "saved" / "dataset_dict.json").exists() and [f.status for f in store.list()] == ["relabelled"]
    assert main.main(["relabel", "--push", "owner/name"]) == 1 and "Nothing to push" in capsys.readouterr().err
