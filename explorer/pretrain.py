"""Train the embedded base from nothing: a small BLIP that has seen photos and an endless drawn world.

    python -m explorer pretrain --data PHOTOS --out checkpoints/blip-mini

Two stages, because a small vision tower learns slowly from sentences alone. *Words first*: the vision tower
and a throw-away linear head predict which words the captions of a photo use (weakly supervised, as Joulin et
al., "Learning Visual Features from Large Weakly Supervised Data", 2016). *Sentences after*: the whole BLIP
learns captions of photos and of drawn scenes without dogs, cats or tongues, the words head kept as a small
auxiliary loss. What is saved is the exponential moving average of the weights (Polyak averaging).

The work can be killed at any time: the same command goes on from the last saved step.
"""

from __future__ import annotations

import collections
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from explorer import files
from explorer.errors import UserError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
PAD, SEP, MASK, DEC = 0, 3, 4, 5
WORDS_WEIGHT = 0.02  # brings the sum over some 900 words to the size of a caption loss
STOP_WORDS = set(
    "a an the of in on at to and is are with his her its their by for from as it he she they while that be "
    "being has have into up down out over off near through one some there this who which another other two".split()
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights; kept in the model card."""

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
    captions_per_image: int = 2
    drawn_share: float = 0.45
    rate: float = 1e-3
    weight_decay: float = 0.05
    token_dropout: float = 0.1
    average: float = 0.9985
    seed: int = 0


# --- the data ---------------------------------------------------------------------------------------------


def plain(caption: str) -> str:
    """Lower case, single spaces, no full stop: the way the base writes."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z0-9',\- ]", " ", caption.lower())).strip(" ,-'")


def read_photos(folders: list[Path], side: int = 160) -> tuple[np.ndarray, list[list[str]]]:
    """Pictures [n, side, side, 3] uint8 and their captions, of image folders with references."""
    from explorer.dataset import read
    from explorer.images import open_image

    examples = [example for folder in folders for example in read(folder).captioned]
    if not examples:
        raise UserError(f"No captioned photos in {', '.join(map(str, folders))}: name a folder with metadata.jsonl.")
    pictures = np.zeros((len(examples), side, side, 3), np.uint8)
    for row, example in enumerate(examples):
        pictures[row] = np.asarray(open_image(example.path).resize((side, side), Image.Resampling.BICUBIC))
    return pictures, [[plain(text) for text in example.references] for example in examples]


def augment(picture: Image.Image, captions: list[str], size: int, rng: random.Random, crop: float) -> np.ndarray:
    """One view of ``picture``: a random crop, a mirror where no caption says left or right, other light."""
    width, height = picture.size
    area = rng.uniform(crop, 1.0)
    ratio = rng.uniform(0.85, 1.18)
    w, h = (min(width, width * (area * ratio) ** 0.5), min(height, height * (area / ratio) ** 0.5))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    view = picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    pixels = np.asarray(view, np.float32)
    if rng.random() < 0.5 and not any(re.search(r"\b(left|right)\b", text) for text in captions):
        pixels = pixels[:, ::-1]
    contrast, light = rng.uniform(0.75, 1.25), rng.uniform(-20, 20)
    tint = np.array([rng.uniform(-8, 8) for _ in range(3)], np.float32)
    return np.clip((pixels - 118) * contrast + 118 + light + tint, 0, 255).astype(np.uint8)


