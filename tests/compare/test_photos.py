"""Photos dropped on Compare: kept once, taken out and put back, rows like any other."""

import pytest
from helpers_runs import example, make_images, make_run

from explorer.compare import columns, photos
from explorer.compare.comparison import View, build
from explorer.data.images import ImageError
from explorer.model import captions
from explorer.model.captions import Caption


@pytest.fixture
def dropped(tmp_path):
    return make_images(tmp_path / "dropped", 3)[-1]


def test_a_photo_is_no_row_until_it_is_kept_and_then_once(workspace, dropped):
    photo = photos.bring(workspace, dropped)
    assert photos.listed(workspace) == []
    photos.keep(workspace, photo)
    photos.keep(workspace, photo)
    [row] = photos.listed(workspace)
    assert (row["image_id"], row["file"], row["references"]) == (photo["image_id"], dropped.name, [])
    dropped.unlink()  # the original may go
    assert open(row["path"], "rb").read(4) == b"\x89PNG"


def test_a_photo_taken_out_comes_back_with_its_place(workspace, tmp_path):
    for path in make_images(tmp_path / "more", 3):
        photos.keep(workspace, photos.bring(workspace, path))
    before = photos.listed(workspace)
    photos.take_out(workspace, before[1]["image_id"])
    assert photos.listed(workspace) == [before[0], before[2]]
    photos.put_back(workspace, before[1]["image_id"])
    assert photos.listed(workspace) == before


def test_a_file_that_is_no_picture_is_refused_and_leaves_nothing(workspace, tmp_path):
    (tmp_path / "letter.png").write_text("dear all")
    with pytest.raises(ImageError, match="letter.png"):
        photos.bring(workspace, tmp_path / "letter.png")
    assert not (workspace.cache / "photos").exists()


def test_a_kept_photo_is_the_last_row_with_the_captions_it_got(workspace, tmp_path, dropped):
    examples = [example(path, ["a dog"]) for path in make_images(tmp_path / "photos", 2)]
    run = make_run(tmp_path, examples, [["a"] * 2, ["b"] * 2])
    photo = photos.bring(workspace, dropped)
    photos.keep(workspace, photo)
    comparison = build([run], workspace)
    captions.append(columns.cache_file(workspace, run, 1, comparison.decoding), photo["image_id"], Caption("a blue square"))
    table = build([run], workspace)
    assert [row.file for row in table.page(View()).rows] == ["photo-000.png", "photo-001.png", dropped.name]
    assert [cell.caption.text if cell.caption else None for cell in table.row(2).cells] == [None, "a blue square"]
    assert table.learning[2] == "unknown" and 2 not in table.select(View(frozenset(["wrong"])))
    assert [(c.key, [i["file"] for i in images]) for c, images in table.missing()] == [("pets@0", [dropped.name])]
