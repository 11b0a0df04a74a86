"""Recipe: everything that decides the embedded base's weights; kept beside them as recipe.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The shape of the model, and each stage of its training: steps, pictures a step, learning rate.

    ``drawn`` and ``score_drawn`` count drawings among the pictures of a step. ``average`` is the decay a step of the
    moving average that is saved. ``samples``: captions drawn of each photo in the last stage.
    """

    image_size: int = 120
    patch_size: int = 12
    width: int = 256
    vision_layers: int = 6
    text_layers: int = 3
    vocabulary: int = 3500
    words: int = 900
    word_steps: int = 1000
    sentence_steps: int = 6000
    batch: int = 48
    drawn: int = 22
    captions_per_image: int = 2
    rate: float = 1e-3
    weight_decay: float = 0.05
    token_dropout: float = 0.1
    average: float = 0.9985
    score_steps: int = 100
    score_batch: int = 32
    score_drawn: int = 8
    samples: int = 5
    score_rate: float = 1.5e-4
    score_average: float = 0.99
    seed: int = 0
