"""Relevance under a real tiny base: what it is, kept, the same whatever the order."""

from __future__ import annotations

from math import log, prod

import pytest
import torch
from helpers_runs import example, make_run
from models import draw_shapes

from explorer import files
from explorer.compare import columns, relevance
from explorer.compare.relevance import Relevance
from explorer.model.captioner import load


@pytest.fixture
def drawn(tmp_path, workspace, blip):
    """A run over 12 drawn shapes whose columns say the truth."""
    paths = sorted((draw_shapes(tmp_path / "shapes") / "validation").glob("*.png"))
    texts = [" ".join(["a", *path.stem.split("-")[:2]]) for path in paths]
    run = make_run(workspace.root, [example(path, [text]) for path, text in zip(paths, texts, strict=True)], [texts], base=blip)
    images = [{**row, "path": str(run.folder / row["path"])} for row in run.examples("validation")]
    return run, images, list(zip(images, texts, strict=True))


def test_the_gain_is_the_log_of_how_much_likelier_the_own_image_makes_the_caption(blip):
    captioner = load(blip)
    torch.manual_seed(0)
    own, *others = (60 * torch.randn(1, 17, 32) for _ in range(4))  # weights of chance hardly heed real features
    found = relevance.of(captioner, own, others, "a red square")
    ids, mask = captioner.ids(["a red square"])

    def chance(features) -> float:  # the product over tokens, one by one
        with torch.no_grad():
            rows = captioner.logits(features, ids, mask).softmax(-1)[0]
        return prod(float(rows[at, token]) for at, token in enumerate(ids[0, 1:]))

    gain = log(chance(own) / (sum(map(chance, others)) / 3)) / 4
    assert abs(gain) > 0.01 and found.gain == pytest.approx(gain, abs=1e-4)
    assert found.rank == 1 + sum(chance(features) > chance(own) for features in others) and found.among == 4


def test_what_was_worked_out_is_kept_and_asks_no_model_again(workspace, drawn):
    run, images, said = drawn
    shelf = columns.Shelf(workspace)
    steps = list(relevance.fill(shelf, run, images, said))
    assert steps[-1] == (len(said), len(said)) and len(steps) == len(said)
    known = relevance.known(workspace, run, images)
    assert set(known) == {(image["image_id"], text) for image, text in said}
    assert all(isinstance(r, Relevance) and 1 <= r.rank <= r.among == 12 for r in known.values())
    assert list(relevance.fill(columns.Shelf(workspace), run, list(reversed(images)), said)) == []


def test_another_run_of_the_same_name_starts_anew(workspace, drawn):
    run, images, said = drawn
    list(relevance.fill(columns.Shelf(workspace), run, images, said[:2]))
    values = files.read_json(run.folder / "run.json")
    files.write_json(run.folder / "run.json", {**values, "created": values["created"] + 60})
    assert relevance.known(workspace, run, images) == {}


def test_a_picture_that_is_gone_costs_its_own_relevance_only(workspace, drawn):
    run, images, said = drawn
    images[0] = {**images[0], "path": images[0]["path"] + ".gone"}
    said[0] = (images[0], said[0][1])
    list(relevance.fill(columns.Shelf(workspace), run, images, said))
    known = relevance.known(workspace, run, images)
    assert (images[0]["image_id"], said[0][1]) not in known and len(known) == len(said) - 1


def test_the_sample_depends_on_the_images_and_not_on_their_order(drawn):
    _, images, _ = drawn
    assert relevance.sample(images, 5) == relevance.sample(images[::-1], 5) and len(relevance.sample(images, 5)) == 5
