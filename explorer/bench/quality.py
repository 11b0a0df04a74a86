"""What speed costs in quality: CIDEr of each method on captioned photos, over several seeds, beside `full`.

`python -m explorer bench --only quality --data flickr8k`, blip-mini, three epochs over 400 photos of Flickr8k's training
split, 100 others scored, split and order drawn by the seed:

    method        three seeds           mean    against full, seed by seed
    full          0.289 0.347 0.230     0.288
    decoder       0.254 0.374 0.207     0.278   -0.010 ± 0.033
    lora          0.203 0.357 0.175     0.245   -0.044 ± 0.049
    lora-vision   0.206 0.328 0.173     0.236   -0.053 ± 0.032

The frozen tower costs nothing that three seeds can tell; LoRA falls short by a tenth to a fifth. The base has 0.321: it
was trained on these photos and its last stage rewarded CIDEr itself, so that any of the methods, which learn from words,
gives some of it back. On drawings, which are new to it, a run gains: see the demo.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean, stdev

from explorer.bench import Row
from explorer.bench.setting import Setting
from explorer.errors import UserError
from explorer.train.run import METHODS

IMAGES, HELD_OUT = 500, 100
"""Images of a run, and how many of them are scored: three seeds of four methods take some ten minutes on two cores."""


def rows(setting: Setting) -> Iterator[Row]:
    if setting.data is None:
        raise UserError("The quality part needs captioned photos: add --data with an image folder.")
    found: dict[str, list[float]] = {}
    base = 0.0
    for method in METHODS:
        for seed in range(setting.seeds):
            scores = scores_of(setting, method, seed)
            base, found[method] = scores[0], [*found.get(method, []), scores[-1]]
        values = found[method]
        spread = stdev(values) if len(values) > 1 else 0.0
        gap = mean(values) - mean(found["full"])
        measured = f"CIDEr {mean(values):.3f} ± {spread:.3f} ({', '.join(f'{value:.3f}' for value in values)}); base {base:.3f}"
        work = f"{method}, {setting.epochs} epochs, {len(values)} seeds: {gap:+.3f} against full"
        yield Row("quality", work, measured, mean(values) / mean(found["full"]) if mean(found["full"]) else None)


def scores_of(setting: Setting, method: str, seed: int) -> list[float]:
    """CIDEr of the base and after each epoch. The split is drawn by the seed as well."""
    given = {"home": str(setting.home), "base": setting.base or "blip-mini", "data": str(setting.data), "epochs": setting.epochs}
    limits = {"images": IMAGES, "validation_images": HELD_OUT}
    return [
        value or 0.0 for value in setting.run("finetune", name=f"{method}-{seed}", method=method, seed=seed, **limits, **given)["CIDEr"]
    ]
