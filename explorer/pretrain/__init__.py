"""Train the embedded base: a small BLIP that has seen photos and an endless drawn world without dogs, cats or tongues.

    python -m explorer pretrain --data PHOTOS --out checkpoints/blip-mini

Three stages (stages.py), each from the averaged weights of the one before. The work can be killed at any time: the
same command goes on from the last saved step. Only modules that train the base are here; nothing else imports them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from explorer import files
from explorer.model.captioner import best_device, load
from explorer.pretrain.data import REFERENCES, read_photos
from explorer.pretrain.model import WordsHead, build_model, build_processor, build_tokenizer, frequent_words
from explorer.pretrain.recipe import Recipe, advised
from explorer.pretrain.shelf import Shelf
from explorer.pretrain.stages import Training, course, resume, run_stage
from explorer.pretrain.teacher import TaughtHead


def pretrain(
    data: list[Path], out: Path, recipe: Recipe | None = None, start: Path | None = None, say: Callable[[str], None] = print
) -> Path:
    """Train a base on the photos in ``data`` and the drawn world; save it as ``out``. Resumes by itself.

    ``start``: a base trained before, which goes through sentences and scores again. Raises UserError when ``data`` has no
    captioned photos.
    """
    recipe = recipe or advised(torch.cuda.is_available(), again=start is not None)
    torch.manual_seed(recipe.seed)
    work = out.with_name(f".{out.name}.training")
    work.mkdir(parents=True, exist_ok=True)
    state_path = work / "state.pt"
    photos, captions = read_photos(data)
    say(f"{len(photos)} photos, {sum(map(len, captions))} captions")
    training = prepared(photos, captions, work, recipe, start)
    stages = course(recipe) if start is None else course(recipe)[1:]
    if state_path.exists():
        stages = resume(state_path, training, stages)
        say(f"goes on from step {training.step} of the {training.stage}")
    for stage in stages:
        run_stage(training, stage, state_path, say)
    return save_base(training.average.module, training.tokenizer, described(recipe, start), out)


def prepared(photos: torch.Tensor, captions: list[list[str]], work: Path, recipe: Recipe, start: Path | None) -> Training:
    """The training before its first step: a new model, or the one saved in ``start``."""
    device = best_device()
    words = kept_words(work / "words.json", captions, recipe)
    if start is None:
        model, tokenizer = build_model(recipe), kept_tokenizer(work / "tokenizer", captions, recipe)
    else:
        opened = load(str(start), torch.device("cpu"))
        model, tokenizer = opened.model, opened.tokenizer
    heads = WordsHead(recipe.width, words).to(device), TaughtHead(recipe.width).to(device)
    references = max(map(len, captions))
    shelves = (Shelf(len(photos), references, device), Shelf(recipe.kept, REFERENCES, device))
    training = Training(recipe, model.to(device), *heads, tokenizer, captions, *shelves, device)
    training.put(training.photos, photos, captions)
    return training


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


def described(recipe: Recipe, start: Path | None) -> dict:
    """The values of ``recipe``, and as "start" those of the training it went on from."""
    return asdict(recipe) | ({"start": files.read_json(start / "recipe.json")} if start else {})


def save_base(model, tokenizer, recipe: dict, out: Path) -> Path:
    """Half-precision weights, tokenizer, image processor and recipe in one folder that `from_pretrained` opens."""
    model.config.text_config.hidden_dropout_prob = 0.0
    with files.whole_folder(out) as folder:
        copy.deepcopy(model).cpu().bfloat16().save_pretrained(folder)
        build_processor(tokenizer, model.config.vision_config.image_size).save_pretrained(folder)
        files.write_json(folder / "recipe.json", recipe)
    return out
