"""A flag that was acknowledged is kept, once, whatever happens to the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from explorer import flags_csv
from explorer.errors import UserError
from explorer.flags import COLUMNS, REASONS, FlagStore

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


FLAGGER = """
import sys
from pathlib import Path
from explorer.flags import FlagStore
from explorer.workspace import Workspace
store = FlagStore(Workspace(Path(sys.argv[1])))
for number in range(int(sys.argv[3])):
    flag = store.flag("pets", "epoch-1", f"{sys.argv[2]}-{number}", "a.png", ["x"], f"caption {number}", "other")
    print(flag.flag_id, flush=True)
"""


def test_of_four_processes_with_one_killed_every_acknowledged_flag_is_kept_once(workspace):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", FLAGGER, str(workspace.root), str(n), "50"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        for n in range(4)
    ]
    victim = workers[0]
    told = [victim.stdout.readline().strip() for _ in range(10)]
    victim.send_signal(signal.SIGKILL)
    while any(worker.poll() is None for worker in workers):  # the CSV is whole whenever it is looked at
        rows = as_pandas(workspace)
        assert all(set(row) == set(COLUMNS) and row["reason"] in REASONS for row in rows)
        time.sleep(0.02)
    told += [line.strip() for worker in workers for line in worker.stdout if line.strip()]
    kept = [row["flag_id"] for row in as_pandas(workspace)]
    assert len(kept) == len(set(kept)) and set(told) <= set(kept)
    assert len(told) >= 160
    assert kept == [f.flag_id for f in FlagStore(workspace).list()]


def test_an_edited_csv_is_shown_as_changes_before_it_is_applied(store, workspace, tmp_path):
    kept = [flag(store, image=f"i{n}") for n in range(3)]
    table = pd.read_csv(workspace.flags_csv, dtype=str, keep_default_na=False)
    table.loc[0, "corrected_caption"] = "a tongue, out"
    table.loc[1, "status"] = "dismissed"
    table.to_csv(tmp_path / "edited.csv", index=False)
    time.sleep(0.01)
    store.edit(kept[1].flag_id, note="meanwhile")
    found = flags_csv.read(store, tmp_path / "edited.csv")
    assert [(c.after.image_id, c.conflict) for c in found.changes] == [("i0", False), ("i1", True)]
    assert found.changes[0].fields() == [("corrected_caption", "", "a tongue, out")]
    assert found.unchanged == 1 and store.get(kept[0].flag_id) == kept[0]
    assert flags_csv.apply(store, found.changes) == 2
    assert [f.corrected_caption for f in store.list()] == ["a tongue, out", "", ""]
    store.undo()
    assert store.get(kept[0].flag_id) == kept[0]


def test_damaged_lines_are_told_by_number_and_the_rest_is_used(store, workspace, tmp_path):
    kept = [flag(store, image=f"i{n}") for n in range(3)]
    table = pd.read_csv(workspace.flags_csv, dtype=str, keep_default_na=False)
    table.loc[0, "reason"] = "ugly"
    table.loc[1, "references"] = "[broken"
    table.loc[2, "note"] = "fine"
    table.to_csv(tmp_path / "edited.csv", index=False, sep=";")
    found = flags_csv.read(store, tmp_path / "edited.csv")
    assert [line for line, _ in found.problems] == [2, 3]
    assert [c.after.note for c in found.changes] == ["fine"]
    with pytest.raises(UserError, match="lacks the columns"):
        (tmp_path / "other.csv").write_text("a,b\n1,2\n")
        flags_csv.read(store, tmp_path / "other.csv")
    assert store.list() == kept


def test_an_import_is_applied_whole_or_not_at_all(store):
    kept = [flag(store, image=f"i{n}") for n in range(2)]
    changes = [
        flags_csv.Change(kept[0], replace(kept[0], note="good"), False),
        flags_csv.Change(kept[1], replace(kept[1], reason="ugly"), False),
    ]
    with pytest.raises(UserError):
        flags_csv.apply(store, changes)
    assert store.list() == kept


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
