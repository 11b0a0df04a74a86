"""Run: one fine-tune on disk. Its folder is the truth; the page, the command line and the tests read the same files.

<run>/
  run.json                       RunConfig, when it was made, versions
  examples.jsonl                 image_id, file, path, references, split ("train" | "validation") of every image used
  log.jsonl                      one Progress a line
  status.json                    state, process, step; written by the process that trains
  epoch-1/ epoch-2/ ...          checkpoints; a folder with checkpoint.json is complete, one without is ignored
  captions/<decoding>/epoch-0.jsonl ...   captions of the validation images; epoch 0 is the base
  resume/state.pt                weights, optimizer and position of the last stop or epoch end
  start/                         what the run began from, when that is a checkpoint of a run (see origin.py)
  stop                           a request to stop, removed when it is heeded
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

from explorer import files, processes
from explorer.errors import UserError
from explorer.model import origin
from explorer.model.captions import Decoding
from explorer.workspace import Workspace

METHODS = {
    "full": "all weights",
    "decoder": "the text decoder; the vision tower stays frozen and its features are kept on disk",
    "lora": "small LoRA matrices on the text decoder over frozen, kept vision features",
    "lora-vision": "small LoRA matrices on the text decoder and the vision tower",
}
REFERENCES = ("all", "sample")
BEST_BY = ("loss", "CIDEr", "BLEU-4", "ROUGE-L")
KEEP = ("all", "best", "last")


@dataclass(frozen=True)
class RunConfig:
    """What decides a run. Checked by `check`; the page and the command line both end up here.

    ``images``: how many of the dataset's images to use (None: all). ``references``: "all" trains on every
    reference of an image in one pass over its features, "sample" on one drawn anew each epoch.
    ``batch_size`` counts images, over all processes; ``accumulate`` batches make one step. ``base`` may be a
    checkpoint of a run: run@epoch. ``best_by`` names the score that decides the best epoch; ``keep`` which
    checkpoints stay; after ``patience`` epochs without a better one the run ends (0: never).
    """

    name: str
    base: str
    dataset: str
    epochs: int = 3
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 5e-5
    method: str = "lora"
    seed: int = 0
    images: int | None = None
    validation: float = 0.2
    validation_images: int = 100
    augment: bool = True
    references: str = "all"
    label_smoothing: float = 0.1
    weight_decay: float = 0.05
    warmup: float = 0.1
    lora_rank: int = 16
    probes: int = 6
    best_by: str = "loss"
    keep: str = "all"
    patience: int = 0
    decoding: Decoding = field(default_factory=Decoding)

    def check(self) -> RunConfig:
        """This config when every value makes sense; else UserError naming the value and the remedy."""
        whole = {
            "epochs": (1, 1000),
            "batch_size": (1, 1024),
            "accumulate": (1, 1024),
            "lora_rank": (1, 512),
            "seed": (0, 2**63 - 1),
            "probes": (0, 50),
            "patience": (0, 1000),
            "validation_images": (1, 1_000_000),
            "beams": (1, 10),
            "max_tokens": (1, 200),
        }
        for name, (low, high) in whole.items():
            value = getattr(self if hasattr(self, name) else self.decoding, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise UserError(f"{name.replace('_', ' ')} is {value!r}: take a whole number from {low} to {high}.")
        for name in ("label_smoothing", "warmup", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UserError(f"The {name.replace('_', ' ')} is {value!r}: take a number from 0 to below 1.")
        if not 0 < self.learning_rate < 1:
            raise UserError(f"The learning rate is {self.learning_rate!r}: take a number such as 5e-5, below 1.")
        if not 0 < self.validation < 1:
            raise UserError(f"The validation share is {self.validation!r}: take a number between 0 and 1, such as 0.2.")
        if self.images is not None and self.images < 2:
            raise UserError(f"Images to use is {self.images!r}: at least 2 are needed, or leave it empty for all.")
        if self.method not in METHODS:
            raise UserError(f"The method {self.method!r} is not known: take one of {', '.join(METHODS)}.")
        for name, known in (("references", REFERENCES), ("best_by", BEST_BY), ("keep", KEEP)):
            if getattr(self, name) not in known:
                raise UserError(f"{name.replace('_', ' ')} {getattr(self, name)!r} is not known: take one of {', '.join(known)}.")
        return self

    @staticmethod
    def from_dict(values: dict) -> RunConfig:
        known = {f.name for f in fields(RunConfig)}
        values = {name: value for name, value in values.items() if name in known}
        return RunConfig(**{**values, "decoding": Decoding(**values.get("decoding", {}))})


@dataclass(frozen=True)
class Progress:
    """One event of a live run.

    kind: "start" | "loading" | "features" | "step" | "probe" | "epoch" | "warning" | "saved" | "end".
    ``values`` by kind:
    start    steps (in all), train, validation, parameters, trained, vocabulary, processes (that train together)
    features done, total
    step     loss (plain cross-entropy a token, as in validation), rate, seconds (since the run began, stops left out), images
    probe    captions: list[str] in the order of the run's probes; "" for an image that can no longer be opened
    epoch    loss (training, mean), validation_loss, scores: {CIDEr, BLEU-4, ROUGE-L, references}, seconds
             (epoch 0 is the base)
    warning  code, text; the code of an image left out is image:<image_id>, of a batch that was halved memory:<parts>
    saved    folder, bytes
    end      state: "finished" | "stopped" | "failed", text
    """

    kind: str
    epoch: int
    step: int
    values: dict

    def row(self) -> dict:
        return {"kind": self.kind, "epoch": self.epoch, "step": self.step, "time": time.time(), **self.values}


@dataclass(frozen=True)
class Checkpoint:
    """Weights at an epoch's end. ``adapter`` says whether the folder holds a LoRA adapter or a whole model."""

    epoch: int
    step: int
    folder: Path
    adapter: bool
    bytes: int


