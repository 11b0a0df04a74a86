"""Did it help: the flagged images before and after, apart from all others; and the run that is started on the new version."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers_runs import example, make_images, make_run
from pictures_helper import folder_of

from explorer import files
from explorer.data import dataset
from explorer.errors import UserError
from explorer.flag import helped, next_run, relabel
from explorer.flag.flags import FlagStore
from explorer.flag.helped import BROKEN, FIXED, KEPT, WRONG
from explorer.train.run import RunConfig
from explorer.train.run import create as create_run

BALL, TONGUE, OTHER = "a dog with a ball in its mouth", "a dog with its tongue out", "a cat sleeps on a red bed"
BEFORE = [BALL, BALL, BALL, OTHER, OTHER, "no idea"]
AFTER = [TONGUE, BALL, "a sheep", OTHER, "a dog runs far away", "no idea"]
TRUTH = [TONGUE, TONGUE, TONGUE, OTHER, OTHER, OTHER]


@pytest.fixture
def store(workspace):
    return FlagStore(workspace)


@pytest.fixture
def runs(workspace, tmp_path):
    """A run that says BEFORE, and one on a relabelled version of its data that says AFTER; the first three are flagged."""
    rows = [example(path, [text]) for path, text in zip(make_images(tmp_path / "photos", 6), TRUTH, strict=True)]
    old = make_run(workspace.root, rows, [["x"] * 6, BEFORE], name="old")
    new = make_run(workspace.root, rows, [["x"] * 6, AFTER], name="new")
    version = workspace.datasets / "pets-relabelled"
    version.mkdir(parents=True)
    flags = [{"flag_id": "f", "run": "old", "checkpoint": "epoch-1", "caption": BALL, "corrected_caption": TONGUE}]
    examples = [{"file": r["file"], "image_id": r["image_id"], "before": [BALL], "after": [TONGUE], "flags": flags} for r in rows[:3]]
    source = {"name": "pets", "path": str(tmp_path / "photos"), "fingerprint": "x"}
    files.write_json(version / relabel.MANIFEST, {"name": version.name, "made": 1.0, "from": source, "rule": "mistaken", "changed": 3, "examples": examples})
    values = files.read_json(new.folder / "run.json")
    values["config"]["dataset"] = str(version)
    files.write_json(new.folder / "run.json", values)
    return old, type(new)(new.folder)


def test_each_image_is_fixed_still_wrong_newly_broken_or_as_before(workspace, runs):
    found = helped.helped(workspace, runs[1])
    assert [o.verdict for o in found.outcomes] == [FIXED, WRONG, WRONG, KEPT, BROKEN, KEPT]
    assert [o.flagged for o in found.outcomes] == [True] * 3 + [False] * 3
    assert (found.before, found.after) == (("old", 1), ("new", 1))
    assert found.counts == {FIXED: 1, WRONG: 2, BROKEN: 1, KEPT: 2}


def test_scores_of_the_flagged_part_and_of_the_rest_are_apart(workspace, runs):
    found = helped.helped(workspace, runs[1])
    before, after = found.scores(True)
    assert (before["images"], after["images"]) == (3, 3) and after["ROUGE-L"] > before["ROUGE-L"]
    before, after = found.scores(False)
    assert (before["images"], after["images"]) == (3, 3) and after["ROUGE-L"] < before["ROUGE-L"]


def test_images_without_a_caption_are_told(workspace, runs):
    old, new = runs
    (new.folder / "captions" / new.config.decoding.key / "epoch-1.jsonl").unlink()
    found = helped.helped(workspace, new)
    assert found.outcomes == () and len(found.missing_after) == 6 and found.missing_before == ()


def test_a_run_on_no_version_or_without_an_epoch_is_a_sentence(workspace, runs):
    old, new = runs
    with pytest.raises(UserError, match="'old' did not learn from a relabelled dataset"):
        helped.helped(workspace, old)
    (new.folder / "epoch-1" / "checkpoint.json").unlink()
    with pytest.raises(UserError, match="'new' has no finished epoch yet"):
        helped.helped(workspace, new)
    assert helped.runs_on_versions([old, new]) == []


# --- the next run -----------------------------------------------------------------------------------------


def test_the_next_run_learns_from_the_new_version_with_the_same_split(workspace, store, tmp_path):
    data = dataset.read(folder_of(tmp_path / "pets", 10))
    config = RunConfig("first", "blip-mini", str(data.root), epochs=2, seed=3, learning_rate=1e-3)
    from explorer.train import plan

    run = plan.make_run(workspace, config, data)
    first = run.examples("train")[0]
    assert next_run.flagged_datasets(workspace, store.list()) == [] and next_run.flagged_run(workspace, store.list()) is None
    store.flag("first", "epoch-1", first["image_id"], first["file"], first["references"], BALL, "wrong object", TONGUE)
    assert next_run.flagged_run(workspace, store.list()) == run
    (folder,) = next_run.flagged_datasets(workspace, store.list())
    version = relabel.write(relabel.plan(next_run.read(folder, workspace), store.list()), workspace)
    new = next_run.make(workspace, run, version)
    assert new.name == "first-on-pets-relabelled"
    assert replace(new.config, name="first", dataset=str(data.root)) == run.config
    sides = lambda r: [(row["image_id"], row["split"]) for row in r.examples()]  # noqa: E731
    assert sides(new) == sides(run)
    assert next(row for row in new.examples() if row["image_id"] == first["image_id"])["references"][-1] == TONGUE
    assert next_run.flagged_datasets(workspace, store.list()) == [version]


def test_a_run_whose_dataset_is_gone_offers_none(workspace, store):
    create_run(workspace.root / "lost", RunConfig("lost", "blip-mini", "/nowhere/at/all"), [])
    store.flag("lost", "base", "i", "a", [], BALL, "other", TONGUE)
    store.flag("../evil", "base", "i", "a", [], BALL, "other", TONGUE)
    assert next_run.flagged_datasets(workspace, store.list()) == []
