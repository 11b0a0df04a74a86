"""Learning from scores: likelier captions are the better ones."""

from __future__ import annotations

import math

import pytest
import torch

from explorer.pretrain.rewards import advantages, draw_captions, score_loss
from explorer.pretrain.stages import precision


def test_a_caption_is_measured_against_the_others_of_its_image():
    assert advantages(torch.tensor([1.0, 0.0, 0.5, 0.5]), 2).tolist() == [1.0, -1.0, 0.0, 0.0]


def test_the_loss_is_minus_the_gained_log_probability_a_token(blip):
    from explorer.model.captioner import load

    captioner = load(blip)
    features = captioner.encode_pixels(torch.randn(1, 3, *[captioner.model.config.vision_config.image_size] * 2)).detach()
    ids, mask = captioner.ids(["a red square", "a blue circle"])
    gain, pad = torch.tensor([1.0, -0.5]), captioner.tokenizer.pad_token_id
    each = torch.stack([captioner.loss_sum(features, ids[row : row + 1], mask[row : row + 1])[0] for row in range(2)])
    expected = (each * gain).sum() / mask[:, 1:].sum()
    assert score_loss(captioner.model, features, ids, gain, pad).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_step_makes_the_better_caption_likelier(blip):
    from explorer.model.captioner import load

    captioner = load(blip)
    model, pad = captioner.model, captioner.tokenizer.pad_token_id
    features = captioner.encode_pixels(torch.randn(1, 3, *[model.config.vision_config.image_size] * 2)).detach()
    ids, mask = captioner.ids(["a red square", "a blue circle"])

    def chance(row: int) -> float:
        return -captioner.loss_sum(features, ids[row : row + 1], mask[row : row + 1])[0].item()

    before = chance(0) - chance(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    score_loss(model, features, ids, torch.tensor([1.0, -1.0]), pad).backward()
    optimizer.step()
    assert chance(0) - chance(1) > before and math.isfinite(before)


def test_drawn_captions_differ_and_begin_with_the_start_token(blip):
    from explorer.model.captioner import load

    captioner = load(blip)
    features = captioner.encode_pixels(torch.randn(2, 3, *[captioner.model.config.vision_config.image_size] * 2)).detach()
    torch.manual_seed(0)
    ids = draw_captions(captioner.model, features, 4, captioner.start, captioner.end, captioner.tokenizer.pad_token_id)
    assert ids.shape[0] == 8 and set(ids[:, 0].tolist()) == {captioner.start}
    assert len({tuple(row) for row in ids.tolist()}) > 1


def test_weights_that_drew_captions_still_learn_in_half_precision(blip):
    from explorer.model.captioner import load

    captioner = load(blip)
    model, pad = captioner.model, captioner.tokenizer.pad_token_id
    features = captioner.encode_pixels(torch.randn(2, 3, *[model.config.vision_config.image_size] * 2)).detach()
    with precision(torch.device("cpu"), torch.bfloat16):
        ids = draw_captions(model, features, 2, captioner.start, captioner.end, pad)
        score_loss(model, features, ids, torch.tensor([1.0, -1.0, 0.5, -0.5]), pad).backward()
    query = next(weight for name, weight in model.named_parameters() if name.endswith("attention.self.query.weight"))
    assert query.grad is not None and query.grad.abs().sum() > 0
