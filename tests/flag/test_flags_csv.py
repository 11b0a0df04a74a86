"""An edited CSV comes back: matched by flag id, shown before it is applied, nothing by half."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from test_flags import flag

from explorer.errors import UserError
from explorer.flag import flags_csv
from explorer.flag.flags import FlagStore


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


@pytest.fixture
def kept(store):
    return [flag(store, image=f"i{n}") for n in range(4)]


def edited(store, path, change, **options):
    """The store's CSV after ``change(table)``, written again by pandas."""
    table = pd.read_csv(store.workspace.flags_csv, dtype=str, keep_default_na=False)
    table = change(table) if change(table) is not None else table
    table.to_csv(path, index=False, **options)
    return path


def test_an_edited_csv_is_shown_as_changes_before_it_is_applied(store, kept, tmp_path):
    def change(table):
        table.loc[0, "corrected_caption"] = "a tongue, out"
        table.loc[1, "status"] = "dismissed"

    path = edited(store, tmp_path / "edited.csv", change)
    found = flags_csv.read(store, path)
    assert [(c.line, c.fields(), c.conflicts) for c in found.changes] == [
        (2, [("corrected_caption", "", "a tongue, out")], ()),
        (3, [("status", "open", "dismissed")], ()),
    ]
    assert found.unchanged == 2 and store.list() == kept
    assert flags_csv.apply(store, found.changes, who="anna") == 2
    assert [(f.corrected_caption, f.status) for f in store.list()[:2]] == [("a tongue, out", "open"), ("", "dismissed")]
    assert store.undo("anna") == "import of 2 flags" and store.list() == kept
    assert flags_csv.read(store, path) == found


def test_what_both_sides_changed_differently_is_a_conflict_and_the_rest_is_merged(store, kept, tmp_path):
    def change(table):
        table.loc[0, "status"] = "dismissed"
        table.loc[1, "corrected_caption"] = "theirs"
        table.loc[2, "corrected_caption"] = "the same"

    path = edited(store, tmp_path / "edited.csv", change)
    store.edit(kept[0].flag_id, note="mine, another field")
    store.edit(kept[1].flag_id, corrected_caption="mine", note="kept")
    store.edit(kept[2].flag_id, corrected_caption="the same")
    found = flags_csv.read(store, path)
    assert [(c.after.image_id, c.conflicts) for c in found.changes] == [("i0", ()), ("i1", ("corrected_caption",))]
    before = store.list()
    with pytest.raises(UserError, match="Line 3 was changed here, too: choose whose corrected caption stays"):
        flags_csv.apply(store, found.changes)
    assert store.list() == before
    assert flags_csv.apply(store, found.changes, {kept[1].flag_id: flags_csv.MINE}) == 1
    assert (store.list()[0].status, store.list()[0].note) == ("dismissed", "mine, another field")
    assert store.list()[1] == before[1]
    store.undo()
    assert flags_csv.apply(store, found.changes, {kept[1].flag_id: flags_csv.THEIRS}) == 2
    assert (store.list()[1].corrected_caption, store.list()[1].note) == ("theirs", "kept")


def test_a_row_whose_time_a_spreadsheet_changed_is_a_conflict_where_it_differs(store, kept, tmp_path):
    def change(table):
        table["updated"] = "11/24/26 15:00"
        table.loc[3, "note"] = "new"

    found = flags_csv.read(store, edited(store, tmp_path / "edited.csv", change))
    assert [(c.after.image_id, c.conflicts) for c in found.changes] == [("i3", ("note",))]
    assert found.unchanged == 3


def test_any_change_can_be_left_out_and_a_removed_flag_comes_back(store, kept, tmp_path):
    path = edited(store, tmp_path / "edited.csv", lambda table: table.__setitem__("note", "seen"))
    store.remove([kept[0].flag_id])
    found = flags_csv.read(store, path)
    assert [c.before is None for c in found.changes] == [True, False, False, False]
    assert flags_csv.apply(store, found.changes, {kept[1].flag_id: flags_csv.MINE}) == 3
    assert [f.note for f in store.list()] == ["seen", "", "seen", "seen"]


def test_damaged_and_unknown_lines_are_told_by_number_and_the_rest_is_used(store, kept, tmp_path):
    def change(table):
        table.loc[0, "reason"] = "ugly"
        table.loc[1, "references"] = "[broken"
        table.loc[2, "caption"] = "another"
        table.loc[3, "note"] = "fine"
        more = [dict(table.loc[3]), {**table.loc[3], "flag_id": "nobody"}, {**table.loc[3], "flag_id": ""}]
        return pd.concat([table, pd.DataFrame(more)])

    found = flags_csv.read(store, edited(store, tmp_path / "edited.csv", change, sep=";"))
    assert [c.after.note for c in found.changes] == ["fine"]
    assert [(line, words[:24]) for line, words in found.problems] == [
        (2, "The reason 'ugly' is not"),
        (3, "has references that are "),
        (4, f"names the flag {kept[2].flag_id!r}"[:24]),
        (6, "names the same flag as l"),
        (7, "names the flag 'nobody',"),
        (8, "has no flag id"),
    ]


def test_a_lost_quote_costs_its_own_line_and_not_those_after_it(store, kept, tmp_path):
    lines = store.workspace.flags_csv.read_bytes().decode().split("\r\n")
    lines[2] = lines[2].replace('"wrong object"', '"wrong object')
    lines[3] = lines[3].replace('"","","open"', '"","","dismissed"')
    (tmp_path / "edited.csv").write_bytes("\r\n".join(lines).encode())
    found = flags_csv.read(store, tmp_path / "edited.csv")
    assert [line for line, _ in found.problems] == [3]
    assert [(c.line, c.after.status) for c in found.changes] == [(4, "dismissed")] and found.unchanged == 2


def test_what_is_no_csv_of_flags_is_a_sentence(store, kept, tmp_path):
    path = tmp_path / "other.csv"
    for data, words in ((b"a,b\n1,2\n", "lacks the columns"), (b"", "lacks the columns"), ("flag_id é".encode("latin-1"), "not UTF-8")):
        path.write_bytes(data)
        with pytest.raises(UserError, match=words):
            flags_csv.read(store, path)
    assert store.list() == kept


def test_an_import_is_applied_whole_or_not_at_all(store, kept):
    from dataclasses import replace

    changes = [
        flags_csv.Change(2, kept[0], replace(kept[0], note="good")),
        flags_csv.Change(3, kept[1], replace(kept[1], reason="ugly")),
    ]
    with pytest.raises(UserError):
        flags_csv.apply(store, changes)
    assert store.list() == kept


def test_the_example_in_the_docs_is_a_finished_session_that_comes_in_whole(store):
    path = Path(__file__).parents[2] / "explorer" / "flag" / "flags-example.csv"
    found = flags_csv.read(store, path)
    assert found.problems == () and flags_csv.apply(store, found.changes) == len(found.changes) > 30
    assert {flag.status for flag in store.list()} == {"relabelled", "dismissed"}
