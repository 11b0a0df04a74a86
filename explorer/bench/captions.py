"""Captions of base and every epoch, against opening each checkpoint in turn and captioning image by image."""

from __future__ import annotations

from collections.abc import Iterator

from explorer import scenes
from explorer.bench import Row, faster
from explorer.bench.setting import Setting
from explorer.bench.training import default


def rows(setting: Setting) -> Iterator[Row]:
    if not (setting.home / "default-5").is_dir():
        default(setting, 5)
    new = setting.home / "new-scenes"
    if not new.is_dir():
        scenes.write(new, train=setting.images, validation=1, seed=1, size=256)
    known = [str(path) for path in sorted((setting.pictures(5) / "train").glob("*.png"))]
    for words, images in (("never seen before", sorted(str(path) for path in (new / "train").glob("*.png"))), ("of the run", known)):
        yield row(setting, words, images)


def row(setting: Setting, words: str, images: list[str]) -> Row:
    """Both ways over ``images``. Captions that differ take the goal away, whatever the time."""
    given = {"home": str(setting.home), "run": "default-5", "images": images, "tokens": setting.tokens}
    theirs, ours = setting.run("captions_apart", base=setting.model(), **given), setting.run("captions_together", **given)
    same = sum(one == other for one, other in zip(theirs["captions"], ours["captions"], strict=True))
    work = f"base and {setting.epochs} epochs over {len(images)} images {words}; {same} of {len(theirs['captions'])} captions the same"
    found = faster("captions", work, theirs["seconds"], ours["seconds"], 8, "s")
    return found if same == len(theirs["captions"]) else Row(found.part, found.work, found.measured, found.value, found.goal, False)
