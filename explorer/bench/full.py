"""All weights learn, one epoch, against the notebook's loop."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.bench import Row, faster
from explorer.bench.setting import Setting
from explorer.bench.training import ROUND, notebook


def rows(setting: Setting) -> Iterator[Row]:
    theirs = notebook(setting, 1)
    for captions, words in ROUND.items():
        given = {
            "home": str(setting.home),
            "base": setting.model(),
            "data": str(setting.pictures(captions)),
            "images": 2 + 2 * setting.images // 3,
        }
        ours = setting.run("finetune", name=f"full-{captions}", epochs=1, method="full", batch_size=8, **given)
        work = f"full, one epoch of {ours['images']} images, {words}, batch {ours['batch']}"
        yield faster("full", work, theirs["seconds"], ours["seconds"], 4, "s a sample")
