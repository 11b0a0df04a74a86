"""From a person's few choices to a run: sensible values, the price beforehand, and the command line that equals it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from explorer import lazy, processes
from explorer.data import dataset as datasets
from explorer.data import sources
from explorer.data.dataset import Dataset, Example
from explorer.errors import UserError
from explorer.model.captions import Decoding
from explorer.scoring.metrics import FEW
from explorer.train import methods
from explorer.train.run import Run, RunConfig, by_kind, create
from explorer.workspace import CHECKPOINT, Workspace, check_name, free_name

DEFAULT_BASE = "blip-mini"
BASES = (DEFAULT_BASE, "Salesforce/blip-image-captioning-base", "Salesforce/blip-image-captioning-large")


PROJECT = Path(__file__).resolve().parents[2]
_drawing = threading.Lock()
_ahead: dict[Path, subprocess.Popen] = {}


@dataclass(frozen=True)
class BaseFacts:
    """What a base's config tells without its weights. ``features``: numbers the vision tower gives for one image."""

    size: int
    vision_size: int
    patches: int
    width: int
    trained: dict[str, int]


@lru_cache(maxsize=16)
def base_facts(base: str, rank: int = 16) -> BaseFacts:
    """Read the config of a base (Hub id or folder) and count. Raises ModelError when it cannot be opened."""
    transformers = lazy.transformers()
    import torch

    from explorer.model.captioner import family_of, load_config

    family, config = family_of(base), load_config(base)
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    vision = family.vision(model)
    size, vision_size = (sum(w.numel() for w in part.parameters()) for part in (model, vision))
    lora = {m: methods.lora_size(model, methods.target_names(model, family, m), rank) for m in ("lora", "lora-vision")}
    seen = vision.config
    patches = (seen.image_size // seen.patch_size) ** 2 + 1
    return BaseFacts(size, vision_size, patches, seen.hidden_size, {"full": size, "decoder": size - vision_size, **lora})


def long_captions(workspace: Workspace, base: str, dataset: Dataset) -> tuple[datasets.Problem, ...]:
    """The references of a dataset that are longer than ``base`` takes, each told with its file."""
    name = workspace.base_folder(base)
    lazy.transformers()
    from explorer.model.captioner import load_config, load_tokenizer
    from explorer.model.families import text_limit

    tokenizer = load_tokenizer(name)
    return datasets.too_long(
        dataset, lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 2, text_limit(load_config(name))
    )


def advise(workspace: Workspace, base: str) -> methods.Advice:
    size = base_facts(workspace.base_folder(base)).size
    import torch

    return methods.advise(size, torch.cuda.is_available())


# --- the run ----------------------------------------------------------------------------------------------


def find_dataset(data: str, workspace: Workspace) -> Path:
    """The image folder meant by ``data``: a folder, a zip, a saved dataset, a dataset of the workspace, a Hub id."""
    named = workspace.datasets / data
    if data == "scenes":
        return scenes_folder(workspace)
    if "/" not in data and named.is_dir():
        return named
    path = Path(data).expanduser()
    if path.is_dir():
        return sources.import_saved(path, workspace) if sources.is_saved(path) else path.resolve()
    if path.suffix.lower() == ".zip" and path.is_file():
        return sources.import_zip(path, workspace)
    if sources.is_hub_id(data):
        return sources.import_hub(data, workspace)
    raise UserError(f"The data {data!r} was not found: name an image folder, a zip, or a Hub dataset such as owner/name.")


def scenes_folder(workspace: Workspace) -> Path:
    """The embedded dataset of drawn pets, drawn when it is first asked for."""
    from explorer import scenes

    folder = workspace.datasets / "scenes"
    with _drawing:
        if child := _ahead.pop(folder, None):
            child.wait()
        return folder if folder.is_dir() else scenes.write(folder)


def draw_ahead(workspace: Workspace) -> None:
    """Begin to draw the embedded dataset before somebody asks for it, in a process that gives way to the page."""
    folder = workspace.datasets / "scenes"
    with _drawing:
        if not folder.is_dir() and folder not in _ahead:
            command, quiet = [sys.executable, "-m", "explorer.scenes", str(folder), "--for-parent"], subprocess.DEVNULL
            apart = dict(stdout=quiet, stderr=quiet, start_new_session=True)  # so that giving way reaches it
            child = _ahead[folder] = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, **apart)
            processes.give_way(child.pid)


def example_rows(examples: Sequence[Example], split: str) -> list[dict]:
    return [
        {"image_id": e.image_id, "file": e.file_name, "path": str(e.path), "references": list(e.references), "split": split}
        for e in examples
    ]


def make_run(workspace: Workspace, config: RunConfig, dataset: Dataset | None = None) -> Run:
    """The folder of a new run, ready to start. Raises UserError for a bad value, name or dataset."""
    check_name(config.name)
    config.check()
    folder = workspace.root / config.name
    if (folder / "run.json").exists():
        raise UserError(f"There is a run named {config.name!r} already: choose another name, or resume that one.")
    dataset = dataset or datasets.read(Path(config.dataset))
    parts = datasets.split(dataset, config.validation, config.seed, limit=config.images)
    validation = example_rows(parts.validation[: config.validation_images], "validation")
    if config.best_by == "CIDEr" and len(validation) < FEW:
        raise UserError(f"CIDEr needs {FEW} validation images and there are {len(validation)}: choose the best epoch by loss or ROUGE-L.")
    start = Path(workspace.base_folder(config.base)) if CHECKPOINT.fullmatch(config.base) else None
    return create(folder, config, example_rows(parts.train, "train") + validation, start)


