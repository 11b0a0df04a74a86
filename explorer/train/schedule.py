"""What is seen in which step of a run, and at which rate: decided by the run's seed and the step's number alone.

Nothing drawn here depends on what was done before, so that a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from explorer.train.run import RunConfig

LARGEST = 2**63 - 1
"""Seeds beyond this are more than torch takes."""


@dataclass(frozen=True)
class Batch:
    """Examples of one forward pass, and which of their references are learned."""

    examples: tuple[dict, ...]
    references: tuple[tuple[str, ...], ...]

    def only(self, kept: list[dict]) -> Batch:
        """This batch without the examples that are not in ``kept``."""
        if len(kept) == len(self.examples):
            return self
        ids = {example["image_id"] for example in kept}
        pairs = [(e, r) for e, r in zip(self.examples, self.references, strict=True) if e["image_id"] in ids]
        return Batch(tuple(e for e, _ in pairs), tuple(r for _, r in pairs))

    def part(self, where: slice) -> Batch:
        return Batch(self.examples[where], self.references[where])


def generator(*key) -> torch.Generator:
    """A generator decided by ``key`` alone, so that no random state needs to be kept across a resume."""
    seed = 0
    for part in key:
        seed = (seed * 1_000_003 + int(part) + 1) % LARGEST
    return torch.Generator().manual_seed(seed)


def plan_epoch(examples: list[dict], config: RunConfig, epoch: int) -> list[list[Batch]]:
    """The steps of an epoch, each a list of batches: every example once, in an order drawn for this epoch."""
    draw = generator(config.seed, 1, epoch)
    order = torch.randperm(len(examples), generator=draw).tolist()
    picked = [_pick(examples[place], config, draw) for place in order]
    batches = [Batch(tuple(e for e, _ in part), tuple(r for _, r in part)) for part in parts(picked, config.batch_size)]
    return list(parts(batches, config.accumulate))


def _pick(example: dict, config: RunConfig, draw: torch.Generator) -> tuple[dict, tuple[str, ...]]:
    references = tuple(example["references"])
    if config.references == "sample":
        references = (references[int(torch.randint(len(references), (1,), generator=draw))],)
    return example, references


def parts(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def steps_per_epoch(images: int, config: RunConfig) -> int:
    return math.ceil(math.ceil(images / config.batch_size) / config.accumulate)


def rate_at(step: int, steps: int, config: RunConfig) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter, 2017); ``step`` counts from 0."""
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
