"""The three stages of the embedded base's training, and the loop that walks through them.

*Words first*: the vision tower and a throw-away linear head predict which words the captions of a photo use (weakly
supervised, as Joulin et al., "Learning Visual Features from Large Weakly Supervised Data", 2016), because a small
vision tower learns slowly from sentences alone. *Sentences after*: the whole BLIP learns captions of photos and
drawings, the words head kept as a small auxiliary loss. *Scores at last*: see rewards.py.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from explorer.model.captioner import half_type
from explorer.pretrain import rewards
from explorer.pretrain.data import Views, batches, plain
from explorer.pretrain.model import DEC, MASK, PAD, SEP, WordsHead, encode_texts, normalise
from explorer.pretrain.recipe import Recipe
from explorer.scoring.cider import Cider

WORDS_WEIGHT = 0.02  # brings the sum over some 900 words to the size of a caption loss
DRAWN_WEIGHT = 0.5  # of the drawings' caption loss beside the photos' scores: they are to be kept, not learned
SAVED_EVERY = 100


@dataclass
class Training:
    """A training under way: the model, what it learns from, and where it stands in which stage."""

    recipe: Recipe
    model: nn.Module
    head: WordsHead
    tokenizer: object
    photos: np.ndarray
    captions: list[list[str]]
    stage: str = ""
    step: int = 0
    average: AveragedModel | None = None

    @cached_property
    def reward(self) -> Cider:
        return Cider(self.captions)

    def enter(self, stage: Stage) -> None:
        """Begin a stage from the averaged weights of the one before; what is kept is a moving average again (Polyak)."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(stage.average))
        self.stage, self.step = stage.name, 0


@dataclass(frozen=True)
class Stage:
    """One stage: ``loss(training, pixels, texts)`` over ``batch`` pictures, ``drawn`` of them drawings, at ``rate``.

    ``horizon`` is the step at which the cosine would end; ``first_view`` the first batch of the endless views.
    """

    name: str
    steps: int
    loss: Callable
    batch: int
    drawn: int
    rate: float
    average: float
    horizon: int
    warmup: int
    first_view: int


def course(recipe: Recipe) -> tuple[Stage, ...]:
    words, sentences = recipe.word_steps, recipe.sentence_steps
    usual = dict(batch=recipe.batch, rate=recipe.rate, average=recipe.average, warmup=300)
    return (
        # The words' rate falls a little, the sentences' to the end.
        Stage("words", words, words_loss, drawn=0, horizon=3 * words, first_view=0, **usual),
        Stage("sentences", sentences, sentences_loss, drawn=recipe.drawn, horizon=sentences, first_view=words, **usual),
        Stage(
            "scores",
            recipe.score_steps,
            scores_loss,
            batch=recipe.score_batch,
            drawn=recipe.score_drawn,
            rate=recipe.score_rate,
            average=recipe.score_average,
            horizon=recipe.score_steps,
            warmup=50,
            first_view=words + sentences,
        ),
    )


# --- what each stage learns -------------------------------------------------------------------------------


def seen(training: Training, pixels: torch.Tensor) -> torch.Tensor:
    """Features [n, patches, width] of uint8 pixels [n, h, w, 3]."""
    return training.model.vision_model(normalise(pixels))[0]


def words_loss(training: Training, pixels: torch.Tensor, texts: list[list[str]]) -> torch.Tensor:
    return WORDS_WEIGHT * training.head.loss(seen(training, pixels), texts)


def sentences_loss(training: Training, pixels: torch.Tensor, texts: list[list[str]]) -> torch.Tensor:
    features, recipe = seen(training, pixels), training.recipe
    sentences = caption_loss(training.model, features, chosen_ids(training, texts), recipe.token_dropout, smoothing=0.05)
    return sentences + WORDS_WEIGHT * training.head.loss(features, texts)


