"""The three stages of the embedded base's training, and the loop that walks through them.

*Sight first*: the vision tower learns what a teacher sees in the photos (teacher.py) and, by a throw-away linear head,
which words their captions use (weakly supervised, as Joulin et al., "Learning Visual Features from Large Weakly
Supervised Data", 2016), because a small vision tower learns slowly from sentences alone. *Sentences after*: the whole
BLIP learns captions of photos and drawings, the two heads kept as small auxiliary losses. *Scores at last*: see
rewards.py.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from explorer.model.captioner import half_type
from explorer.pretrain import rewards
from explorer.pretrain.data import Drawings, drawn, plain
from explorer.pretrain.model import DEC, MASK, PAD, SEP, WordsHead, encode_texts, normalise
from explorer.pretrain.recipe import Recipe
from explorer.pretrain.shelf import Batch, Shelf
from explorer.pretrain.teacher import SIDE, TaughtHead, Teacher
from explorer.scoring.cider import Cider

WORDS_WEIGHT = 0.02  # brings the sum over some 900 words to the size of a caption loss
TAUGHT_WEIGHT = 0.5  # of the teacher beside the sentences
DRAWN_WEIGHT = 0.5  # of the drawings' caption loss beside the photos' scores: they are to be kept, not learned
SAVED_EVERY = 100
PETS = {"dog", "dogs", "puppy", "puppies", "cat", "cats", "kitten"}
KEPT = ("model", "head", "taught", "average")
"""Parts of a training that its state on disk holds, beside the optimizer."""


@dataclass
class Training:
    """A training under way: the model, what it learns from, and where it stands in which stage."""

    recipe: Recipe
    model: nn.Module
    head: WordsHead
    taught: TaughtHead
    tokenizer: object
    captions: list[list[str]]
    photos: Shelf
    drawings: Shelf
    device: torch.device
    stage: str = ""
    step: int = 0
    average: AveragedModel | None = None

    @cached_property
    def reward(self) -> Cider:
        return Cider(self.captions)

    @cached_property
    def walk(self) -> tuple[int, ...]:
        """The photos of one pass of the last stage: those whose captions name a pet come ``pet_times`` each."""
        times = [self.recipe.pet_times if PETS & set(" ".join(group).split()) else 1 for group in self.captions]
        return tuple(row for row, count in enumerate(times) for _ in range(count))

    @cached_property
    def teacher(self) -> Teacher | None:
        return Teacher(self.recipe.teacher, self.device) if self.recipe.teacher else None

    def put(self, shelf: Shelf, pixels: torch.Tensor, texts: list[list[str]]) -> None:
        shelf.put(pixels, texts, lambda flat: encode_texts(self.tokenizer, flat), self.head.targets)

    def enter(self, stage: Stage) -> None:
        """Begin a stage from the averaged weights of the one before; what is kept is a moving average again (Polyak)."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.average = AveragedModel(self.model, multi_avg_fn=moving_average(stage.average))
        self.stage, self.step = stage.name, 0


def moving_average(decay: float) -> Callable:
    """An exponential moving average that forgets its first steps: a short stage would else keep much of what it began with."""

    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, share)

    return update


@dataclass(frozen=True)
class Stage:
    """One stage: ``loss(training, photos, drawings)`` over ``batch`` pictures, ``drawn`` of them drawings, at ``rate``.

    ``horizon`` is the step at which the cosine would end; ``first_view`` the first step counted over all stages.
    """

    name: str
    steps: int
    loss: Callable
    batch: int
    drawn: int
    rate: float
    vision_share: float
    average: float
    horizon: int
    warmup: int
    first_view: int


def course(recipe: Recipe) -> tuple[Stage, ...]:
    sight, sentences = recipe.sight_steps, recipe.sentence_steps
    usual = dict(rate=recipe.rate, average=recipe.average, warmup=300)
    return (
        # The rate falls a little while the tower learns to see, later to the end.
        Stage(
            "sight",
            sight,
            sight_loss,
            batch=recipe.sight_batch,
            drawn=recipe.sight_batch // 4,
            vision_share=1.0,
            horizon=int(1.3 * sight),
            first_view=0,
            **usual,
        ),
        Stage(
            "sentences",
            sentences,
            sentences_loss,
            batch=recipe.batch,
            drawn=recipe.drawn,
            vision_share=recipe.vision_share,
            horizon=sentences,
            first_view=sight,
            **usual,
        ),
        Stage(
            "scores",
            recipe.score_steps,
            scores_loss,
            batch=recipe.score_batch,
            drawn=recipe.score_drawn,
            rate=recipe.score_rate,
            vision_share=recipe.vision_share,
            average=recipe.score_average,
            horizon=recipe.score_steps,
            warmup=50,
            first_view=sight + sentences,
        ),
    )