def next_name(workspace: Workspace, base: str, dataset: str) -> str:
    """A free name that says what is in the run."""
    wish = f"{Path(base).name}-{Path(dataset).stem}"
    return free_name(wish, {folder.name for folder in workspace.run_folders()})


def command_line(config: RunConfig) -> str:
    """The command that does the same without the page."""
    words = ["python", "-m", "explorer", "finetune", "--base", config.base, "--data", config.dataset, "--name", config.name]
    given = RunConfig("", "", "")
    for item in fields(RunConfig):
        value = getattr(config, item.name)
        if item.name in ("name", "base", "dataset", "decoding"):
            continue
        if item.name in ("epochs", "method", "batch_size", "learning_rate", "seed") or value != getattr(given, item.name):
            flag = "--" + item.name.replace("_", "-")
            words += [flag if value else "--no-" + flag[2:]] if isinstance(value, bool) else [flag, str(value)]
    for item in fields(Decoding):
        value = getattr(config.decoding, item.name)
        if value != item.default:
            words.append(f"--{item.name.replace('_', '-')}={value}")  # one word: a prompt may begin with a dash
    return shlex.join(words)


# --- the price --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """Before the start: seconds, bytes of memory, bytes on disk, and whether the time was measured or reckoned."""

    seconds: float
    memory: int
    disk: int
    measured: bool


def estimate(workspace: Workspace, config: RunConfig, train: int, validation: int, references: float) -> Estimate:
    """What a run will take. ``references``: mean number an image; the time comes from an earlier run when there is one."""
    facts = base_facts(workspace.base_folder(config.base), config.lora_rank)
    pace = measured_pace(workspace, config)
    seconds = pace * train * config.epochs if pace else reckoned_seconds(facts, config, train, validation, references)
    trained = facts.trained[config.method]
    kept = trained if methods.is_adapter(config.method) else facts.size
    frozen = methods.freezes_vision(config.method)
    features = (train + validation) * facts.patches * facts.width * 2 if frozen else 0
    work = config.batch_size * activations(facts, config, references)
    memory = 700_000_000 + 4 * facts.size + 12 * trained + work
    return Estimate(
        seconds + 8, int(memory), 4 * kept * (config.epochs if config.keep == "all" else 2) + 12 * trained + features, pace is not None
    )


def activations(facts: BaseFacts, config: RunConfig, references: float) -> float:
    """Rough bytes of activations an image: some 34 numbers a layer, place and width (Korthikanti et al., 2022)."""
    layers = facts.vision_size / (12 * facts.width**2)
    seen = 0 if methods.freezes_vision(config.method) else layers * facts.patches
    text_layers = max(1.0, (facts.size - facts.vision_size) / (16 * facts.width**2))
    return 34 * facts.width * 2 * (seen + text_layers * 16 * references)


def reckoned_seconds(facts: BaseFacts, config: RunConfig, train: int, validation: int, references: float) -> float:
    """Floating-point operations over this machine's rate: 2 a weight and place forward, 4 more backward."""
    frozen = methods.freezes_vision(config.method)
    decoder, words = facts.size - facts.vision_size, 14
    seen = 2 * facts.vision_size * facts.patches
    text = 2 * decoder * words * (references if config.references == "all" else 1)
    epoch = train * 3 * text + (0 if frozen else train * 3 * seen)
    scoring = validation * (text + 2 * decoder * words + (0 if frozen else seen))
    once = (train + validation) * seen if frozen else 0
    return (config.epochs * epoch + (config.epochs + 1) * scoring * 1.5 + once) / machine_rate()


@lru_cache(maxsize=1)
def machine_rate() -> float:
    """Useful floating-point operations a second of this machine: half of what a large matrix product reaches."""
    import torch

    from explorer.model.captioner import best_device, half_type

    device = best_device()
    a = torch.randn(768, 768, device=device, dtype=half_type(device) or torch.float32)
    a @ a
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 0.1:
        (a @ a)[0, 0].item()
        count += 1
    return 0.5 * 2 * 768**3 * count / (time.perf_counter() - started)


def measured_pace(workspace: Workspace, config: RunConfig) -> float | None:
    """Seconds a training image of the newest finished run of the same base and method, everything counted in."""
    found = []
    for folder in workspace.run_folders():
        run = Run(folder)
        try:
            same = run.config.base == config.base and run.config.method == config.method and folder.parent == workspace.root
        except UserError:
            continue
        epochs = [row for row in by_kind(run.log(), "epoch") if row["epoch"]] if same else []
        start = next(by_kind(run.log(), "start"), None) if epochs else None
        if start and start["train"] >= 8:
            found.append((epochs[-1]["time"], epochs[-1]["seconds"] / (start["train"] * len(epochs))))
    return max(found)[1] if found else None
