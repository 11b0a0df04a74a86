"""Model and dataset cards: what a stranger must know of a pushed checkpoint or dataset, and nothing of this machine.

Captions, references and names are put into Markdown as text: none of them can be a link, a picture or markup.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

from explorer.compare import comparison, scorecard
from explorer.compare.comparison import Comparison
from explorer.compare.scorecard import Card
from explorer.data.hub_data import is_hub_id
from explorer.data.images import ImageError, thumbnail
from explorer.flag import relabel
from explorer.train.run import METHODS, Checkpoint, Run
from explorer.workspace import CHECKPOINT, Workspace

SAMPLES = 6
SIDE = 320
"""Pixels of a sample's longer side: enough to see what is in it."""

SHOWN = ("epochs", "batch_size", "accumulate", "learning_rate", "method", "lora_rank", "references", "augment", "label_smoothing")
SHOWN += ("weight_decay", "warmup", "seed", "best_by")


# --- a checkpoint -----------------------------------------------------------------------------------------


def files_of(workspace: Workspace, run: Run, made: Checkpoint, repo: str, root: str, as_adapter: bool) -> dict[str, bytes]:
    """README.md and the sample pictures of a checkpoint, by their name in the repository.

    ``root``: the base it stands on, a Hub id or a folder; ``as_adapter``: whether it is pushed as an adapter of it.
    """
    found = compared(workspace, run)
    samples = dict(_samples(found))
    parts = [
        _front(run, root, as_adapter),
        f"# {text(repo.split('/')[1])}\n\n{_about(run, made, root, as_adapter)}",
        _usage(repo, root, as_adapter),
        "## How it was made\n\n" + _config(run),
        "## Scores\n\n" + scores(scorecard.card(found)),
        f"## Six images, as every epoch captions them\n\n{_table(found, samples)}" if samples else "",
        "## Credits\n\n" + _credits(run, root),
    ]
    card = "\n\n".join(part for part in parts if part) + "\n"
    return {"README.md": card.encode(), **{name: data for name, data in samples.values()}}


def compared(workspace: Workspace, run: Run) -> Comparison:
    """The run's validation images and its columns, six at most; photos that somebody kept in Compare are not in it."""
    columns = comparison.first_columns(comparison.default_columns([run]))
    found = comparison.build([run], workspace, columns)
    own = {row["image_id"] for row in run.examples("validation")}
    kept = [place for place, image in enumerate(found.images) if image["image_id"] in own]
    captions = {key: [column[place] for place in kept] for key, column in found.captions.items()}
    return Comparison(columns, [found.images[place] for place in kept], captions, decoding=found.decoding)


def public_config(run: Run) -> dict:
    """The run's config without the folders of this machine."""
    values = asdict(run.config)
    return {**values, "base": named(run.config.base), "dataset": named(run.config.dataset)}


def named(source: str) -> str:
    """A base or dataset as others may know it: a Hub id as it is, a folder by its last name."""
    return source if is_hub_id(source) or CHECKPOINT.fullmatch(source) else Path(source).name


