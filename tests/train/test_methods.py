"""Which weights learn under each method, what is saved of them, and what a machine is advised.

python -m pytest tests/test_methods.py
"""

from __future__ import annotations

import json

import models
import pytest
import torch

from explorer.model.captioner import load
from explorer.train import methods
from explorer.train.run import METHODS


def names(captioner, method) -> tuple[set[str], set[str]]:
    """(names of weights that learn in the vision tower, names of those elsewhere)."""
    learn = methods.prepare(captioner, method, 4, "base")
    tower = {id(weight) for weight in captioner.family.vision(captioner.model).parameters()}
    inside = {name for name, weight in learn.items() if id(weight) in tower}
    return inside, set(learn) - inside


@pytest.mark.parametrize("family", models.MAKERS)
def test_each_method_lets_its_weights_learn_and_no_others(bases, family):
    everything = sum(1 for _ in load(bases[family]).model.parameters())
    for method in METHODS:
        tower, rest = names(load(bases[family]), method)
        assert rest
        assert bool(tower) is not methods.freezes_vision(method)
        assert all(".lora_" in name for name in tower | rest) is methods.is_adapter(method)
        if method == "full":
            assert len(tower | rest) == everything


@pytest.mark.parametrize("method", ["lora", "lora-vision"])
@pytest.mark.parametrize("family", models.MAKERS)
def test_lora_changes_nothing_before_its_first_step_and_is_as_large_as_reckoned(bases, family, method):
    captioner = load(bases[family])
    captioner.dtype = None
    count = methods.lora_size(captioner.model, methods.target_names(captioner.model, captioner.family, method), 4)
    features = captioner.encode_pixels(torch.zeros(1, 3, 32, 32))
    ids, mask = captioner.ids(["a red square"])
    before = captioner.logits(features, ids, mask)
    learn = methods.prepare(captioner, method, 4, "base")
    captioner.model.eval()
    assert torch.equal(captioner.logits(features, ids, mask), before)
    assert sum(weight.numel() for weight in learn.values()) == count


@pytest.mark.parametrize("family", models.MAKERS)
def test_lora_leaves_the_layer_that_scores_the_vocabulary_alone(bases, family):
    captioner = load(bases[family])
    for name in methods.target_names(captioner.model, captioner.family, "lora-vision"):
        assert captioner.vocabulary not in captioner.model.get_submodule(name).weight.shape


def test_an_adapter_names_its_base_and_is_the_same_bytes_each_time(blip, tmp_path):
    for number in (1, 2):
        torch.manual_seed(0)
        captioner = load(blip)
        methods.prepare(captioner, "lora-vision", 4, "owner/base")
        methods.save_weights(captioner, "lora-vision", tmp_path / str(number))
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / n).iterdir()} for n in "12")
    assert one == two
    assert set(one) == {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads(one["adapter_config.json"])["base_model_name_or_path"] == "owner/base"


def test_a_saved_whole_model_opens_as_a_base(blip, tmp_path):
    captioner = load(blip)
    methods.prepare(captioner, "full", 4, "base")
    methods.save_weights(captioner, "full", tmp_path)
    again = load(str(tmp_path))
    assert again.vision_fingerprint() == captioner.vision_fingerprint()
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), captioner.model.parameters(), strict=True))


def test_weight_decay_spares_norms_and_biases(blip):
    model = load(blip).model
    weights = dict(model.named_parameters())
    decayed, spared = methods.decay_groups(weights, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(spared["params"]) == len(weights)
    spared_names = {name for name, weight in weights.items() if any(weight is s for s in spared["params"])}
    assert all(name in spared_names for name in weights if name.endswith(".bias") or "layer_norm" in name or "LayerNorm" in name)
    assert not any(name.endswith("query.weight") for name in spared_names)


@pytest.mark.parametrize(("size", "cuda"), [(9e6, False), (9e6, True), (224e6, False), (224e6, True), (470e6, False)])
def test_advice_is_a_known_method_with_a_reason_and_values_that_make_sense(size, cuda):
    advice = methods.advise(int(size), cuda)
    assert advice.method in METHODS
    assert f"{size / 1e6:.0f} M weights" in advice.reason
    assert 0 < advice.learning_rate < 0.1 and advice.batch_size >= 1
    assert advice.learning_rate == methods.rate_for(advice.method, int(size))


def test_a_large_model_without_a_gpu_learns_over_kept_features():
    assert methods.freezes_vision(methods.advise(int(224e6), cuda=False).method)
