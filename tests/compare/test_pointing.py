"""Pointing: boxes of scenes drawn again, peaks of maps, and the table that is printed."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_runs import example, make_run

from explorer import scenes
from explorer.compare import pointing
from explorer.errors import UserError


def test_the_thing_a_word_names():
    assert [pointing.thing_of(word) for word in ("Dog", "kitten", "balls", "yarn", "tongue", "grass", "runs", "")] == [
        "dog", "cat", "ball", "yarn", "tongue", None, None, None,
    ]  # fmt: skip


def test_a_peak_is_found_between_patches():
    grid = np.zeros((10, 10), np.float32)
    grid[2, 7] = 1
    assert pointing.peak(grid) == pytest.approx((0.75, 0.25), abs=0.02)
    grid[2, 6] = 1
    assert pointing.peak(grid)[0] == pytest.approx(0.7, abs=0.03)
    assert pointing.lies_in(grid, (0.6, 0.2, 0.8, 0.3)) and not pointing.lies_in(grid, (0.0, 0.0, 0.5, 0.5))


@pytest.fixture
def drawn(tmp_path, workspace, blip):
    """A run over six scenes as the dataset of the demo holds them, its captions their first references."""
    folder = scenes.write(tmp_path / "scenes", train=2, validation=4, size=48)
    rows = []
    for path in sorted(folder.rglob("*.png")):
        number = 2 * int(path.stem.split("-")[1]) + (path.parent.name == "validation")
        truth = scenes.scene(number, "pets", 48)[1]
        rows.append({**example(path, truth.references), "file": f"{path.parent.name}/{path.name}"})
    return make_run(workspace.root, rows, [[row["references"][0] for row in rows]], base=blip)


def test_boxes_are_those_of_the_scene_drawn_again(drawn):
    row = drawn.examples("validation")[0]
    picture, boxes = pointing.drawn_again(drawn, row)
    number = 2 * int(row["file"][-9:-4]) + row["file"].startswith("validation")
    truth = scenes.scene(number, "pets", 48)[1]
    assert picture.size == (48, 48)
    assert boxes == {thing: tuple(side / 48 for side in box) for thing, box in truth.boxes.items()}


def test_every_method_is_measured_over_the_words_that_name_a_thing(workspace, drawn):
    lines = list(pointing.describe(workspace, "pets"))
    named = sum(
        pointing.thing_of(word) in pointing.drawn_again(drawn, row)[1]
        for row in drawn.examples("validation")
        for word in row["references"][0].split()
    )
    page = next(line for line in lines if "(the page's)" in line)
    assert page.split()[-1] == str(named) and "base" in lines[1]
    assert sum("attention" in line for line in lines) == len(pointing.METHODS) + 1 and any("occlusion" in line for line in lines)


def test_pictures_that_are_no_scenes_or_other_ones_are_told(drawn):
    row = drawn.examples("validation")[0]
    with pytest.raises(UserError, match="photo.jpg is no drawn scene"):
        pointing.drawn_again(drawn, {**row, "file": "photo.jpg"})
    with pytest.raises(UserError, match="demo --rebuild"):
        pointing.drawn_again(drawn, {**row, "file": "validation/pets-00099.png"})
