"""The opponent: the loop of the widely copied BLIP captioning notebook, and the plain way to compare its checkpoints.

Written out faithfully: batch 2, text padded to the model's whole length, pads in the loss, no attention mask, full
precision, all weights, AdamW at a constant 5e-5; then, for comparing, each checkpoint opened in turn and `generate`
called image by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import AutoImageProcessor, AutoTokenizer, BlipForConditionalGeneration


class Captioned(Dataset):
    """(image, text) pairs, prepared as the notebook's processor does: padding="max_length"."""

    def __init__(self, pairs: Sequence[tuple[str, str]], base: str, length: int):
        self.pairs, self.length = pairs, length
        self.pictures = AutoImageProcessor.from_pretrained(base, backend="pil")
        self.tokenizer = AutoTokenizer.from_pretrained(base)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> dict:
        path, text = self.pairs[place]
        ids = self.tokenizer(text, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt")["input_ids"]
        pixels = self.pictures(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
        return {"input_ids": ids[0], "pixel_values": pixels[0]}


def train(base: str, pairs: Sequence[tuple[str, str]], steps: int) -> dict:
    """Seconds a sample over ``steps`` steps; one more step before them is not counted."""
    model = BlipForConditionalGeneration.from_pretrained(base)
    dataset = Captioned(pairs, base, model.config.text_config.max_position_embeddings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    model.train()
    samples = 0
    for number, batch in enumerate(cycle(DataLoader(dataset, shuffle=True, batch_size=2))):
        if number == 1:
            started = perf_counter()
        if number == steps + 1:
            break
        loss = model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"], labels=batch["input_ids"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        samples += len(batch["input_ids"]) if number else 0
    return {"seconds": (perf_counter() - started) / samples, "samples": samples}


@torch.no_grad()
def caption(base: str, adapters: Sequence[str | None], images: Sequence[str], tokens: int) -> dict:
    """Captions of the base and of each adapter, and the seconds it took."""
    from peft import PeftModel

    tokenizer, pictures = AutoTokenizer.from_pretrained(base), AutoImageProcessor.from_pretrained(base, backend="pil")
    started, said = perf_counter(), []
    for folder in adapters:
        model = BlipForConditionalGeneration.from_pretrained(base).eval()
        model = PeftModel.from_pretrained(model, Path(folder)).eval() if folder else model
        for path in images:
            pixels = pictures(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
            row = model.generate(pixel_values=pixels, max_new_tokens=tokens, do_sample=False)[0]
            said.append(tokenizer.decode(row, skip_special_tokens=True))
    return {"seconds": perf_counter() - started, "captions": said}