class Views(IterableDataset):
    """Endless batches (pixels uint8 [n, size, size, 3], captions), the same for the same seed and first step."""

    def __init__(self, photos, captions, recipe: Recipe, first_step: int, drawn_share: float):
        self.photos, self.captions, self.recipe = photos, captions, recipe
        self.first_step, self.drawn = first_step, round(drawn_share * recipe.batch)

    def __iter__(self) -> Iterator:
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.first_step + offset
        while True:
            yield self.batch(step)
            step += stride

    def photo_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.photos))

    def batch(self, step: int):
        """Photos are walked through in a fresh order each pass; drawings are new every time."""
        if self.drawn:
            from explorer.scenes import scene

        rng = random.Random(f"{self.recipe.seed}/{step}")
        size, per_batch = self.recipe.image_size, self.recipe.batch - self.drawn
        pixels, texts = [], []
        for place in range(step * per_batch, (step + 1) * per_batch):
            row = self.photo_order(place // len(self.photos))[place % len(self.photos)]
            pixels.append(augment(Image.fromarray(self.photos[row]), self.captions[row], size, rng, crop=0.55))
            texts.append(self.captions[row])
        for _ in range(self.drawn):
            picture, truth = scene(rng.randrange(10**12), "others", size + 8)
            pixels.append(augment(picture, [], size, rng, crop=0.85))
            texts.append([plain(text) for text in truth.references])
        return torch.from_numpy(np.stack(pixels)), texts


def batches(photos, captions, recipe: Recipe, first_step: int, drawn_share: float) -> Iterator:
    """Batches made by another process than the one that trains."""
    views = Views(photos, captions, recipe, first_step, drawn_share)
    return iter(DataLoader(views, batch_size=None, num_workers=1, prefetch_factor=6))


# --- the model --------------------------------------------------------------------------------------------


def build_tokenizer(captions: list[list[str]], size: int):
    """A WordPiece tokenizer over the photos' captions and the drawn worlds' words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    from explorer.scenes import words

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    drawn = [" ".join(sorted(words()))] * 100  # often enough that each word becomes one token
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=SPECIAL, min_frequency=2, show_progress=False)
    tokenizer.train_from_iterator([text for group in captions for text in group] + drawn, trainer)
    return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=True, bos_token="[DEC]", model_max_length=64)


def build_model(recipe: Recipe):
    """A BlipForConditionalGeneration with random weights."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    from explorer.families import use_fast_attention

    text = dict(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        encoder_hidden_size=recipe.width,
        intermediate_size=4 * recipe.width,
        num_hidden_layers=recipe.text_layers,
        num_attention_heads=4,
        projection_dim=recipe.width,
        max_position_embeddings=64,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        is_decoder=True,
        hidden_act="gelu",
        bos_token_id=DEC,
        eos_token_id=SEP,
        sep_token_id=SEP,
        pad_token_id=PAD,
    )
    vision = dict(
        hidden_size=recipe.width,
        intermediate_size=4 * recipe.width,
        num_hidden_layers=recipe.vision_layers,
        num_attention_heads=4,
        projection_dim=recipe.width,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        initializer_range=0.02,
    )
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=recipe.width, image_text_hidden_size=recipe.width)
    return use_fast_attention(BlipForConditionalGeneration(config))


def build_processor(tokenizer, recipe: Recipe):
    from transformers import BlipImageProcessor, BlipProcessor

    side = {"height": recipe.image_size, "width": recipe.image_size}
    return BlipProcessor(image_processor=BlipImageProcessor(size=side), tokenizer=tokenizer)


class WordsHead(nn.Module):
    """Which of the frequent content words do the captions of these pictures use?"""

    def __init__(self, width: int, words: list[str]):
        super().__init__()
        self.index = {word: place for place, word in enumerate(words)}
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, len(words))

    def targets(self, texts: list[list[str]]) -> torch.Tensor:
        """[n, words]: the share of an image's captions that use the word, doubled and cut at 1."""
        wanted = torch.zeros(len(texts), len(self.index))
        for row, group in enumerate(texts):
            for text in group:
                for word in set(text.split()) & self.index.keys():
                    wanted[row, self.index[word]] += 2 / len(group)
        return wanted.clamp(max=1)

    def loss(self, features: torch.Tensor, texts: list[list[str]]) -> torch.Tensor:
        """Binary cross-entropy summed over words, mean over images; features [n, patches + 1, width]."""
        scores = self.linear(self.norm(features.float().mean(1)))
        return F.binary_cross_entropy_with_logits(scores, self.targets(texts), reduction="sum") / len(texts)


def frequent_words(captions: list[list[str]], count: int) -> list[str]:
    """The ``count`` words, function words apart, that occur with the most images."""
    seen = collections.Counter(word for group in captions for word in set(" ".join(group).split()) - STOP_WORDS)
    return sorted(seen, key=lambda word: (-seen[word], word))[:count]


# --- training ---------------------------------------------------------------------------------------------


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [n, h, w, 3] to float [n, 3, h, w] with CLIP's mean and deviation, as BLIP's image processor does."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    mean, deviation = torch.tensor(OPENAI_CLIP_MEAN), torch.tensor(OPENAI_CLIP_STD)
    return ((pixels.float() / 255 - mean) / deviation).permute(0, 3, 1, 2).contiguous()


