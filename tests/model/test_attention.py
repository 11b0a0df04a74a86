"""Where a captioner looked: maps of real tiny models of each family, and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import picture

from explorer.errors import UserError
from explorer.model import attention
from explorer.model.captioner import load

TEXT = {"blip": "a red square", "git": "the blue circle on white", "vision-encoder-decoder": "a red square"}


@pytest.fixture(scope="module")
def captioners(bases):
    return {name: load(base) for name, base in bases.items()}


def features(captioner, seed: int = 3):
    return captioner.encode([picture(seed)])


@pytest.mark.parametrize("family", TEXT)
def test_every_word_has_a_map_over_the_patches_that_sums_to_one(captioners, family):
    maps = attention.word_maps(captioners[family], features(captioners[family]), TEXT[family])
    assert maps.shape == (len(TEXT[family].split()), 4, 4)
    assert np.allclose(maps.sum((1, 2)), 1, atol=1e-5) and (maps >= 0).all()


@pytest.mark.parametrize("family", TEXT)
def test_maps_leave_the_model_as_it_was(captioners, family):
    captioner = captioners[family]
    before = captioner.caption(features(captioner))
    attention.word_maps(captioner, features(captioner), TEXT[family])
    assert captioner.caption(features(captioner)) == before
    assert all(weight.grad is None for weight in captioner.model.parameters())
    assert not any(module._forward_hooks for module in captioner.model.modules())


@pytest.mark.parametrize("family", TEXT)
def test_recorded_attention_is_a_share_of_all_that_is_looked_at(captioners, family):
    captioner = captioners[family]
    tokens = captioner.ids([TEXT[family]])[0][0].tolist()[1:-1]
    recorded = attention.record(captioner, features(captioner), tokens)
    assert len(recorded.attention) == 2
    for rows in recorded.attention:
        assert rows.shape[0] == len(tokens) and rows.shape[-1] == 17
        total = rows.sum(-1)
        assert (total <= 1 + 1e-5).all() and (family == "git" or torch.allclose(total, torch.ones_like(total), atol=1e-5))


def test_a_gradient_is_what_the_score_changes_by(captioners):
    """The features are moved along their gradient through one layer's attention: the score rises as foretold."""
    captioner = captioners["blip"]
    tokens = captioner.ids(["a red square"])[0][0].tolist()[1:-1]
    recorded = attention.record(captioner, features(captioner), tokens)
    kept = [layer.crossattention.self for layer in captioner.model.text_decoder.bert.encoder.layer]
    step, token = 1e-3, 1
    ids = torch.tensor([[captioner.start, *tokens]])

    def score(change) -> float:
        def add(module, inputs, output):  # what the layer hands on is attention times values: linear in attention
            n, length, width = output[0].shape
            values = module.value(features(captioner)).view(1, 17, module.num_attention_heads, -1).transpose(1, 2)
            return output[0] + (change @ values).transpose(1, 2).reshape(n, length, width), output[1]

        hook = kept[0].register_forward_hook(add)
        try:
            with torch.no_grad():
                return float(captioner.logits(features(captioner), ids, torch.ones_like(ids))[0, token, tokens[token]])
        finally:
            hook.remove()

    gradient = recorded.gradient[0][token : token + 1]
    rise = score(step * gradient) - score(0 * gradient)
    assert rise == pytest.approx(step * float((gradient**2).sum()), rel=0.05)


def test_a_word_sees_nothing_of_what_comes_after_it(captioners):
    captioner = captioners["blip"]
    short = attention.word_maps(captioner, features(captioner), "a red")
    long = attention.word_maps(captioner, features(captioner), "a red square on the")
    assert np.allclose(short, long[:2], atol=1e-5)


def test_a_word_of_several_tokens_has_the_mean_of_their_maps(captioners):
    captioner = captioners["vision-encoder-decoder"]
    text = "a zebra"
    tokens = captioner.ids([text])[0][0].tolist()[1:-1]
    assert len(tokens) > 2
    rows = attention.on_grid(attention.METHODS[attention.PAGE](attention.record(captioner, features(captioner), tokens)).numpy())
    mean = rows[1:].mean(0)
    assert np.allclose(attention.word_maps(captioner, features(captioner), text)[1], mean / mean.sum(), atol=1e-5)


def test_an_empty_caption_has_no_maps(captioners):
    captioner = captioners["blip"]
    assert attention.word_maps(captioner, features(captioner), "").shape == (0, 4, 4)


def test_features_that_form_no_square_are_told(captioners):
    with pytest.raises(UserError, match="form no square"):
        attention.word_maps(captioners["blip"], features(captioners["blip"])[:, :12], "a red square")


def test_two_looks_tell_halves_of_a_patch_apart():
    first, second = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    first[0, 0] = second[0, 0] = 1  # the second picture was moved up and left: its first patch begins half a patch in
    both = attention.two_looks(first, second)
    assert both.shape == (4, 4) and both.sum() == pytest.approx(1)
    assert np.unravel_index(both.argmax(), both.shape) == (1, 1) and (both == both.max()).sum() == 1


def test_a_moved_picture_begins_half_a_patch_further(captioners):
    pixels = captioners["blip"].pixels([picture(5)])
    shifted = attention.moved(pixels, 4, 4)
    assert shifted.shape == pixels.shape and torch.equal(shifted[..., :-4, :-4], pixels[..., 4:, 4:])


@pytest.mark.parametrize("family", TEXT)
def test_a_picture_has_a_fine_map_for_each_word(captioners, family):
    maps = attention.picture_maps(captioners[family], picture(3), TEXT[family])
    assert maps.shape == (len(TEXT[family].split()), 8, 8) and np.allclose(maps.sum((1, 2)), 1, atol=1e-5)


def test_a_processor_that_cuts_the_middle_out_says_which_part_it_saw(captioners):
    whole, cut = captioners["blip"].processor, captioners["git"].processor
    assert attention.seen_part(whole, 300, 200) == (0, 0, 1, 1)
    assert attention.seen_part(cut, 300, 200) == pytest.approx((1 / 6, 0, 5 / 6, 1))
    assert attention.seen_part(cut, 200, 300) == pytest.approx((0, 1 / 6, 1, 5 / 6))