# --- what each stage learns -------------------------------------------------------------------------------


def states_of(training: Training, pixels: torch.Tensor) -> torch.Tensor:
    """States [n, patches + 1, width] of the vision tower; pixels [n, 3, side, side], 0 to 255."""
    return training.model.vision_model(normalise(pixels))[0]


def grid(recipe: Recipe) -> int:
    return recipe.image_size // recipe.patch_size


def sight_loss(training: Training, photos: Batch, drawings: Batch) -> torch.Tensor:
    """What the teacher sees in photos and in mixtures of two, and the words of photos, mixtures and drawings."""
    recipe, count = training.recipe, len(photos.rows)
    share, other = torch.rand(count, device=training.device), torch.randperm(count, device=training.device)
    share[: count // 2] = 1.0

    def mixed(values: torch.Tensor) -> torch.Tensor:
        kept = share.view(-1, *[1] * (values.ndim - 1))
        return kept * values + (1 - kept) * values[other]

    states = states_of(training, torch.cat([mixed(photos.seen(recipe.image_size)), drawings.seen(recipe.image_size)]))
    loss = WORDS_WEIGHT * training.head.loss(states, torch.cat([mixed(photos.words), drawings.words]))
    if training.teacher:
        loss = loss + training.taught.loss(states[:count], training.teacher.look(mixed(photos.seen(SIDE)), grid(recipe)))
    return loss


def sentences_loss(training: Training, photos: Batch, drawings: Batch) -> torch.Tensor:
    recipe, count = training.recipe, len(photos.rows)
    states = states_of(training, torch.cat([photos.seen(recipe.image_size), drawings.seen(recipe.image_size)]))
    ids = joined(photos.some_ids(recipe.captions_per_image), drawings.some_ids(recipe.captions_per_image))
    loss = caption_loss(training.model, states, ids, recipe.token_dropout, smoothing=0.05)
    loss = loss + WORDS_WEIGHT * training.head.loss(states, torch.cat([photos.words, drawings.words]))
    if training.teacher:
        taught = training.teacher.look(photos.seen(SIDE), grid(recipe))
        loss = loss + TAUGHT_WEIGHT * training.taught.loss(states[:count], taught)
    return loss


def scores_loss(training: Training, photos: Batch, drawings: Batch) -> torch.Tensor:
    """Scores of captions drawn for the photos; the drawings are learned as sentences."""
    model, recipe, count = training.model, training.recipe, len(photos.rows)
    states = states_of(training, torch.cat([photos.seen(recipe.image_size), drawings.seen(recipe.image_size)]))
    ids = rewards.draw_captions(model, states[:count].detach(), recipe.samples, DEC, SEP, PAD)
    said = [plain(text) for text in training.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    references = [training.captions[row] for row in photos.rows.tolist() for _ in range(recipe.samples)]
    scores = torch.tensor(training.reward(said, references), device=training.device)
    loss = rewards.score_loss(model, states[:count], ids, rewards.advantages(scores, recipe.samples), PAD)
    if len(drawings.rows):
        loss = loss + DRAWN_WEIGHT * caption_loss(model, states[count:], drawings.some_ids(recipe.captions_per_image))
    return loss


def joined(*groups: torch.Tensor) -> torch.Tensor:
    """Token ids of several groups of captions under each other, padded to the longest."""
    longest = max(ids.shape[1] for ids in groups)
    return torch.cat([F.pad(ids, (0, longest - ids.shape[1]), value=PAD) for ids in groups])


def drop_tokens(ids: torch.Tensor, share: float) -> torch.Tensor:
    """Inputs with some words hidden, so that the decoder looks at the picture rather than at its own words."""
    hidden = (torch.rand(ids.shape, device=ids.device) < share) & (ids > DEC)
    return ids.masked_fill(hidden, MASK)


def caption_loss(model, features, ids, token_dropout: float = 0.0, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy over caption tokens; several captions an image: ids [n * k, length], features [n, p, w]."""
    features = features.repeat_interleave(len(ids) // len(features), 0)
    inputs = drop_tokens(ids, token_dropout) if token_dropout else ids
    scores = model.text_decoder(inputs[:, :-1], encoder_hidden_states=features).logits
    return F.cross_entropy(scores.flatten(0, 1).float(), ids[:, 1:].flatten(), ignore_index=PAD, label_smoothing=smoothing)


# --- the loop ---------------------------------------------------------------------------------------------


def rate_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth (Loshchilov & Hutter, 2017)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


def optimizer_for(training: Training, stage: Stage) -> torch.optim.AdamW:
    """AdamW whose decay spares norms, biases and embeddings of positions; the vision tower at its share of the rate."""
    tower = training.model.vision_model
    modules = [(tower, stage.vision_share), (training.head, 1.0), (training.taught, 1.0)]
    if stage.name != "sight":
        modules.append((training.model.text_decoder, 1.0))
    groups = []
    for module, share in modules:
        weights = list(module.parameters())
        spared = [w for w in weights if w.ndim < 2 or 1 in w.shape[:1]]
        decayed = [w for w in weights if not (w.ndim < 2 or 1 in w.shape[:1])]
        groups += [dict(params=decayed, weight_decay=training.recipe.weight_decay, share=share)]
        groups += [dict(params=spared, weight_decay=0.0, share=share)]
    return torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.98), fused=True)


def run_stage(training: Training, stage: Stage, state_path: Path, say: Callable[[str], None]) -> None:
    """Train through one stage from wherever ``training`` stands in it."""
    optimizer = optimizer_for(training, stage)
    if training.stage != stage.name:
        training.enter(stage)
    elif training.step:
        optimizer.load_state_dict(torch.load(state_path, weights_only=True, map_location=training.device)["optimizer"])
    recipe = training.recipe
    drawings = Drawings(recipe.fresh, recipe.image_size + 8, recipe.seed, stage.first_view + training.step)
    source = drawn(drawings)
    recent, started, first = collections.deque(maxlen=SAVED_EVERY), time.time(), training.step
    training.model.train()
    while training.step < stage.steps:
        training.put(training.drawings, *next(source))
        recent.append(learn(training, stage, optimizer))
        if training.step % SAVED_EVERY == 0 or training.step == stage.steps:
            speed = (training.step - first) * stage.batch / (time.time() - started)
            say(f"{stage.name} {training.step}/{stage.steps} loss {torch.stack(list(recent)).mean():.3f} {speed:.0f} images/s")
            save_state(state_path, training, optimizer)


def learn(training: Training, stage: Stage, optimizer) -> torch.Tensor:
    """One step; its loss. What is decided at random in it depends on the seed and the step alone."""
    torch.manual_seed(training.recipe.seed * 1_000_003 + stage.first_view + training.step)
    for group in optimizer.param_groups:
        group["lr"] = group["share"] * rate_at(training.step, stage.horizon, stage.rate, stage.warmup)
    with precision(training.device, half_type(training.device)):
        loss = stage.loss(training, *views(training, stage))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([w for group in optimizer.param_groups for w in group["params"]], 1.0)
    optimizer.step()
    training.average.update_parameters(training.model)
    training.step += 1
    return loss.detach()


def views(training: Training, stage: Stage) -> tuple[Batch, Batch]:
    """The photos, walked through in a fresh order each pass, and the drawings of this step."""
    count, shelf = stage.batch - stage.drawn, training.drawings
    walk = training.walk if stage.name == "scores" else tuple(range(training.photos.filled))
    first, total = (stage.first_view + training.step) * count, len(walk)
    places = [(place // total, place % total) for place in range(first, first + count)]
    orders = {turn: photo_order(training.recipe.seed, turn, walk) for turn, _ in places}
    rows = torch.tensor([orders[turn][place] for turn, place in places], device=training.device)
    chosen = torch.randint(shelf.filled, (stage.drawn,), device=training.device)
    return Batch(training.photos, rows, crop=0.3 if stage.name == "sight" else 0.55), Batch(shelf, chosen, crop=0.85)


@lru_cache(maxsize=4)
def photo_order(seed: int, turn: int, walk: tuple[int, ...]) -> list[int]:
    return np.random.default_rng([seed, turn]).permutation(walk).tolist()


def precision(device: torch.device, dtype: torch.dtype | None):
    """Autocast to ``dtype``; None: full precision."""
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


# --- picked up again --------------------------------------------------------------------------------------


def save_state(path: Path, training: Training, optimizer) -> None:
    state = {name: getattr(training, name).state_dict() for name in KEPT} | {"optimizer": optimizer.state_dict()}
    part = path.with_suffix(".part")
    torch.save(state | {"stage": training.stage, "step": training.step}, part)
    part.replace(path)


def resume(path: Path, training: Training, stages: Sequence[Stage]) -> Sequence[Stage]:
    """Bring ``training`` to where ``path`` left it; what is left of the ``stages``."""
    state = torch.load(path, weights_only=True, map_location=training.device)
    place = [stage.name for stage in stages].index(state["stage"])
    training.enter(stages[place])
    for name in KEPT:
        getattr(training, name).load_state_dict(state[name])
    training.step = state["step"]
    return stages[place:]
