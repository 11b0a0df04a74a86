"""A run loaded and ready: it learns a step at a time, says what it sees, and scores itself. One for every method and architecture.

The loss covers caption and end tokens only. A step's gradient is that of all its batches' tokens together, so
accumulating 8 x 1 equals 1 x 8. Whatever is drawn at random in a step comes from the run's seed and the step's
number alone, so a resumed run repeats an uninterrupted one bit for bit on CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import torch

from explorer.errors import UserError
from explorer.model import captioner as captioners
from explorer.model import captions as kept
from explorer.model import memory
from explorer.model.captions import Caption
from explorer.model.features import FeatureStore
from explorer.scoring import metrics
from explorer.train import methods
from explorer.train.eyes import Eyes
from explorer.train.ranks import Ranks
from explorer.train.run import Progress, Run
from explorer.train.schedule import LARGEST, Batch, generator, parts, plan_epoch, rate_at, steps_per_epoch
from explorer.workspace import Workspace

Seen = tuple[Batch, torch.Tensor]
"""A batch and its pixels or kept features, a row an example."""


class Stopped(Exception):
    """Somebody asked the run to stop."""


class Engine:
    """A loaded run: the model ready for its method, its examples, and where it stands.

    With several processes each holds such an engine and looks at its share of every batch (see ranks.py).
    """

    def __init__(self, run: Run, workspace: Workspace, stop: Callable[[], bool], ranks: Ranks = Ranks()):
        self.run, self.config, self.workspace, self.stop, self.ranks = run, run.config, workspace, stop, ranks
        self.train_examples = resolved(run, "train")
        self.validation = resolved(run, "validation")
        self.steps = self.config.epochs * steps_per_epoch(len(self.train_examples), self.config)
        self.step = self.epochs_done = 0
        self.loss_sum, self.loss_tokens = 0.0, 0
        self.pieces = 1  # into how many parts a batch is cut because memory ran out
        self.notes: dict[str, str] = {}  # what the person should know, by code; each is told once
        self.before = max((row.get("seconds", 0.0) for row in run.log()), default=0.0)
        self.started = monotonic()

    def load(self) -> None:
        torch.manual_seed(self.config.seed % LARGEST)
        self.captioner = captioners.load(self.run.base(self.workspace))
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
        if self.ranks.any(self.stop()):
            raise Stopped

    def progress(self, kind: str, epoch: int = 0, **values) -> Progress:
        return Progress(kind, epoch, self.step, values)

    def share_notes(self) -> None:
        """Let every process know what each has left out or run into; the first one tells."""
        mended = self.eyes.features.mended if self.eyes.features is not None else ()
        if mended:
            count = "1 image were" if len(mended) == 1 else f"{len(mended)} images were"
            self.notes.setdefault("features", f"The kept vision features of {count} damaged and have been made anew: nothing is lost.")
        for left_out, notes in self.ranks.gather((self.eyes.left_out, self.notes)):
            self.eyes.left_out |= left_out
            self.notes |= notes

    # -- learning

    def learn(self, ready: list[Seen]) -> dict | None:
        """One optimizer step over its batches, all processes' together: {loss, images}; None when nobody sees a picture.

        ``loss`` is the mean plain loss a token. Smoothing only shapes the gradient.
        """
        texts = [text for batch, _ in ready for group in batch.references for text in group]
        tokens = int(self.captioner.ids(texts)[1][:, 1:].sum()) if texts else 0
        tokens, images = self.ranks.sum(tokens, sum(len(batch.examples) for batch, _ in ready))
        if not tokens:
            return None
        self.captioner.model.train()
        if self.frozen:  # a missing feature is encoded meanwhile: the frozen tower never drops out
            self.captioner.family.vision(self.captioner.model).eval()
        (total,) = self.ranks.sum(self.gradients(ready, tokens))
        self.ranks.sum_gradients(self.weights.values())
        self._update()
        self.loss_sum, self.loss_tokens = self.loss_sum + total, self.loss_tokens + tokens
        return {"loss": total / tokens, "images": int(images)}

    def gradients(self, ready: list[Seen], tokens: float) -> float:
        """Add up the gradients of this process's batches; their summed loss. Halves them for good when memory runs out."""
        while True:
            # Dropout of this step, whenever it is run and however often; each process drops out its own.
            torch.manual_seed((self.config.seed * 1_000_003 + self.step + self.ranks.rank * 999_983_000_000) % LARGEST)
            try:
                return sum(self._backward(piece, tokens) for seen in ready for piece in cut(seen, self.pieces))
            except Exception as error:
                if not memory.ran_out(error):
                    raise
            self._halve(max(len(batch.examples) for batch, _ in ready))

    def _backward(self, piece: Seen, tokens: float) -> float:
        batch, seen = piece
        ids, mask = self.captioner.ids([text for group in batch.references for text in group])
        owner = torch.tensor([row for row, group in enumerate(batch.references) for _ in group], device=ids.device)
        features = seen if self.frozen else self.captioner.encode_pixels(seen)
        plain, smoothed, _ = self.captioner.losses(features, ids, mask, self.config.label_smoothing, owner)
        self.scaler.scale(smoothed / tokens).backward()
        return plain.item()

    def _halve(self, images: int) -> None:
        """Cut batches into twice as many parts. Raises UserError when they are single images already."""
        if self.pieces >= images:
            raise UserError(memory.NO_ROOM)
        self.optimizer.zero_grad(set_to_none=True)
        memory.free()
        self.pieces *= 2
        size = max(1, math.ceil(images / self.pieces))
        self.notes[f"memory:{self.pieces}"] = (
            f"The memory ran out at step {self.step + 1}: from here each batch is learned {size} {'image' if size == 1 else 'images'} at a "
            f"time, {self.pieces} parts a step. A step still counts {self.config.batch_size * self.config.accumulate} images and its "
            "gradient is the same; it only takes longer."
        )

    def _update(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.steps, self.config)
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def prepare(self, step: list[Batch], number: int) -> list[Seen]:
        """A step's batches with their pixels or kept features, made while the step before is learned."""

        def draw(example: dict) -> torch.Generator:
            return generator(self.config.seed, 2, number, int(example["image_id"][:12], 16))

        ready = []
        for batch in step:
            batch = batch.part(slice(self.ranks.rank, None, self.ranks.size))
            kept, seen = self.eyes.input(batch.examples, draw)
            if seen is not None:
                ready.append((batch.only(kept), seen))
        return ready

    # -- the pieces of a run

    def fill_features(self) -> Iterator[Progress]:
        for done, total in self.eyes.fill(self.ranks.share(self.train_examples + self.validation)):
            yield self.progress("features", done=done * self.ranks.size, total=total * self.ranks.size)
            if self.stop():  # each process by itself: they have different numbers of images to look at
                break
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
            rate = rate_at(self.step, self.steps, self.config)
            learned = self.learn(ready)
            if learned is None:
                self.pass_over()
                continue
            yield self.progress("step", epoch, loss=learned["loss"], rate=rate, seconds=self.seconds(), images=learned["images"])
            if self.ranks.first and self.step % self.probe_every() == 0 and place + 1 < len(steps):
                yield self.probe(epoch)

    def pass_over(self) -> None:
        """A step of which no picture can be opened: it counts, and nothing is learned."""
        self.step += 1
        self.share_notes()
        if not self.eyes.usable(self.train_examples):
            first = next(iter(self.eyes.left_out.values()))
            raise UserError(f"No training image can be opened any more; for one, {first}")

    def probe_every(self) -> int:
        return max(1, self.steps // 20)

    def probe(self, epoch: int) -> Progress:
        """What the model says now of the watched images; of one that cannot be opened, nothing."""
        examples = self.validation[: self.config.probes]
        said = {}
        for kept_part, found in memory.halving(examples, self.caption) if examples else []:
            said |= {example["image_id"]: caption.text for example, caption in zip(kept_part, found, strict=True)}
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
        small = self.size < captioners.FULL_PRECISION_BELOW
        for part in parts(self.validation, 32 if small else 16):  # a small model's words take longer to ask for than to find
            self.heed_stop()
            for kept_part, loss, count, captions in memory.halving(self.ranks.share(part), self._evaluate_batch):
                loss_sum, tokens = loss_sum + loss, tokens + count
                found |= dict(zip((example["image_id"] for example in kept_part), captions, strict=True))
        loss_sum, tokens = self.ranks.sum(loss_sum, tokens)
        found = {name: caption for share in self.ranks.gather(found) for name, caption in share.items()}
        self.share_notes()
        if not found:
            first = next(iter(self.eyes.left_out.values()))
            raise UserError(f"No validation image can be opened any more; for one, {first}")
        scores = self._keep_and_score(epoch, found) if self.ranks.first else {}
        values = {"loss": self.loss_sum / self.loss_tokens} if self.loss_tokens else {}
        return self.progress("epoch", epoch, validation_loss=loss_sum / tokens, scores=scores, seconds=self.seconds(), **values)

    def _keep_and_score(self, epoch: int, found: dict[str, Caption]) -> dict:
        examples = [example for example in self.validation if example["image_id"] in found]
        kept.write(self.run.caption_file(epoch), {example["image_id"]: found[example["image_id"]] for example in examples})
        return metrics.score([found[e["image_id"]].text for e in examples], [e["references"] for e in examples])

    @torch.inference_mode()
    def _evaluate_batch(self, examples: list[dict]) -> tuple[list[dict], float, int, list[Caption]]:
        self.captioner.model.eval()
        examples, features = self.eyes.encoded(examples)
        if not examples:
            return [], 0.0, 0, []
        features = features.float()
        ids, mask = self.captioner.ids([text for example in examples for text in example["references"]])
        owner = torch.tensor([row for row, e in enumerate(examples) for _ in e["references"]], device=ids.device)
        loss, tokens = self.captioner.loss_sum(features, ids, mask, owner)
        return examples, loss.item(), tokens, self.captioner.caption(features, self.config.decoding)


def cut(seen: Seen, pieces: int) -> Iterator[Seen]:
    """A batch and what is seen of it in up to ``pieces`` parts of equal size."""
    batch, rows = seen
    size = max(1, math.ceil(len(batch.examples) / pieces))
    return ((batch.part(slice(at, at + size)), rows[at : at + size]) for at in range(0, len(batch.examples), size))


def resolved(run: Run, split: str) -> list[dict]:
    """A run's examples with absolute paths; a relative path stands beside run.json."""
    return [{**row, "path": str(run.folder / row["path"])} for row in run.examples(split)]
