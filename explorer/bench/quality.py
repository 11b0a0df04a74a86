"""What speed costs in quality: CIDEr of each method on captioned photos, over several seeds, beside `full`."""

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
