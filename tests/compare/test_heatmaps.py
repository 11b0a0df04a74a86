"""Heat maps: kept, drawn, and the same word found in another caption."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from helpers_runs import example, make_images, make_run
from PIL import Image

from explorer.compare import heatmaps
from explorer.compare.columns import Shelf
from explorer.data.images import ImageError
from explorer.model.captions import Caption


@pytest.mark.parametrize(
    ("said", "place", "other", "found"),
    [
        ("a dog with a ball", 4, "a fox with a bone", (4, False)),
        ("a dog with a ball", 1, "a fox with a bone", (1, False)),
        ("a dog runs", 2, "a big dog running on grass", (3, True)),
        ("a dog and a dog", 4, "the dog saw a small dog", (5, True)),
        ("a dog and a dog", 1, "the dog saw a small dog", (1, True)),
        ("a brown dog sits", 1, "a dog sits", (1, False)),
        ("a dog", 1, "", (None, False)),
        ("", 0, "a dog", (None, False)),
        ("A Dog.", 1, "the dog", (1, True)),
    ],
)
def test_the_same_word_is_found_else_the_one_in_its_place(said, place, other, found):
    assert heatmaps.counterpart(said, place, other) == found


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_an_overlay_is_clear_where_the_map_is_low_and_strongest_at_its_peak():
    grid = np.zeros((4, 4), np.float32)
    grid[1, 2] = 1
    drawn = decoded(heatmaps.overlay(grid, 16))
    assert drawn.shape == (192, 192, 4)
    assert drawn[-1, 0, 3] == 0 and drawn[60:84, 108:132, 3].min() > 100
    assert drawn[..., 3].argmax() // 192 // 48 == 1


def test_overlays_share_one_scale():
    even = np.full((4, 4), 1 / 16, np.float32)
    assert decoded(heatmaps.overlay(even, 1))[96, 96, 3] > decoded(heatmaps.overlay(even, 8))[96, 96, 3] > 0


def test_the_legend_gets_lighter_from_little_to_much():
    colours = decoded(heatmaps.legend())[0].astype(int)
    light = colours[:, :3] @ (299, 587, 114)
    assert (np.diff(light) >= 0).all() and light[-1] > light[0]


def test_maps_are_made_once_and_kept_for_good(tmp_path, workspace, blip):
    paths = make_images(tmp_path / "pictures", 1)
    run = make_run(workspace.root, [example(paths[0], ["a red square"])], [["a red square"]], base=blip)
    shelf, caption = Shelf(workspace), Caption("a red square", ("a", "red", "square"), (0.9, 0.5, 0.1))
    made = heatmaps.of_caption(shelf, run, 0, "i", paths[0], caption)
    assert len(made) == 3 and made[0].grid.shape == (8, 8) and made[0].part == (0, 0, 1, 1)
    paths[0].unlink()
    again = heatmaps.of_caption(Shelf(workspace), run, 0, "i", paths[0], caption)
    assert all(np.array_equal(a.grid, b.grid) for a, b in zip(made, again, strict=True))
    with pytest.raises(ImageError):
        heatmaps.of_caption(shelf, run, 0, "i", paths[0], Caption("a blue square"))


def test_a_damaged_kept_map_is_made_anew(tmp_path, workspace, blip):
    paths = make_images(tmp_path / "pictures", 1)
    run = make_run(workspace.root, [example(paths[0], ["a red square"])], [["a red square"]], base=blip)
    shelf, caption = Shelf(workspace), Caption("a red square")
    made = heatmaps.of_caption(shelf, run, 0, "i", paths[0], caption)
    heatmaps.cache_file(shelf, run, 0, "i", caption.text).write_bytes(b"PK\x03\x04 torn")
    again = heatmaps.of_caption(shelf, run, 0, "i", paths[0], caption)
    assert np.allclose(made[0].grid, again[0].grid)
