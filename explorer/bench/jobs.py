"""The bench's jobs, each run alone in a process: python -m explorer.bench.jobs NAME '{"argument": value}'

A job prints one line of JSON, its peak memory in bytes added.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter

from explorer import lazy
from explorer.compare import columns
from explorer.data.images import image_id, open_image
from explorer.model.captions import Decoding
from explorer.train import plan
from explorer.train.run import Run, RunConfig, change_config
from explorer.workspace import SHIPPED, Workspace


def random_blip(folder: str) -> dict:
    """A BLIP of BLIP-base's size (transformers' defaults) with random weights and the embedded base's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BlipConfig, BlipForConditionalGeneration
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    mini = SHIPPED / "blip-mini"
    words = AutoConfig.from_pretrained(mini).text_config
    config = BlipConfig()
    for name in ("bos_token_id", "eos_token_id", "sep_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(words, name))
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(mini).save_pretrained(folder)
    side = config.vision_config.image_size
    BlipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    return {"folder": folder}


def notebook(base: str, data: str, steps: int) -> dict:
    from explorer.bench.notebook import train

    return train(base, [(e["path"], text) for e in _examples(data) for text in e["references"]], steps)


def finetune(home: str, base: str, data: str, epochs: int, name: str, **values) -> dict:
    """Seconds a sample of looking and learning, by the page's engine; scoring, captions and saving are left out."""
    workspace = Workspace(Path(home))
    run = make_run(workspace, base, data, epochs=epochs, name=name, **values)
    from explorer.train.finetune import finetune as engine

    spent, before = {"features": 0.0, "step": 0.0}, perf_counter()
    scores = []
    for progress in engine(run, workspace):
        now = perf_counter()
        if progress.kind in spent:
            spent[progress.kind] += now - before
        if progress.kind == "epoch":
            scores.append(progress.values["scores"]["CIDEr"])
        before = now
    train = run.examples("train")
    samples = epochs * sum(len(example["references"]) for example in train)
    return {
        "seconds": sum(spent.values()) / samples,
        "features": spent["features"] / len(run.examples()),
        "step": spent["step"] / samples,
        "images": len(train),
        "method": run.config.method,
        "batch": run.config.batch_size,
        "disk": sum(checkpoint.bytes for checkpoint in run.checkpoints()),
        "CIDEr": scores,
    }


def make_run(workspace: Workspace, base: str, data: str, **values) -> Run:
    """A run as the page would make it: advised method, batch size and rate where none is given."""
    from explorer.train import methods

    advice, size = plan.advise(workspace, base), plan.base_facts(workspace.base_folder(base)).size
    method = values.get("method", advice.method)
    advised = {"method": method, "batch_size": advice.batch_size, "learning_rate": methods.rate_for(method, size), "probes": 0}
    return plan.make_run(workspace, RunConfig(base=base, dataset=data, **{**advised, **values}))


def captions_apart(home: str, base: str, run: str, images: list[str], tokens: int) -> dict:
    from explorer.bench.notebook import caption

    folders = [str(checkpoint.folder) for checkpoint in Run(Path(home) / run).checkpoints()]
    return caption(base, [None, *folders], images, tokens)


def captions_together(home: str, run: str, images: list[str], tokens: int) -> dict:
    """The same as the page fills its columns."""
    workspace, found = Workspace(Path(home)), Run(Path(home) / run)
    wanted = [(found, epoch) for epoch in range(len(found.checkpoints()) + 1)]
    examples = [{"image_id": image_id(path), "path": path} for path in images]
    import peft  # noqa: F401 - like those of its opponent, its imports are not counted
    from transformers import BlipForConditionalGeneration  # noqa: F401

    import explorer.model.captioner  # noqa: F401

    lazy.transformers()
    started = perf_counter()
    list(columns.fill(columns.Shelf(workspace), wanted, Decoding(max_tokens=tokens), examples))
    seconds = perf_counter() - started
    said = [columns.known(workspace, *column, Decoding(max_tokens=tokens)) for column in wanted]
    return {"seconds": seconds, "captions": [one[example["image_id"]].text for one in said for example in examples]}


def photos(home: str, run: str, images: list[str], tokens: int) -> dict:
    """Seconds to caption each photo in all columns of a run, the model loaded as it is in a page."""
    found, shelf = Run(Path(home) / run), columns.Shelf(Workspace(Path(home)))
    wanted = [(found, epoch) for epoch in range(len(found.checkpoints()) + 1)]
    seconds = []
    for path in [images[0], *images]:  # the first once more: it loads the model
        started = perf_counter()
        list(columns.caption_picture(shelf, wanted, open_image(path), Decoding(max_tokens=tokens)))
        seconds.append(perf_counter() - started)
    return {"seconds": seconds[1:]}


def long_run(home: str, base: str, data: str, name: str) -> dict:
    """A run that goes on until it is stopped."""
    run = make_run(Workspace(Path(home)), base, data, name=name, validation_images=1)
    change_config(run, epochs=1000)
    return {"name": name}


def _examples(data: str) -> list[dict]:
    from explorer.data import dataset

    return plan.example_rows(dataset.split(dataset.read(Path(data)), 0.2, 0).train, "train")


JOBS = {job.__name__: job for job in (random_blip, notebook, finetune, captions_apart, captions_together, photos, long_run)}


def answer(name: str, given: dict) -> dict:
    """What the job gives, with the most memory this process has had, in bytes."""
    found = JOBS[name](**given)
    unit = 1 if sys.platform == "darwin" else 1024
    return {**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1], json.loads(sys.argv[2]))))
