"""The fine-tune itself: a run in, a stream of Progress out. One engine for every method and architecture.

    for progress in finetune(run, workspace):
        print(progress)

The loss covers caption and end tokens only. A step's gradient is that of all its batches' tokens together, so
accumulating 8 x 1 equals 1 x 8. Whatever is drawn at random in a step comes from the run's seed and the step's
number alone, so a resumed run repeats an uninterrupted one bit for bit on CPU.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic

import torch

from explorer import captioner as captioners
from explorer import captions as kept
from explorer import files, health, methods, metrics
from explorer.captions import Caption
from explorer.errors import UserError
from explorer.eyes import Eyes
from explorer.features import FeatureStore
from explorer.run import Checkpoint, Progress, Run, RunConfig, by_kind
from explorer.workspace import Workspace

LARGEST = 2**63 - 1
"""Seeds beyond this are more than torch takes."""


class Stopped(Exception):
    """Somebody asked the run to stop."""


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


# --- the plan: what is seen in which step -----------------------------------------------------------------


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
    batches = [Batch(tuple(e for e, _ in part), tuple(r for _, r in part)) for part in _parts(picked, config.batch_size)]
    return list(_parts(batches, config.accumulate))


def _pick(example: dict, config: RunConfig, draw: torch.Generator) -> tuple[dict, tuple[str, ...]]:
    references = tuple(example["references"])
    if config.references == "sample":
        references = (references[int(torch.randint(len(references), (1,), generator=draw))],)
    return example, references


def _parts(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def steps_per_epoch(images: int, config: RunConfig) -> int:
    return math.ceil(math.ceil(images / config.batch_size) / config.accumulate)


def rate_at(step: int, steps: int, config: RunConfig) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter, 2017); ``step`` counts from 0."""
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


# --- the engine -------------------------------------------------------------------------------------------


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
        for part in _parts(self.validation, 16):
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

    # -- what is kept

    def save_checkpoint(self, epoch: int) -> Progress:
        """The weights at this epoch's end, whole or not at all: checkpoint.json is written last."""
        final = self.run.folder / f"epoch-{epoch}"
        with files.whole_folder(final) as folder:
            methods.save_weights(self.captioner, self.config.method, folder)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            adapter = methods.is_adapter(self.config.method)
            row = {"epoch": epoch, "step": self.step, "adapter": adapter, "bytes": size, "base": self.config.base}
            files.write_json(folder / "checkpoint.json", row)
        return self.progress("saved", epoch, folder=final.name, bytes=size)

    def save_state(self) -> None:
        """What a resume needs: weights, optimizer, position."""
        path = self.run.folder / "resume" / "state.pt"
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            torch.save(self._state(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def _state(self) -> dict:
        return {
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "position": [self.step, self.epochs_done, self.loss_sum, self.loss_tokens],
        }

    def load_state(self) -> bool:
        path = self.run.folder / "resume" / "state.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.captioner.device, weights_only=True)
            with torch.no_grad():
                for name, weight in self.weights.items():
                    weight.copy_(state["weights"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.epochs_done, self.loss_sum, self.loss_tokens = state["position"]
        except Exception as error:  # torch raises many kinds for a file that is not as it was written
            raise UserError(
                f"The run {self.run.name!r} cannot go on: {path} is damaged or of another model. Delete that file to begin again "
                "from the base; complete checkpoints stay."
            ) from error
        return True

    def progress(self, kind: str, epoch: int = 0, **values) -> Progress:
        return Progress(kind, epoch, self.step, values)


def resolved(run: Run, split: str) -> list[dict]:
    """A run's examples with absolute paths; a relative path stands beside run.json."""
    return [{**row, "path": str(run.folder / row["path"])} for row in run.examples(split)]


# --- the run ----------------------------------------------------------------------------------------------


def finetune(run: Run, workspace: Workspace, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Run or resume ``run`` to its last epoch. ``stop`` is asked between steps; a stopped run resumes there.

    The last Progress is of kind "end". Raises UserError for what the person can mend (base, images, disk).
    """
    sweep(run)
    engine = Engine(run, workspace, stop)
    yield engine.progress("loading")
    engine.load()
    trim_log(run, engine.step if engine.load_state() else 0, engine.epochs_done)
    watch = Watch(run, engine.captioner.vocabulary)
    try:
        for progress in _course(engine):
            yield progress
            yield from watch(progress, engine.eyes.left_out)
        yield engine.progress("end", engine.epochs_done, state="finished", text=f"finished {engine.config.epochs} epochs")
    except Stopped:
        engine.save_state()
        yield engine.progress("end", engine.epochs_done, state="stopped", text=f"stopped at step {engine.step} of {engine.steps}")
    finally:
        engine.pool.shutdown(cancel_futures=True)


def _course(engine: Engine) -> Iterator[Progress]:
    """Everything between loading and the end."""
    learn = sum(weight.numel() for weight in engine.weights.values())
    yield engine.progress(
        "start",
        steps=engine.steps,
        train=len(engine.train_examples),
        validation=len(engine.validation),
        parameters=engine.size,
        trained=learn,
        vocabulary=engine.captioner.vocabulary,
    )
    yield from engine.fill_features()
    if not engine.epochs_done and not engine.step:
        yield engine.evaluate(0)
    for epoch in range(engine.epochs_done + 1, engine.config.epochs + 1):
        yield from engine.train_epoch(epoch)
        scored = engine.evaluate(epoch)
        yield engine.save_checkpoint(epoch)
        engine.epochs_done, engine.loss_sum, engine.loss_tokens = epoch, 0.0, 0
        yield scored
        engine.save_state()


class Watch:
    """Looks at the run's log after each event and tells, once each, what looks wrong."""

    def __init__(self, run: Run, vocabulary: int):
        self.rows = run.log()
        self.told = {row["code"] for row in by_kind(self.rows, "warning")}
        self.vocabulary = vocabulary

    def __call__(self, progress: Progress, left_out: dict[str, str]) -> Iterator[Progress]:
        self.rows.append(progress.row())
        warnings = [health.Warning(f"image:{image}", text) for image, text in list(left_out.items())]
        if self.due(progress):
            warnings += health.check(self.rows, self.vocabulary)
        for warning in warnings:
            if warning.code not in self.told:
                self.told.add(warning.code)
                yield replace(progress, kind="warning", values={"code": warning.code, "text": warning.text})

    def due(self, progress: Progress) -> bool:
        """Every step at first, every tenth later: a check reads the whole log."""
        if progress.kind == "step":
            return progress.step < 50 or progress.step % 10 == 0
        return progress.kind in ("probe", "epoch")


def sweep(run: Run) -> None:
    """Remove what a killed run left half written; nothing reads it, but it takes room on the disk."""
    for folder in run.folder.glob(".epoch-*"):
        shutil.rmtree(folder, ignore_errors=True)


def trim_log(run: Run, step: int, epochs_done: int) -> None:
    """Leave in the log what the resumed state has behind it: later steps will be done, and told, again."""
    rows = run.log()
    kept_rows = [
        row
        for row in rows
        if row["kind"] not in ("end", "loading", "features")
        and row["step"] <= step
        and not (row["kind"] in ("epoch", "saved") and row["epoch"] > epochs_done)
    ]
    if not step and not epochs_done:
        kept_rows = []
    if kept_rows != rows:
        files.write_jsonl(run.folder / "log.jsonl", kept_rows)


def final_checkpoint(run: Run) -> Checkpoint | None:
    """The model a run ends with: the checkpoint of its last epoch."""
    checkpoints = run.checkpoints()
    return checkpoints[-1] if checkpoints else None