@dataclass(frozen=True)
class Status:
    """What a run is doing now. state: "waiting" | "running" | "finished" | "stopped" | "failed" | "died"."""

    state: str
    step: int = 0
    steps: int = 0
    epoch: int = 0
    text: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True)
class Run:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> RunConfig:
        values = files.read_json(self.folder / "run.json")
        if not values:
            raise UserError(f"The run {self.name!r} has no readable run.json in {self.folder}.")
        return RunConfig.from_dict(values["config"])

    def log(self) -> list[dict]:
        return files.read_jsonl(self.folder / "log.jsonl")

    def examples(self, split: str | None = None) -> list[dict]:
        rows = files.read_jsonl(self.folder / "examples.jsonl")
        return [row for row in rows if split is None or row["split"] == split]

    def checkpoints(self) -> list[Checkpoint]:
        """Complete checkpoints by epoch; folders without checkpoint.json do not count."""
        found = []
        for marker in self.folder.glob("epoch-*/checkpoint.json"):
            values = files.read_json(marker)
            if values:
                found.append(Checkpoint(values["epoch"], values["step"], marker.parent, values["adapter"], values["bytes"]))
        return sorted(found, key=lambda checkpoint: checkpoint.epoch)

    def checkpoint(self, epoch: int) -> Checkpoint:
        for checkpoint in self.checkpoints():
            if checkpoint.epoch == epoch:
                return checkpoint
        have = ", ".join(str(checkpoint.epoch) for checkpoint in self.checkpoints()) or "none"
        dropped = f" It keeps the {self.config.keep} only." if epoch in self.epochs() else ""
        raise UserError(f"The run {self.name!r} has no checkpoint of epoch {epoch}; it has: {have}.{dropped}")

    def epochs(self) -> list[int]:
        """Epochs that can be shown: those with a checkpoint, and those whose checkpoint was dropped and whose captions stay."""
        told = {int(file.stem.split("-")[1]) for file in self.caption_file(0).parent.glob("epoch-[1-9]*.jsonl")}
        return sorted(told | {checkpoint.epoch for checkpoint in self.checkpoints()})

    def base(self, workspace: Workspace) -> str:
        """What the run began from, as a name or folder to open."""
        start = self.folder / origin.START
        return str(start) if start.is_dir() else workspace.base_folder(self.config.base)

    def status(self) -> Status:
        """The state on disk, corrected by whether the process that wrote it still lives."""
        values = files.read_json(self.folder / "status.json")
        if values is None:
            return Status("waiting", text="not started")
        state, text = values.get("state", "waiting"), values.get("text", "")
        if state == "running" and not processes.is_alive(values.get("pid"), values.get("born")):
            state, text = "died", f"died at step {values.get('step', 0)}: its process is gone; resume goes on from the last save"
            word = files.read_json(self.last_words)
            state, text = ("failed", word["text"]) if word else (state, text)
        return Status(state, values.get("step", 0), values.get("steps", 0), values.get("epoch", 0), text, values.get("seconds_left"))

    @property
    def last_words(self) -> Path:
        """Where one of several processes says why it ended, when the first cannot."""
        return self.folder / ".last-words.json"

    def caption_file(self, epoch: int, decoding: Decoding | None = None) -> Path:
        return self.folder / "captions" / (decoding or self.config.decoding).key / f"epoch-{epoch}.jsonl"

    def request_stop(self) -> None:
        (self.folder / "stop").touch()

    def probe_examples(self) -> list[dict]:
        """The images whose captions are shown while the run is live: the first ones of the validation split."""
        return self.examples("validation")[: self.config.probes]


def create(folder: Path, config: RunConfig, examples: list[dict], start: Path | None = None) -> Run:
    """Make a run's folder, whole or not at all. ``start``: the checkpoint it begins from, if it does.

    Raises UserError when the name is taken, also by another who takes it at the same moment.
    """
    config.check()
    if (folder / "run.json").exists():
        raise UserError(f"There is a run named {config.name!r} already: choose another name.")
    staging = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        files.write_jsonl(staging / "examples.jsonl", examples)
        if start is not None:
            origin.keep(start, staging / origin.START)
        files.write_json(staging / "run.json", {"config": asdict(config), "created": time.time()})
        os.rename(staging, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise UserError(f"The name {config.name!r} is taken: {folder} is there already. Choose another name.") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Run(folder)


def change_config(run: Run, **changes) -> Run:
    """The same run with other values, such as more epochs; kept on disk."""
    config = replace(run.config, **changes).check()
    values = files.read_json(run.folder / "run.json") or {}
    files.write_json(run.folder / "run.json", {**values, "config": asdict(config)})
    return Run(run.folder)


def add_epochs(run: Run, epochs: int) -> Run:
    """The same run with ``epochs`` in all. One that ended early goes on without patience: somebody wants to see more.

    Raises UserError when it has as many already.
    """
    done = max(run.epochs(), default=0)
    if epochs < done:
        raise UserError(f"The run {run.name!r} has {done} epochs already: give a larger number to add epochs.")
    ended_early = run.status().state == "finished" and done < run.config.epochs
    return change_config(run, epochs=epochs, **({"patience": 0} if ended_early else {}))


def by_kind(log: list[dict], kind: str) -> Iterator[dict]:
    return (row for row in log if row["kind"] == kind)