def text(value: object) -> str:
    """``value`` as Markdown that shows as it is: one line, no markup, no link, no table cell of its own."""
    plain = " ".join(str(value).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*_{}\[\]()#+!|~$:@-])", r"\\\1", plain)
    return re.sub(r"(?<=w)(?=ww\.)", "&#8203;", plain)  # a bare www.address becomes a link by itself


def _front(run: Run, root: str, as_adapter: bool) -> str:
    lines = ["---", f"library_name: {'peft' if as_adapter else 'transformers'}", "pipeline_tag: image-to-text"]
    if is_hub_id(root):
        lines += [f"base_model: {root}", f"base_model_relation: {'adapter' if as_adapter else 'finetune'}"]
    if is_hub_id(run.config.dataset):
        lines += [f"datasets: [{run.config.dataset}]"]
    return "\n".join([*lines, "tags: [image-captioning, caption-explorer]", "---"])


def _about(run: Run, made: Checkpoint, root: str, as_adapter: bool) -> str:
    kind = "A LoRA adapter of" if as_adapter else "An image captioning model, fine-tuned from"
    merged = "" if as_adapter or not made.adapter else " It was trained as a LoRA adapter, which is worked into the weights here."
    return f"{kind} {text(named(root))}: epoch {made.epoch} of the run {text(run.name)}, after {made.step} steps.{merged}"


def _usage(repo: str, root: str, as_adapter: bool) -> str:
    base = root if as_adapter else repo
    lines = ["from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer", ""]
    lines += [f'model = AutoModelForImageTextToText.from_pretrained("{base}")']
    if as_adapter:
        lines = ["from peft import PeftModel", *lines, f'model = PeftModel.from_pretrained(model, "{repo}")']
    lines += [f'tokenizer = AutoTokenizer.from_pretrained("{base}")']
    lines += [f'processor = AutoImageProcessor.from_pretrained("{base}", backend="pil")']
    lines = ["```python", *lines, "```", "", f"In the caption explorer: choose the base `{repo}`."]
    return "\n".join(lines)


def _config(run: Run) -> str:
    values = {**asdict(run.config), **asdict(run.config.decoding)}
    counts = {side: len(run.examples(side)) for side in ("train", "validation")}
    rows = [("what learned", METHODS[run.config.method]), *((f"{side} images", count) for side, count in counts.items())]
    rows += [(name.replace("_", " "), values[name]) for name in (*SHOWN, "beams", "max_tokens", "prompt") if values[name] != ""]
    return "\n".join(["| setting | value |", "|---|---|", *(f"| {text(name)} | {text(value)} |" for name, value in rows)])


def scores(card: Card) -> str:
    """The scorecard as a table: every column, its 95 % interval, how many images and references it rests on."""
    if not card.images:
        return "No image has a caption of every epoch, so there are none."
    head = " | ".join(("score", *card.labels))
    lines = [f"| {head} |", "|---" * (len(card.labels) + 1) + "|"]
    for score in card.scores:
        lines.append(f"| {score.measure.name} | " + " | ".join(_interval(score.measure, value) for value in score.values) + " |")
    few = "" if card.images >= 10 else " Under ten images no interval is given."
    told = f"Over {card.images} of {card.of} validation images with {card.references:.2f} references an image; in brackets 95 % intervals over images.{few}"
    meant = [f"- {score.measure.name}: {score.measure.meaning} {score.measure.doubt}" for score in card.scores]
    return "\n".join([*lines, "", told, "", *meant])


def _interval(measure: scorecard.Measure, value) -> str:
    ends = "" if np.isnan(value.low) else f" ({measure.text(value.low)} to {measure.text(value.high)})"
    return measure.text(value.value) + ends


def _samples(found: Comparison) -> list[tuple[int, tuple[str, bytes]]]:
    """(place in the comparison, (name in the repository, WebP)) of the first images that can be opened."""
    samples = []
    for place, image in enumerate(found.images):
        try:
            data = thumbnail(Path(image["path"]), SIDE)
        except (ImageError, OSError):
            continue
        samples.append((place, (f"samples/{len(samples) + 1}.webp", data)))
        if len(samples) == SAMPLES:
            break
    return samples


def _table(found: Comparison, samples: dict[int, tuple[str, bytes]]) -> str:
    heads = ("image", "a reference", *(found.label(column) for column in found.columns))
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for place, (name, _) in samples.items():
        reference = next(iter(found.images[place]["references"]), "")
        said = [found.text(column, place) or "" for column in found.columns]
        lines.append(f"| ![sample]({name}) | " + " | ".join(text(each) for each in (reference, *said)) + " |")
    return "\n".join(lines)


def _credits(run: Run, root: str) -> str:
    return f"- Base: {_base_credit(run.config.base, root)}\n- Data: {_data_credit(run.config.dataset)}\n- Made with the caption explorer."


def _base_credit(base: str, root: str) -> str:
    begun = f"the checkpoint {text(base)}, which stands on " if CHECKPOINT.fullmatch(base) else ""
    if is_hub_id(root):
        return f"{begun}[{root}](https://huggingface.co/{root}), whose licence and limits go on here."
    if Path(root).name == "blip-mini":
        return (
            f"{begun}blip-mini, the embedded base of the caption explorer. It was trained on Flickr8k (Hodosh, Young and Hockenmaier, "
            "2013), for research and education only; this model has the same limit."
        )
    return f"{begun}{text(named(root))}, a model of its author's own."


def _data_credit(dataset: str) -> str:
    if is_hub_id(dataset):
        return f"[{dataset}](https://huggingface.co/datasets/{dataset}), whose licence goes on here."
    if Path(dataset).name == "scenes":
        return "drawn pets, made by the caption explorer itself; nobody's photos."
    return f"{text(Path(dataset).name)}; the licence is that of its pictures and captions. {_relabelled(Path(dataset))}".strip()


# --- a dataset --------------------------------------------------------------------------------------------


def dataset_card(root: Path) -> str:
    """A dataset card: what this version is, what it came from, and that its licence is its pictures'."""
    lines = ["---", "task_categories: [image-to-text]", "tags: [image-captioning, caption-explorer]", "---", "", f"# {text(root.name)}", ""]
    lines += ["Images with references (captions written by people), as an image folder."]
    found = _relabelled(root)
    lines += ["", f"{found} `{relabel.MANIFEST}` says what came from which flag."] if found else []
    return "\n".join([*lines, "", "The licence is that of the pictures and captions it was made from.", ""])


def _relabelled(root: Path) -> str:
    found = relabel.read_manifest(root)
    if not found:
        return ""
    flags = sum(len(row["flags"]) for row in found["examples"])
    return (
        f"A relabelled version of {text(found['from']['name'])}: {flags} flagged captions gave {found['changed']} images other references "
        f"({relabel.RULES[found['rule']]})."
    )


def public_manifest(root: Path) -> bytes:
    """relabel.json without the folder of this machine that it came from."""
    found = relabel.read_manifest(root) or {}
    source = {name: value for name, value in found.get("from", {}).items() if name != "path"}
    return (json.dumps({**found, "from": source}, ensure_ascii=False, indent=1) + "\n").encode()

