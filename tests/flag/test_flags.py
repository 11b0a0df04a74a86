"""A flag that was acknowledged is kept, once, whatever happens to the process."""

from __future__ import annotations

import json
import os
from dataclasses import fields

import pandas as pd
import pytest

from explorer.errors import UserError
from explorer.flag import flags_csv
from explorer.flag.flags import COLUMNS, Choice, Flag, FlagStore

TEXTS = [
    "a dog, a cat",
    'a "dog" says hi',
    "two\nlines",
    "carriage\r\nreturn",
    "lone\rreturn",
    "=cmd|' /C calc'!A0",
    "+1",
    "-a dog",
    "@here",
    "'quoted",
    "\tindented",
    " spaces ",
    "",
    "🐶 with 👅",
    "שלום כלב",
    "مرحبا",
    "＝fullwidth",
    "NA",
    "null",
    "a;b",
    "comma,",
    "{{x}} ${y}",
    "\\n",
]


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


def flag(store, caption="a ball", image="i1", **more):
    values = {"run": "pets", "checkpoint": "epoch-1", "image_file": "a.png", "references": ["a tongue"], "reason": "wrong object", **more}
    return store.flag(image_id=image, caption=caption, **values)


def as_pandas(workspace) -> list[dict]:
    return pd.read_csv(workspace.flags_csv, dtype=str, keep_default_na=False).to_dict("records")


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back_from_pandas_as_it_was_typed(store, workspace, text):
    kept = flag(store, caption="a " + text, corrected_caption=text, note=text, references=[text, "two"])
    (row,) = as_pandas(workspace)
    assert row == kept.row()
    assert row["corrected_caption"] == text and json.loads(row["references"]) == [text, "two"]
    assert store.list() == [kept]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_survives_the_spreadsheet_and_back(store, tmp_path, text):
    kept = flag(store, caption="x", corrected_caption=text, note=text)
    path = tmp_path / "sheet.csv"
    flags_csv.export(store, path, spreadsheet=True)
    cells = pd.read_csv(path, dtype=str, keep_default_na=False).iloc[0]
    assert not cells["corrected_caption"].startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    store.remove([kept.flag_id])
    found = flags_csv.read(store, path)
    assert [change.after for change in found.changes] == [kept] and found.problems == ()


def test_the_same_caption_flagged_twice_is_one_flag(store):
    first = flag(store)
    second = flag(store, reason="hallucinated", corrected_caption="a tongue")
    assert [f.flag_id for f in store.list()] == [first.flag_id]
    assert store.list()[0] == second
    assert second.created == first.created and second.updated >= first.updated
    flag(store, checkpoint="epoch-2")
    flag(store, caption="a stick")
    flag(store, image="i2")
    assert len(store.list()) == 4


def test_fifty_changes_can_be_undone_after_a_restart(store, workspace):
    flag(store)
    states = []
    for number in range(50):
        states.append(store.list())
        store.edit(store.list()[0].flag_id, corrected_caption=f"number {number}")
    again = FlagStore(workspace)
    for before in reversed(states):
        assert again.undo().startswith("edit")
        assert again.list() == before
        assert as_pandas(workspace) == [f.row() for f in before]
    assert again.undo().startswith("flag") and again.list() == []
    assert again.undo() is None
    assert again.redo().startswith("flag") and again.list() == states[0]


def test_a_removed_flag_comes_back_as_it_was(store):
    kept = [flag(store, image=f"i{n}") for n in range(3)]
    store.remove([kept[0].flag_id, kept[2].flag_id])
    assert store.list() == [kept[1]]
    store.undo()
    assert store.list() == kept


def test_several_flags_are_edited_as_one(store):
    kept = [flag(store, image=f"i{n}") for n in range(3)]
    store.edit_all([f.flag_id for f in kept], status="dismissed")
    assert {f.status for f in store.list()} == {"dismissed"}
    store.undo()
    assert store.list() == kept


@pytest.mark.parametrize(
    "values,words",
    [
        ({"reason": "ugly"}, "'ugly' is not known: take one of wrong object"),
        ({"note": "a\0b"}, "note holds a NUL"),
        ({"caption": "half \ud83d"}, "caption holds half a character"),
    ],
)
def test_what_no_csv_can_hold_is_refused_and_nothing_is_kept(store, workspace, values, words):
    flag(store, image="first")
    before = workspace.flags_csv.read_bytes()
    with pytest.raises(UserError, match=words):
        flag(store, **values)
    assert len(store.list()) == 1 and workspace.flags_csv.read_bytes() == before


