"""Learning from a teacher: what makes the loss fall, and what does not matter to it."""

from __future__ import annotations

import torch

from explorer.pretrain.teacher import CHANNELS, CLASSES, TaughtHead


def taught(images: int = 3, patches: int = 4):
    torch.manual_seed(0)
    return torch.randn(images, CLASSES), torch.randn(images, patches, CHANNELS)


def test_what_all_pictures_share_is_not_learned():
    head, states, (classes, features) = TaughtHead(8), torch.randn(3, 5, 8), taught()
    shifted = features + torch.randn(CHANNELS)
    assert torch.allclose(head.loss(states, (classes, features)), head.loss(states, (classes, shifted)), atol=1e-5)


def test_the_loss_falls_to_what_the_teacher_says():
    head, states, lesson = TaughtHead(32), torch.randn(3, 5, 32), taught()
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    first = head.loss(states, lesson)
    for _ in range(60):
        optimizer.zero_grad()
        loss = head.loss(states, lesson)
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * first


def test_patches_are_compared_in_their_places():
    head, states, (classes, features) = TaughtHead(16), torch.randn(2, 5, 16), taught(2)
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for _ in range(40):
        optimizer.zero_grad()
        head.loss(states, (classes, features)).backward()
        optimizer.step()
    assert head.loss(states, (classes, features)) < head.loss(states, (classes, features.flip(1)))
