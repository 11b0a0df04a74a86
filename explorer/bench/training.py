"""The default method against the notebook's loop: seconds a sample, peak memory, disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from explorer.bench import Row, at_most, faster
from explorer.bench.setting import Setting

ROUND = {1: "one caption an image", 5: "five captions an image"}


def notebook(setting: Setting, captions: int) -> dict:
    return setting.run("notebook", base=setting.model(), data=str(setting.pictures(captions)), steps=setting.steps)


def default(setting: Setting, captions: int) -> dict:
    shutil.rmtree(setting.workspace.cache / "features", ignore_errors=True)  # their cost is part of what is measured
    given = {"home": str(setting.home), "base": setting.model(), "data": str(setting.pictures(captions)), "epochs": setting.epochs}
    return setting.run("finetune", name=f"default-{captions}", **given)


def rows(setting: Setting) -> Iterator[Row]:
    theirs = notebook(setting, 1)
    for captions, words in ROUND.items():
        ours = default(setting, captions)
        work = (
            f"{ours['method']}, {setting.epochs} epochs of {ours['images']} images, {words}, batch {ours['batch']}: "
            f"{ours['features']:.2f} s an image once, then {ours['step']:.3f} s a sample"
        )
        yield faster("training", work, theirs["seconds"], ours["seconds"], 30, "s a sample")
    measured = f"{theirs['peak'] / 1e9:.1f} GB against {ours['peak'] / 1e9:.1f} GB"
    yield at_most("training", "peak memory, default method", measured, ours["peak"] / theirs["peak"], 0.5, "of the notebook's")
    disk = ours["disk"] / 1e6
    yield at_most("training", f"disk for {setting.epochs} epoch checkpoints", f"{disk:.1f} MB", disk, 50, "MB")