def test_a_csv_that_cannot_be_written_is_a_sentence_and_keeps_nothing(store, workspace):
    workspace.flags_csv.mkdir(parents=True)
    with pytest.raises(UserError, match="flags.csv cannot be written"):
        flag(store)
    assert store.list() == []


def test_a_damaged_store_is_a_sentence(store, workspace):
    workspace.flags_db.parent.mkdir(parents=True)
    workspace.flags_db.write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="flags.db cannot be written"):
        flag(store)


def test_filters_and_counts(store):
    flag(store, caption="a red ball", reason="wrong object")
    flag(store, caption="a dog dog", reason="repeated words", checkpoint="base", note="twice")
    assert [f.caption for f in store.list(reason="repeated words")] == ["a dog dog"]
    assert [f.caption for f in store.list(search="BALL red")] == ["a red ball"]
    assert [f.caption for f in store.list(search="twice")] == ["a dog dog"]
    assert store.list(status="dismissed") == []
    assert store.counts()["reason"] == {"wrong object": 1, "repeated words": 1}
    assert store.cells() == {("pets", "epoch-1", "i1"), ("pets", "base", "i1")}


def test_the_columns_of_the_store_are_those_of_a_flag():
    assert COLUMNS == [f.name for f in fields(Flag)]


def test_each_reviewer_undoes_ones_own_changes(store):
    mine, theirs = flag(store, image="mine", reviewer="anna"), flag(store, image="theirs", reviewer="ben")
    assert store.undo("anna").startswith("flag") and store.list() == [theirs]
    assert store.undo("anna") is None
    flag(store, image="more", reviewer="ben")
    assert store.redo("anna").startswith("flag") and store.get(mine.flag_id) == mine


def test_an_undo_never_takes_back_what_somebody_else_did_since(store):
    kept = flag(store, reviewer="anna")
    store.edit(kept.flag_id, "ben", note="seen")
    with pytest.raises(UserError, match="somebody changed the same flag since"):
        store.undo("anna")
    assert store.get(kept.flag_id).note == "seen"
    assert store.undo() and store.undo() and store.list() == []


def test_the_history_of_a_flag_tells_who_changed_what(store):
    kept = flag(store, reviewer="anna")
    store.edit(kept.flag_id, "ben", corrected_caption="a tongue")
    store.edit_all([kept.flag_id], "anna", status="dismissed")
    store.undo("anna")
    told = [(event.who, event.fields[-1], event.undone) for event in FlagStore(store.workspace).history(kept.flag_id)]
    assert told[1:] == [("ben", ("corrected_caption", "", "a tongue"), False), ("anna", ("status", "open", "dismissed"), True)]
    assert told[0][0] == "anna" and not told[0][2]
    assert store.as_it_was(kept.flag_id, kept.updated) == kept and store.as_it_was(kept.flag_id, "never") is None


def test_a_caption_found_right_is_judged_and_can_be_undone(store):
    kept = flag(store)
    store.approve([("pets", "epoch-1", "i9", "a dog")], "anna")
    assert len(store.judged()) == 2 and kept.flag_id in store.judged() and store.list() == [kept]
    store.undo("anna")
    assert store.judged() == {kept.flag_id}


def test_flags_are_found_page_by_page_in_the_database(store):
    kept = [flag(store, image=f"i{n}", reason="grammar" if n % 2 else "other", reviewer="ab"[n % 2]) for n in range(6)]
    assert store.find(Choice(), limit=2, offset=1, newest_first=True) == [kept[4], kept[3]]
    assert store.find(Choice(reason="grammar", reviewer="b"), limit=2) == [kept[1], kept[3]]
    assert store.ids(Choice(ids=frozenset([kept[5].flag_id, "gone"]))) == [kept[5].flag_id]
    assert store.counts(Choice(reviewer="a"))["reason"] == {"other": 3}
    assert store.reviewed() == (0, 6)
    store.edit(kept[0].flag_id, status="dismissed")
    store.edit(kept[1].flag_id, corrected_caption="a tongue")
    assert store.reviewed() == (2, 6)


def test_the_store_is_not_readable_by_halves_when_the_disk_is_read_only(store, workspace):
    flag(store)
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    workspace.root.chmod(0o500)
    try:
        with pytest.raises(UserError):
            flag(store, image="i2")
    finally:
        workspace.root.chmod(0o700)
    assert len(store.list()) == 1
