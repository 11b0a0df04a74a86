"""Neighbours by a real tiny base: pictures of a kind find each other, and a caption of another kind is out of place."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_runs import as_caption, example, make_images, make_run

from explorer import files
from explorer.compare import columns, neighbours
from explorer.model.captioner import load
from explorer.model.features import FeatureStore
from explorer.train.run import Run


def kinds(count: int) -> tuple[list[dict], list[np.ndarray]]:
    """Images of two kinds, every other one, with what a base sees of them."""
    draw = np.random.default_rng(0)
    images = [{"image_id": f"i{n}", "references": [f"a {('cat', 'boat')[n % 2]} on the {('mat', 'lake')[n % 2]}"]} for n in range(count)]
    return images, [np.array([9.0, -9.0, 5.0]) * (n % 2) + draw.normal(0, 0.1, 3) for n in range(count)]


def test_images_that_look_alike_are_neighbours_and_none_is_its_own():
    images, seen = kinds(20)
    found = neighbours.nearest(images, seen)
    for place, image in enumerate(images):
        near = found[image["image_id"]]
        assert len(near) == neighbours.NEAR and image["image_id"] not in near
        assert all(int(other[1:]) % 2 == place % 2 for other in near)


def test_an_image_that_was_not_seen_or_has_no_references_is_nobody_s_neighbour():
    images, seen = kinds(20)
    seen[2], images[4] = None, {**images[4], "references": []}
    found = neighbours.nearest(images, seen)
    assert "i2" not in found and "i4" in found
    assert not {"i2", "i4"} & {other for near in found.values() for other in near}
    assert neighbours.nearest(images[:5], seen[:5]) == {}  # too few to have any


@pytest.fixture
def run(tmp_path, workspace, blip) -> Run:
    """24 images of dogs and cats by turns; the base says so of all but the last, which it calls a tuba."""
    told = [("a dog on the grass", "a cat in the snow")[n % 2] for n in range(24)]
    paths = make_images(tmp_path / "i", 24)
    examples = [example(path, [told[n]], "validation" if n < 16 else "train") for n, path in enumerate(paths)]
    return make_run(workspace.root, examples, [[*told[:15], "a tuba under bright rain"]], base=blip)


def test_they_are_looked_for_once_and_kept(workspace, run):
    shelf = columns.Shelf(workspace)
    assert neighbours.known(workspace, run) == {}
    assert list(neighbours.fill(shelf, run))[-1] == (24, 24)
    found = neighbours.known(workspace, run)
    assert set(found) == {row["image_id"] for row in run.examples()}
    assert list(neighbours.fill(columns.Shelf(workspace), run)) == [] and neighbours.known(workspace, run) == found
    values = files.read_json(run.folder / "run.json")
    files.write_json(run.folder / "run.json", {**values, "created": values["created"] + 60})
    assert neighbours.known(workspace, run) == {}  # another run of the same name


def test_a_caption_unlike_what_is_said_of_its_neighbours_agrees_least(workspace, run):
    list(neighbours.fill(columns.Shelf(workspace), run))
    images = run.examples("validation")
    captions = [*(as_caption(image["references"][0]) for image in images[:14]), None, as_caption("a tuba under bright rain")]
    found = neighbours.agreement(run, neighbours.known(workspace, run), images, captions)
    assert np.isnan(found[14]) and found[15] == 0 < np.mean(found[:14])
    assert np.isnan(neighbours.agreement(run, {}, images, captions)).all()


def test_a_picture_that_is_gone_costs_its_own_neighbours_only(workspace, run):
    rows = run.examples()
    files.write_jsonl(run.folder / "examples.jsonl", [{**rows[0], "path": "gone.png"}, *rows[1:]])
    list(neighbours.fill(columns.Shelf(workspace), run))
    assert set(neighbours.known(workspace, run)) == {row["image_id"] for row in rows[1:]}


def test_kept_features_spare_the_picture(workspace, run):
    rows = [{**row, "path": str(run.folder / row["path"])} for row in run.examples()]
    list(FeatureStore(workspace.cache, load(run.base(workspace))).fill(rows[:1]))
    files.write_jsonl(run.folder / "examples.jsonl", [{**row, "path": "gone.png"} if row == rows[0] else row for row in rows])
    list(neighbours.fill(columns.Shelf(workspace), run))
    assert set(neighbours.known(workspace, run)) == {row["image_id"] for row in rows}
