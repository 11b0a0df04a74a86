"""Recipe: everything that decides the embedded base's weights; kept beside them as recipe.json."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """The shape of the model, and each stage of its training: steps, pictures a step, learning rate.

    ``drawn`` and ``score_drawn`` count drawings among the pictures of a step; ``fresh`` of a step are new, the others
    are taken from the ``kept`` newest. ``teacher`` names the network of teacher.py; empty: none. ``average`` is the
    decay a step of the moving average that is saved. ``vision_share``: the learning rate of the vision tower once it
    has learned to see, as a share of the others'. In the last stage a pass shows photos
    whose captions name a pet ``pet_times``, others once, and ``samples`` captions are drawn of each.
    """

    image_size: int = 128
    patch_size: int = 16
    width: int = 256
    vision_layers: int = 6
    text_layers: int = 3
    vocabulary: int = 3500
    words: int = 900
    teacher: str = "efficientnet-lite0"
    sight_steps: int = 4000
    sight_batch: int = 768
    sentence_steps: int = 1200
    batch: int = 512
    drawn: int = 232
    fresh: int = 24
    kept: int = 100_000
    captions_per_image: int = 2
    rate: float = 1e-3
    vision_share: float = 0.5
    weight_decay: float = 0.05
    token_dropout: float = 0.1
    average: float = 0.9985
    score_steps: int = 100
    score_batch: int = 128
    score_drawn: int = 32
    samples: int = 5
    score_rate: float = 1.5e-4
    score_average: float = 0.98
    pet_times: int = 1
    seed: int = 0


def advised(cuda: bool, again: bool) -> Recipe:
    """The recipe of the shipped base: its first training on a GPU, and ``again`` what follows from its weights.

    A CPU takes small steps: it cannot afford the teacher beside the sentences, nor many new drawings.
    """
    recipe = Recipe() if cuda else replace(Recipe(), sight_batch=48, batch=48, drawn=16, fresh=8, kept=20_000, score_batch=32, score_drawn=8)
    if again:
        recipe = replace(recipe, teacher="", words=0, rate=6e-4, vision_share=0.3, sentence_steps=3000, score_steps=450, pet_times=3)
    return recipe
