"""The embedded base before it has learned anything: its tokenizer, its BLIP, its image processor, its words head."""

from __future__ import annotations

import collections

import torch
from torch import nn
from torch.nn import functional as F

from explorer.pretrain.recipe import Recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
PAD, SEP, MASK, DEC = 0, 3, 4, 5
STOP_WORDS = set(
    "a an the of in on at to and is are with his her its their by for from as it he she they while that be "
    "being has have into up down out over off near through one some there this who which another other two".split()
)


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

    from explorer.model.fast_attention import make_fast

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
    return make_fast(BlipForConditionalGeneration(config))


def build_processor(tokenizer, side: int):
    from transformers import BlipImageProcessor, BlipProcessor

    size = {"height": side, "width": side}
    return BlipProcessor(image_processor=BlipImageProcessor(size=size), tokenizer=tokenizer)


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

    def loss(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy summed over words, mean over images; features [n, patches + 1, width], targets [n, words]."""
        scores = self.linear(self.norm(features.float().mean(1)))
        return F.binary_cross_entropy_with_logits(scores.float(), targets, reduction="sum") / len(targets)


def frequent_words(captions: list[list[str]], count: int) -> list[str]:
    """The ``count`` words, function words apart, that occur with the most images."""
    seen = collections.Counter(word for group in captions for word in set(" ".join(group).split()) - STOP_WORDS)
    return sorted(seen, key=lambda word: (-seen[word], word))[:count]


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """[n, 3, h, w], 0 to 255, with CLIP's mean and deviation, as BLIP's image processor has them."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return (pixels / 255 - mean) / deviation


def encode_texts(tokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids [n, longest]: [DEC] words [SEP], then pads."""
    rows = [[DEC, *ids[:60], SEP] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
