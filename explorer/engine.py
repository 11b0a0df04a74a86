"""A run loaded and ready: it learns a step at a time, says what it sees, and scores itself. One for every method and architecture.

The loss covers caption and end tokens only. A step's gradient is that of all its batches' tokens together, so
accumulating 8 x 1 equals 1 x 8. Whatever is drawn at random in a step comes from the run's seed and the step's
number alone, so a resumed run repeats an uninterrupted one bit for bit on CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import torch

from explorer import captioner as captioners
from explorer import captions as kept
from explorer import methods, metrics
from explorer.captions import Caption
from explorer.errors import UserError
from explorer.eyes import Eyes
from explorer.features import FeatureStore
from explorer.run import Progress, Run
from explorer.schedule import LARGEST, Batch, generator, parts, plan_epoch, rate_at, steps_per_epoch
from explorer.workspace import Workspace


class Stopped(Exception):
    """Somebody asked the run to stop."""


class Engine:
    """A loaded run: the model ready for its method, its examples, and where it stands."""

    def __init__(self, run: Run, workspace: Workspace, stop: Callable[[], bool]):
        self.run, self.config, self.workspace, self.stop = run, run.config, workspace, stop
        self.train_examples = resolved(run, "train")
        self.validation = resolved(run, "validation")
        self.steps = self.config.epochs * steps_per_epoch(len(self.train_examples), self.config)
        self.step = self.epochs_done = 0
        self.loss_sum, self.loss_tokens = 0.0, 0
        self.before = max((row.get("seconds", 0.0) for row in run.log()), default=0.0)
        self.started = monotonic()

    def load(self) -> None:
        torch.manual_seed(self.config.seed % LARGEST)
        self.captioner = captioners.load(self.workspace.base_folder(self.config.base))
        vision = self.captioner.family.vision(self.captioner.model)
        self.size = sum(weight.numel() for weight in self.captioner.model.parameters())
        frozen = methods.freezes_vision(self.config.method)
        # Features are named by the tower's weights: make the store before LoRA matrices are put into the model.
        features = FeatureStore(self.workspace.cache, self.captioner) if frozen else None
        self.weights = methods.prepare(self.captioner, self.config.method, self.config.lora_rank, self.config.base)
        vision.eval()
        self.optimizer = methods.optimizer_for(self.weights, self.config.learning_rate, self.config.weight_decay)
        self.scaler = torch.amp.GradScaler(enabled=self.captioner.dtype is torch.float16)
        self.eyes = Eyes(self.captioner, features, self.config.augment)
        self.frozen = frozen
        self.pool = ThreadPoolExecutor(1)

    def seconds(self) -> float:
        """Seconds this run has worked, stops left out."""
        return round(self.before + monotonic() - self.started, 3)

    def heed_stop(self) -> None:
        if self.stop():
            raise Stopped

    # -- learning

    def learn(self, ready: list[tuple[Batch, torch.Tensor]]) -> float:
        """One optimizer step over its batches; the mean plain loss a token. Smoothing only shapes the gradient."""
        encoded = [self.captioner.ids([text for group in batch.references for text in group]) for batch, _ in ready]
        tokens = sum(int(mask[:, 1:].sum()) for _, mask in encoded)
        self.captioner.model.train()
        if self.frozen:  # a missing feature is encoded meanwhile: the frozen tower never drops out
            self.captioner.family.vision(self.captioner.model).eval()
        total = 0.0
        for (batch, seen), (ids, mask) in zip(ready, encoded, strict=True):
            owner = torch.tensor([row for row, group in enumerate(batch.references) for _ in group], device=ids.device)
            features = seen if self.frozen else self.captioner.encode_pixels(seen)
            plain, smoothed, _ = self.captioner.losses(features[owner], ids, mask, self.config.label_smoothing)
            self.scaler.scale(smoothed / tokens).backward()
            total += plain.item()
        self._update()
        self.loss_sum, self.loss_tokens = self.loss_sum + total, self.loss_tokens + tokens
        return total / tokens

    def _update(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.steps, self.config)
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def prepare(self, step: list[Batch], number: int) -> list[tuple[Batch, torch.Tensor]]:
        """A step's batches with their pixels or kept features, made while the step before is learned."""
        draw = generator(self.config.seed, 2, number)
        ready = []
        for batch in step:
            kept, seen = self.eyes.input(batch.examples, draw)
            if seen is not None:
                ready.append((batch.only(kept), seen))
        return ready

    # -- the pieces of a run

    def fill_features(self) -> Iterator[Progress]:
        for done, total in self.eyes.fill(self.train_examples + self.validation):
            yield self.progress("features", done=done, total=total)
            self.heed_stop()

    def train_epoch(self, epoch: int) -> Iterator[Progress]:
        """The steps of ``epoch`` that are not done yet."""
        steps = plan_epoch(self.train_examples, self.config, epoch)
        first = self.step - self.epochs_done * len(steps)
        waiting = self.pool.submit(self.prepare, steps[first], self.step) if first < len(steps) else None
        for place in range(first, len(steps)):
            self.heed_stop()
            ready = waiting.result()
            if place + 1 < len(steps):
                waiting = self.pool.submit(self.prepare, steps[place + 1], self.step + 1)
            torch.manual_seed((self.config.seed * 1_000_003 + self.step) % LARGEST)  # dropout of this step, whenever it is run
            rate = rate_at(self.step, self.steps, self.config)
            if not ready:
                self.pass_over()
                continue
            loss = self.learn(ready)
            images = sum(len(batch.examples) for batch, _ in ready)
            yield self.progress("step", epoch, loss=loss, rate=rate, seconds=self.seconds(), images=images)
            if self.step % self.probe_every() == 0 and place + 1 < len(steps):
                yield self.probe(epoch)

    def pass_over(self) -> None:
        """A step of which no picture can be opened: it counts, and nothing is learned."""
        self.step += 1
        if not self.eyes.usable(self.train_examples):
            first = next(iter(self.eyes.left_out.values()))
            raise UserError(f"No training image can be opened any more; for one, {first}")

    def probe_every(self) -> int:
        return max(1, self.steps // 20)

    def probe(self, epoch: int) -> Progress:
        """What the model says now of the watched images; of one that cannot be opened, nothing."""
        examples = self.validation[: self.config.probes]
        kept, found = self.caption(examples)
        said = {example["image_id"]: caption.text for example, caption in zip(kept, found, strict=True)}
        return self.progress("probe", epoch, captions=[said.get(example["image_id"], "") for example in examples])

    @torch.inference_mode()
    def caption(self, examples: list[dict]) -> tuple[list[dict], list[Caption]]:
        self.captioner.model.eval()
        kept, features = self.eyes.encoded(examples)
        return kept, self.captioner.caption(features.float(), self.config.decoding) if kept else []

    def evaluate(self, epoch: int) -> Progress:
        """Loss, captions and scores over the validation images that can be opened; the captions are kept."""
        loss_sum = tokens = 0
        found: dict[str, Caption] = {}
        for part in parts(self.validation, 16):
            self.heed_stop()
            kept_part, loss, count, captions = self._evaluate_batch(part)
            loss_sum, tokens = loss_sum + loss, tokens + count
            found |= dict(zip((example["image_id"] for example in kept_part), captions, strict=True))
        if not found:
            first = next(iter(self.eyes.left_out.values()))
            raise UserError(f"No validation image can be opened any more; for one, {first}")
        kept.write(self.run.caption_file(epoch), found)
        references = [e["references"] for e in self.validation if e["image_id"] in found]
        scores = metrics.score([c.text for c in found.values()], references)
        values = {"loss": self.loss_sum / self.loss_tokens} if self.loss_tokens else {}
        return self.progress("epoch", epoch, validation_loss=loss_sum / tokens, scores=scores, seconds=self.seconds(), **values)

    @torch.inference_mode()
    def _evaluate_batch(self, examples: list[dict]) -> tuple[list[dict], float, int, list[Caption]]:
        self.captioner.model.eval()
        examples, features = self.eyes.encoded(examples)
        if not examples:
            return [], 0.0, 0, []
        features = features.float()
        ids, mask = self.captioner.ids([text for example in examples for text in example["references"]])
        owner = torch.tensor([row for row, e in enumerate(examples) for _ in e["references"]], device=ids.device)
        loss, tokens = self.captioner.loss_sum(features[owner], ids, mask)
        return examples, loss.item(), tokens, self.captioner.caption(features, self.config.decoding)

    def progress(self, kind: str, epoch: int = 0, **values) -> Progress:
        return Progress(kind, epoch, self.step, values)


def resolved(run: Run, split: str) -> list[dict]:
    """A run's examples with absolute paths; a relative path stands beside run.json."""
    return [{**row, "path": str(run.folder / row["path"])} for row in run.examples(split)]
