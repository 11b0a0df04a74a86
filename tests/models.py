"""Real models small enough to train in a test, and pictures they can learn: no mocks.

python tests/models.py FOLDER      writes all of them there
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

WORDS = ("a", "red", "green", "blue", "square", "circle", "the", "on", "white")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (30, 60, 220)}
SIDE = 32


# --- tokenizers -------------------------------------------------------------------------------------------


def word_pieces(extra: tuple[str, ...] = ()):
    """A WordPiece tokenizer of a dozen words; `BertTokenizer(vocab_file=...)` would ignore its file."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab={word: place for place, word in enumerate((*SPECIAL, *WORDS, *extra))}, additional_special_tokens=["[DEC]"])


def byte_pairs():
    """A byte-level BPE tokenizer that knows every byte and the words of the shapes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([f"a {c} {s}" for c in COLOURS for s in ("square", "circle")] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


# --- models -----------------------------------------------------------------------------------------------


def save(folder: Path, model, tokenizer, processor) -> Path:
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    return folder


def _seeded() -> None:
    import torch

    torch.manual_seed(0)


def make_blip(folder: Path, dropout: float = 0.1, side: int = SIDE) -> Path:
    """A BLIP of some 50 thousand weights: [DEC] starts a caption, [SEP] ends it. ``side``: what it sees, in pixels."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer = word_pieces()
    text = BlipTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        encoder_hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        bos_token_id=SPECIAL.index("[DEC]"),
        sep_token_id=SPECIAL.index("[SEP]"),
        eos_token_id=SPECIAL.index("[SEP]"),
        pad_token_id=0,
        projection_dim=32,
    )
    vision = BlipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=side, patch_size=8, projection_dim=32
    )
    _seeded()
    model = BlipForConditionalGeneration(
        BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32, image_text_hidden_size=32)
    )
    return save(folder, model, tokenizer, BlipImageProcessorPil(size={"height": side, "width": side}))


def make_git(folder: Path) -> Path:
    from transformers import GitConfig, GitForCausalLM, GitVisionConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = word_pieces()
    vision = GitVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8
    )
    config = GitConfig(
        vision_config=vision.to_dict(),
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    _seeded()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return save(folder, GitForCausalLM(config), tokenizer, processor)


def make_pair(folder: Path) -> Path:
    """ViT and GPT-2 joined as nlpconnect/vit-gpt2-image-captioning joins them: one token starts, ends and pads."""
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    tokenizer = byte_pairs()
    end = tokenizer.eos_token_id
    _seeded()
    encoder = ViTModel(
        ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8),
        add_pooling_layer=False,
    )
    decoder = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=32,
            n_embd=32,
            n_layer=2,
            n_head=2,
            add_cross_attention=True,
            is_decoder=True,
            bos_token_id=end,
            eos_token_id=end,
        )
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id, settings.eos_token_id, settings.pad_token_id = end, end, end
    return save(folder, model, tokenizer, ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}))


MAKERS = {"blip": make_blip, "git": make_git, "vision-encoder-decoder": make_pair}


# --- pictures ---------------------------------------------------------------------------------------------


def draw_shape(colour: str, shape: str, draw: random.Random) -> Image.Image:
    """A shape at a drawn place on paper with drawn light, so that no two pictures look alike to the hash."""
    paper = Image.new("RGB", (9, 8))
    paper.putdata([(light, light, light) for light in (draw.randint(190, 255) for _ in range(72))])
    picture = paper.resize((48, 48), Image.Resampling.NEAREST)
    side = draw.randint(22, 28)
    x, y = draw.randint(2, 46 - side), draw.randint(2, 46 - side)
    pen = ImageDraw.Draw(picture)
    (pen.rectangle if shape == "square" else pen.ellipse)((x, y, x + side, y + side), fill=COLOURS[colour])
    return picture


def draw_shapes(folder: Path, train: int = 24, validation: int = 12, seed: int = 0, kinds=(("red", "square"), ("blue", "circle"))) -> Path:
    """An image folder with train/ and validation/, each with its metadata.jsonl."""
    draw = random.Random(seed)
    for split, count in (("train", train), ("validation", validation)):
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(count):
            colour, shape = kinds[number % len(kinds)]
            name = f"{colour}-{shape}-{number}.png"
            draw_shape(colour, shape, draw).save(folder / split / name)
            rows.append({"file_name": name, "captions": [f"a {colour} {shape}"]})
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


# --- runs -------------------------------------------------------------------------------------------------


def new_run(workspace, base: str, data: Path, **values):
    """The folder of a run that a test can afford: one epoch of three steps, all weights, no augmentation."""
    from explorer.model.captions import Decoding
    from explorer.train import plan
    from explorer.train.run import RunConfig

    given = dict(
        name="run",
        base=base,
        dataset=str(data),
        epochs=1,
        batch_size=8,
        learning_rate=5e-3,
        method="full",
        augment=False,
        lora_rank=4,
        probes=2,
        decoding=Decoding(max_tokens=8),
    )
    return plan.make_run(workspace, RunConfig(**{**given, **values}))


def losses(run) -> list[tuple[int, float]]:
    """What a repeated run must repeat: step and loss of every step in the log, in order."""
    return [(row["step"], row["loss"]) for row in run.log() if row["kind"] == "step"]


if __name__ == "__main__":
    for name, make in MAKERS.items():
        print(make(Path(sys.argv[1]) / name))
    print(draw_shapes(Path(sys.argv[1]) / "shapes"))