def scores_loss(training: Training, pixels: torch.Tensor, texts: list[list[str]]) -> torch.Tensor:
    """Scores of captions drawn for the photos; the drawings, which come last, are learned as sentences."""
    model, recipe = training.model, training.recipe
    features, photos = seen(training, pixels), recipe.score_batch - recipe.score_drawn
    ids = rewards.draw_captions(model, features[:photos].detach(), recipe.samples, DEC, SEP, PAD)
    said = [plain(text) for text in training.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    scores = torch.tensor(training.reward(said, [group for group in texts[:photos] for _ in range(recipe.samples)]))
    loss = rewards.score_loss(model, features[:photos], ids, rewards.advantages(scores, recipe.samples), PAD)
    if recipe.score_drawn:
        loss = loss + DRAWN_WEIGHT * caption_loss(model, features[photos:], chosen_ids(training, texts[photos:]))
    return loss


def chosen_ids(training: Training, texts: list[list[str]]) -> torch.Tensor:
    """Token ids of some captions of each image, drawn anew."""
    count = training.recipe.captions_per_image
    return encode_texts(training.tokenizer, [text for group in texts for text in random_choice(group, count)])


def random_choice(group: Sequence[str], count: int) -> list[str]:
    """``count`` captions of one image, none twice while there are enough; decided by torch's generator."""
    order = torch.randperm(len(group)).tolist()
    return [group[order[place % len(group)]] for place in range(count)]


def drop_tokens(ids: torch.Tensor, share: float) -> torch.Tensor:
    """Inputs with some words hidden, so that the decoder looks at the picture rather than at its own words."""
    hidden = (torch.rand(ids.shape) < share) & (ids > DEC)
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


def optimizer_for(modules: list[nn.Module], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW whose decay spares norms, biases and embeddings of positions."""
    weights = {id(w): w for module in modules for w in module.parameters()}.values()
    decayed = [w for w in weights if w.ndim >= 2 and 1 not in w.shape[:1]]
    spared = [w for w in weights if w.ndim < 2 or 1 in w.shape[:1]]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True)


def run_stage(training: Training, stage: Stage, state_path: Path, say: Callable[[str], None]) -> None:
    """Train through one stage from wherever ``training`` stands in it."""
    recipe = training.recipe
    optimizer = optimizer_for([training.model.vision_model if stage.name == "words" else training.model, training.head], recipe)
    if training.stage != stage.name:
        training.enter(stage)
    elif training.step:
        optimizer.load_state_dict(torch.load(state_path, weights_only=True)["optimizer"])
    shape = recipe.image_size, stage.batch, stage.drawn, recipe.seed, stage.first_view + training.step
    source = batches(Views(training.photos, training.captions, *shape))
    recent, started, first = collections.deque(maxlen=SAVED_EVERY), time.time(), training.step
    training.model.train()
    while training.step < stage.steps:
        recent.append(learn(training, stage, optimizer, *next(source)))
        if training.step % SAVED_EVERY == 0 or training.step == stage.steps:
            speed = (training.step - first) * stage.batch / (time.time() - started)
            say(f"{stage.name} {training.step}/{stage.steps} loss {np.mean(recent):.3f} {speed:.0f} images/s")
            save_state(state_path, training, optimizer)


def learn(training: Training, stage: Stage, optimizer, pixels: torch.Tensor, texts: list[list[str]]) -> float:
    """One step; its loss. What is drawn at random in it depends on the seed and the step alone."""
    torch.manual_seed(training.recipe.seed * 1_000_003 + training.step)
    for group in optimizer.param_groups:
        group["lr"] = rate_at(training.step, stage.horizon, stage.rate, stage.warmup)
    with half_precision():
        loss = stage.loss(training, pixels, texts)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([w for group in optimizer.param_groups for w in group["params"]], 1.0)
    optimizer.step()
    training.average.update_parameters(training.model)
    training.step += 1
    return loss.item()


def half_precision():
    """Autocast where this machine's processor gains from it."""
    dtype = half_type(torch.device("cpu"))
    return torch.autocast("cpu", dtype) if dtype else nullcontext()


# --- picked up again --------------------------------------------------------------------------------------


def save_state(path: Path, training: Training, optimizer) -> None:
    parts = {"model": training.model, "head": training.head, "average": training.average, "optimizer": optimizer}
    state = {name: part.state_dict() for name, part in parts.items()}
    part = path.with_suffix(".part")
    torch.save(state | {"stage": training.stage, "step": training.step}, part)
    part.replace(path)


def resume(path: Path, training: Training, stages: Sequence[Stage]) -> Sequence[Stage]:
    """Bring ``training`` to where ``path`` left it; what is left of the ``stages``."""
    state = torch.load(path, weights_only=True)
    place = [stage.name for stage in stages].index(state["stage"])
    training.enter(stages[place])
    for name in ("model", "head", "average"):
        getattr(training, name).load_state_dict(state[name])
    training.step = state["step"]
    return stages[place:]
