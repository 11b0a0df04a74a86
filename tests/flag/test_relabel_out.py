"""A version leaves as a `datasets` folder or as a zip; how it goes to the Hub is tested in tests/hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures_helper import folder_of
from test_flags import flag

from explorer.data import dataset, sources
from explorer.data.images import image_id
from explorer.errors import UserError
from explorer.flag import relabel, relabel_out
from explorer.flag.flags import FlagStore

TONGUE = "a dog, its tongue out"


@pytest.fixture
def version(workspace, tmp_path) -> Path:
    root = folder_of(tmp_path / "pets", 4)
    flag(FlagStore(workspace), image=image_id(root / "good02.png"), caption="a ball", corrected_caption=TONGUE)
    return relabel.write(relabel.plan(dataset.read(root), FlagStore(workspace).list()), workspace)


def content(folder: Path) -> dict:
    return {e.image_id: e.references for e in dataset.read(folder).examples}


def test_the_saved_dataset_opens_with_datasets_and_comes_back_as_it_was(workspace, version, tmp_path):
    import datasets

    saved = relabel_out.save(version, tmp_path / "saved")
    rows = datasets.load_from_disk(str(saved))["train"].cast_column("image", datasets.Image(decode=False))
    assert [row["file_name"] for row in rows] == [f"good0{n}.png" for n in range(4)]
    assert all(row["image"]["bytes"] == (version / row["file_name"]).read_bytes() for row in rows)
    assert TONGUE in rows[2]["captions"] and relabel.read_manifest(saved) == relabel.read_manifest(version)
    assert content(sources.import_saved(saved, workspace, "again")) == content(version)
    with pytest.raises(UserError, match="something at .*saved already"):
        relabel_out.save(version, saved)


def test_the_zip_comes_back_as_it_was(workspace, version, tmp_path):
    archive = relabel_out.zipped(version, tmp_path / "version.zip")
    assert content(sources.import_zip(archive, workspace, "unzipped")) == content(version)