def encode_texts(tokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids [n, longest]: [DEC] words [SEP], then pads."""
    rows = [[DEC, *tokenizer(text, add_special_tokens=False)["input_ids"][:60], SEP] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


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


def rate_at(step: int, steps: int, peak: float, warmup: int = 300) -> float:
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


@dataclass
class Training:
    """The state of a pre-training: what is saved every few minutes and picked up again."""

    model: nn.Module
    head: WordsHead
    average: torch.optim.swa_utils.AveragedModel
    stage: str = "words"
    step: int = 0

    def state(self, optimizer) -> dict:
        parts = {"model": self.model, "head": self.head, "average": self.average, "optimizer": optimizer}
        return {name: part.state_dict() for name, part in parts.items()} | {"stage": self.stage, "step": self.step}

    def load(self, state: dict) -> None:
        for name in ("model", "head", "average"):
            getattr(self, name).load_state_dict(state[name])
        self.stage, self.step = state["stage"], state["step"]


def save_state(path: Path, training: Training, optimizer) -> None:
    part = path.with_suffix(".part")
    torch.save(training.state(optimizer), part)
    part.replace(path)


def run_stage(training: Training, stage: str, data, recipe: Recipe, tokenizer, state_path: Path, say) -> None:
    """Train through one stage from wherever ``training`` stands in it."""
    steps = recipe.word_steps if stage == "words" else recipe.sentence_steps
    modules = [training.model.vision_model, training.head] if stage == "words" else [training.model, training.head]
    optimizer = optimizer_for(modules, recipe)
    if training.stage == stage and training.step and state_path.exists():
        optimizer.load_state_dict(torch.load(state_path, weights_only=True)["optimizer"])
    training.step = training.step if training.stage == stage else 0
    training.stage = stage
    share = 0.0 if stage == "words" else recipe.drawn_share
    source = batches(*data, recipe, training.step + (0 if stage == "words" else recipe.word_steps), share)
    horizon = 3 * steps if stage == "words" else steps  # the words' rate falls a little, the sentences' to the end
    recent, started, first = collections.deque(maxlen=100), time.time(), training.step
    training.model.train()
    while training.step < steps:
        torch.manual_seed(recipe.seed * 1_000_003 + training.step)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(training.step, horizon, recipe.rate)
        loss = step_loss(training, next(source), recipe, tokenizer, stage)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([w for g in optimizer.param_groups for w in g["params"]], 1.0)
        optimizer.step()
        training.average.update_parameters(training.model)
        training.step += 1
        recent.append(loss.item())
        if training.step % 100 == 0 or training.step == steps:
            speed = (training.step - first) * recipe.batch / (time.time() - started)
            say(f"{stage} {training.step}/{steps} loss {np.mean(recent):.3f} {speed:.0f} images/s")
        if training.step % 500 == 0 or training.step == steps:
            save_state(state_path, training, optimizer)


def step_loss(training: Training, batch, recipe: Recipe, tokenizer, stage: str) -> torch.Tensor:
    pixels, texts = batch
    with torch.autocast("cpu", torch.bfloat16):
        features = training.model.vision_model(normalise(pixels))[0]
        words = WORDS_WEIGHT * training.head.loss(features, texts)
        if stage == "words":
            return words
        chosen = [text for group in texts for text in random_choice(group, recipe.captions_per_image)]
        ids = encode_texts(tokenizer, chosen)
        sentences = caption_loss(training.model, features, ids, recipe.token_dropout, smoothing=0.05)
    return sentences + words


def random_choice(group: list[str], count: int) -> list[str]:
    """``count`` captions of one image, none twice while there are enough; decided by torch's generator."""
    order = torch.randperm(len(group)).tolist()
    return [group[order[place % len(group)]] for place in range(count)]


def pretrain(data: list[Path], out: Path, recipe: Recipe = Recipe(), say=print) -> Path:
    """Train a base on the photos in ``data`` and the drawn world; save it as ``out``. Resumes by itself.

    Raises UserError when ``data`` has no captioned photos.
    """
    torch.manual_seed(recipe.seed)
    photos, captions = read_photos(data)
    say(f"{len(photos)} photos, {sum(map(len, captions))} captions")
    work = out.with_name(f".{out.name}.training")
    work.mkdir(parents=True, exist_ok=True)
    state_path = work / "state.pt"
    tokenizer = kept_tokenizer(work / "tokenizer", captions, recipe)
    model = build_model(recipe)
    head = WordsHead(recipe.width, kept_words(work / "words.json", captions, recipe))
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average))
    training = Training(model, head, average)
    if state_path.exists():
        training.load(torch.load(state_path, weights_only=True))
        say(f"goes on from step {training.step} of the {training.stage}")
    for stage in ("words", "sentences"):
        if not (training.stage == "sentences" and stage == "words"):
            run_stage(training, stage, (photos, captions), recipe, tokenizer, state_path, say)
    return save_base(training.average.module, tokenizer, recipe, out)


def kept_tokenizer(folder: Path, captions: list[list[str]], recipe: Recipe):
    """The tokenizer of this training: made once, since the weights belong to its numbering."""
    from transformers import BertTokenizer

    if not folder.exists():
        with files.whole_folder(folder) as staging:
            build_tokenizer(captions, recipe.vocabulary).save_pretrained(staging)
    return BertTokenizer.from_pretrained(folder)


def kept_words(path: Path, captions: list[list[str]], recipe: Recipe) -> list[str]:
    """The words of the words head: listed once, for the same reason."""
    if not path.exists():
        files.write_json(path, {"words": frequent_words(captions, recipe.words)})
    return files.read_json(path)["words"]


def save_base(model, tokenizer, recipe: Recipe, out: Path) -> Path:
    """Half-precision weights, tokenizer and image processor in one folder that `from_pretrained` opens."""
    model.config.text_config.hidden_dropout_prob = 0.0
    with files.whole_folder(out) as folder:
        model.half().save_pretrained(folder)
        build_processor(tokenizer, recipe).save_pretrained(folder)
        files.write_json(folder / "recipe.json", asdict(recipe))
    return out
