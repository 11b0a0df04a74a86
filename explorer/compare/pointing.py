"""Pointing: how often a heat map's peak lies on the thing its word names, where the things' boxes are known.

python -m explorer pointing --run demo

The pictures of the drawn world are drawn again from their numbers, which gives their boxes; each is compared with
the run's own picture first. The "pointing game" of Zhang et al., "Top-down neural attention", 2018.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from explorer import scenes
from explorer.compare import columns
from explorer.data.images import open_image
from explorer.errors import UserError
from explorer.model import attention
from explorer.model.attention import METHODS, PAGE
from explorer.model.captioner import Captioner
from explorer.model.captions import Caption
from explorer.scoring import attributes
from explorer.train.run import Run
from explorer.workspace import Workspace

FINE = 8
"""Places a patch is divided into on each side when the peak is sought, as the page draws maps smoothly."""
TWICE = f"{PAGE}, looked at twice"
OCCLUSION = "occlusion of three by three patches (last epoch only)"
DRAWN = re.compile(r"(?:(?P<split>train|validation)/)?(?P<world>pets|others)-(?P<number>\d+)\.png")
THINGS = {
    **{name: attributes.SPECIES[name] for name in ("dog", "cat", "rabbit", "bear", "fox", "sheep")},
    **attributes.OBJECTS,
    "tongue": re.compile(r"tongues?"),
}


def thing_of(word: str) -> str | None:
    """The drawn thing that a word names; None for words of colour, place or deed."""
    return next((name for name, pattern in THINGS.items() if pattern.fullmatch(word.lower().strip(".,"))), None)


def drawn_again(run: Run, example: dict) -> tuple[Image.Image, dict]:
    """(the run's own picture, boxes by thing as shares of its sides: left, top, right, bottom).

    Raises UserError when the picture is no drawn scene, or one that is drawn otherwise today.
    """
    name = DRAWN.fullmatch(example["file"])
    if not name:
        raise UserError(f"{example['file']} is no drawn scene: pointing needs a run over the drawn scenes, such as demo.")
    own = open_image(run.folder / example["path"])
    number = 2 * int(name["number"]) + scenes.SPLITS[name["split"] or "validation"]
    picture, scene = scenes.scene(number, name["world"], own.width)
    if not np.array_equal(np.asarray(picture), np.asarray(own)):
        raise UserError(f"{example['file']} is drawn otherwise today: run `python -m explorer demo --rebuild` first.")
    return own, {thing: tuple(side / own.width for side in box) for thing, box in scene.boxes.items()}


def peak(grid: np.ndarray) -> tuple[float, float]:
    """(x, y) of a map's highest place, 0 to 1, as the page draws it: between patches by bicubic interpolation."""
    size = (grid.shape[1] * FINE, grid.shape[0] * FINE)
    smooth = np.asarray(Image.fromarray(grid.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    y, x = np.unravel_index(smooth.argmax(), smooth.shape)
    return (x + 0.5) / smooth.shape[1], (y + 0.5) / smooth.shape[0]


def lies_in(grid: np.ndarray, box: tuple[float, float, float, float]) -> bool:
    x, y = peak(grid)
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def occlusion(captioner: Captioner, features: torch.Tensor, text: str) -> np.ndarray:
    """[words, rows, columns]: how much a word's log-probability falls when the patches around a place become the
    average patch (Zeiler and Fergus, 2014; here on the features, so that the vision tower runs once)."""
    tokens = captioner.ids([text])[0][0].tolist()[1:-1]
    lead, high, wide = attention.grid_of(features.shape[1])
    copies = features.detach().clone().expand(high * wide + 1, -1, -1).clone()
    average = features[0, lead:].mean(0)
    patches = copies[1:, lead:].view(high * wide, high, wide, -1)
    for place in range(high * wide):
        y, x = divmod(place, wide)
        patches[place, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = average
    ids = torch.tensor([[captioner.start, *tokens]] * len(copies), device=captioner.device)
    with torch.inference_mode():
        chances = captioner.logits(copies, ids, torch.ones_like(ids)).log_softmax(-1)
    said = chances[:, torch.arange(len(tokens)), ids[0, 1:]].cpu().numpy()
    drops = (said[:1] - said[1:]).T.reshape(len(tokens), high, wide)
    return attention.of_words(captioner, tokens, text, np.clip(drops, 0, None))


def maps_of(captioner: Captioner, picture: Image.Image, text: str, slow: bool = False) -> dict[str, np.ndarray]:
    """[words, rows, columns] by method; ``slow``: occlusion as well, which takes a pass for every patch."""
    features, shifted = attention.both_features(captioner, picture)
    tokens = captioner.ids([text])[0][0].tolist()[1:-1]
    recorded = attention.record(captioner, features, tokens)
    found = {}
    for name, method in METHODS.items():
        found[name] = attention.of_words(captioner, tokens, text, attention.on_grid(method(recorded).cpu().numpy()))
    found[TWICE] = attention.two_looks(found[PAGE], attention.word_maps(captioner, shifted, text))
    return {**found, OCCLUSION: occlusion(captioner, features, text)} if slow else found


Hits = dict[str, dict[str, list[bool]]]
"""By method and thing, whether each map peaked on the thing."""


def measure(shelf: columns.Shelf, run: Run, epoch: int, drawn: list, said: dict[str, Caption], slow: bool = False) -> Hits:
    """Hits over the words that name a thing which is in the picture."""
    hits: Hits = defaultdict(lambda: defaultdict(list))
    with shelf.lock:
        captioner = shelf.captioner(run, epoch)
        for image_id, picture, boxes in drawn:
            text = said[image_id].text if image_id in said else ""
            wanted = [(place, thing) for place, word in enumerate(text.split()) if (thing := thing_of(word)) in boxes]
            if not wanted:
                continue
            for method, maps in maps_of(captioner, picture, text, slow).items():
                for place, thing in wanted:
                    hits[method][thing].append(lies_in(maps[place], boxes[thing]))
    return hits


def describe(workspace: Workspace, name: str) -> Iterator[str]:
    """Lines to print: the share of object words that each method points right, epoch by epoch; things by the page's method."""
    run = Run(workspace.run_folder(name))
    shelf = columns.Shelf(workspace)
    drawn = [(row["image_id"], *drawn_again(run, row)) for row in run.examples("validation")]
    epochs = [0, *(checkpoint.epoch for checkpoint in run.checkpoints())]
    found = {}
    for epoch in epochs:
        said = columns.known(workspace, run, epoch, run.config.decoding)
        found[epoch] = measure(shelf, run, epoch, drawn, said, slow=epoch == epochs[-1])
    heads = "".join(f"{'base' if not epoch else f'epoch {epoch}':>12}" for epoch in epochs)
    yield f"{run.name}: share of object words whose map peaks inside the box of the thing they name, {len(drawn)} drawn scenes"
    yield f"{'method':<76}{heads}"
    methods = sorted(found[epochs[-1]], key=lambda method: -_share(found[epochs[-1]][method])[0])
    for method in methods:
        mark = " (the page's)" if method == TWICE else ""
        yield f"{method + mark:<76}" + "".join(_cell(*_share(found[epoch].get(method, {}))) for epoch in epochs)
    yield f"{'chance: mean area of the boxes':<76}" + "".join(_cell(*_area(drawn, found[epoch].get(TWICE, {}))) for epoch in epochs)
    yield "the page's method by thing"
    for thing in sorted({thing for epoch in epochs for thing in found[epoch].get(TWICE, {})}):
        yield f"  {thing:<74}" + "".join(_cell(*_share({thing: found[epoch].get(TWICE, {}).get(thing, [])})) for epoch in epochs)


def _share(hits: dict[str, list[bool]]) -> tuple[float, int]:
    every = [hit for group in hits.values() for hit in group]
    return (sum(every) / len(every) if every else float("nan")), len(every)


def _area(drawn: list, hits: dict[str, list[bool]]) -> tuple[float, int]:
    """How often a peak thrown anywhere would lie in the box, each thing weighted by its words."""
    sides: dict[str, list[float]] = defaultdict(list)
    for _, _, boxes in drawn:
        for thing, (left, top, right, bottom) in boxes.items():
            sides[thing].append((right - left) * (bottom - top))
    count = sum(len(group) for group in hits.values())
    total = sum(len(group) * float(np.mean(sides[thing])) for thing, group in hits.items())
    return (total / count if count else float("nan")), count


def _cell(share: float, count: int) -> str:
    return f"{'-':>12}" if not count else f"{f'{share:.1%} {count:>4}':>12}"
