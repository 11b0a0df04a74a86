"""From wrong references to right captions without a person: review, flag, relabel, fine-tune; on the embedded base."""

from __future__ import annotations

import planted
import pytest

from explorer.data import dataset
from explorer.flag import relabel
from explorer.workspace import Workspace


@pytest.fixture
def home(tmp_path) -> Workspace:
    return Workspace(tmp_path / "home")


SIZES = {"tongue": 60, "ball": 24, "neither": 16}, {"tongue": 10, "ball": 6, "neither": 4}


def test_a_planted_mistake_is_found_relabelled_and_unlearned(home, tmp_path):
    truths = planted.write(tmp_path / "data", *SIZES)
    loop = planted.Loop(home, tmp_path / "data", truths, epochs=6)
    run = loop.first_run()
    before = loop.wrong(run)
    assert len(before) > len(loop.affected) / 2, "the mistake was not learned, so nothing can be shown"
    assert loop.review(run) >= 0.9 * len(before)
    version = loop.relabelled()
    assert all(flag.status == "relabelled" for flag in loop.store.list())
    mended = {e.image_id: e.references for e in dataset.read(version).examples}
    assert not [i for i in before if any("ball in its mouth" in text for text in mended[i])]
    assert {row["image_id"] for row in relabel.read_manifest(version)["examples"]} == {f.image_id for f in loop.store.list()}
    after = loop.better_run(run, version)
    assert len(loop.wrong(after)) <= len(loop.affected) / 10
