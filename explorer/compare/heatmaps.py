"""Heat maps of the words of any caption of any column: made once, kept, and drawn over the picture.

All maps shown beside each other have one scale: how many times the average patch a place counts for the word.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from explorer import files, machine
from explorer.compare import columns
from explorer.data.images import data_uri, open_image
from explorer.model.captions import Caption
from explorer.scoring.metrics import FUNCTION_WORDS, stem
from explorer.scoring.wording import plain
from explorer.train.run import Run

SIDE = 192
"""Pixels of a drawn map; the browser makes it as large as the picture."""
RAMP = np.array([(38, 8, 92), (137, 24, 128), (223, 70, 72), (252, 160, 36), (252, 250, 170)], np.float32)
"""From little to much: every step is lighter than the one before, so that it reads without colours too."""


@dataclass(frozen=True)
class HeatMap:
    """Of one word: [rows, columns] in half patches that sum to 1, and the part (left, top, right, bottom; 0 to 1) of the picture they lie on."""

    grid: np.ndarray
    part: tuple[float, float, float, float]

    @property
    def highest(self) -> float:
        """Of its strongest patch, how many times the average patch it counts."""
        return float(self.grid.max() * self.grid.size)


def of_caption(shelf: columns.Shelf, run: Run, epoch: int, image_id: str, path: Path, caption: Caption) -> list[HeatMap]:
    """The heat map of each word of a column's caption of a picture; kept, so that asking again needs no model.

    Raises ImageError when the picture cannot be opened, UserError when the model's attention cannot be drawn.
    """
    kept = cache_file(shelf, run, epoch, image_id, caption.text)
    maps, part = _read(kept)
    if maps is None:
        maps, part = _made(shelf, run, epoch, open_image(path), caption.text)
        _write(kept, maps, part)
    return [HeatMap(grid, part) for grid in maps]


@machine.gpu(columns.BRIEFLY)
def _made(shelf: columns.Shelf, run: Run, epoch: int, picture: Image.Image, text: str) -> tuple[np.ndarray, tuple]:
    from explorer.model import attention  # torch takes seconds: only when a map is made

    with shelf.lock:
        captioner = shelf.captioner(run, epoch)
        return attention.picture_maps(captioner, picture, text), attention.seen_part(captioner.processor, *picture.size)


def cache_file(shelf: columns.Shelf, run: Run, epoch: int, image_id: str, text: str) -> Path:
    """Where the maps of a caption are kept: apart for a later run of the same name, as captions are."""
    beside = columns.cache_file(shelf.workspace, run, epoch, run.config.decoding)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return shelf.workspace.cache / "heatmaps" / beside.parent.parent.name / f"epoch-{epoch}" / f"{image_id}-{digest}-both.npz"


def _read(path: Path) -> tuple[np.ndarray | None, tuple]:
    try:
        with np.load(path, allow_pickle=False) as values:
            return values["maps"].astype(np.float32), tuple(values["part"].tolist())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None, ()


def _write(path: Path, maps: np.ndarray, part: tuple) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, maps=maps.astype(np.float32), part=np.array(part))
    files.write_bytes(path, buffer.getvalue())


# --- the same word in another caption ---------------------------------------------------------------------


def counterpart(said: str, place: int, other: str) -> tuple[int | None, bool]:
    """(the place in ``other`` of the word at ``place`` of ``said``, whether it is the same word).

    The same word is looked for first (a stem counts, "runs" finds "running"); else the word that stands where it
    stood: "a dog with a ball" against "a fox with a bone" gives bone for ball. (None, False) for an empty caption.
    """
    mine, theirs = _keys(said), _keys(other)
    if not theirs or not mine:
        return None, False
    place = min(place, len(mine) - 1)
    expected = place / max(1, len(mine) - 1) * (len(theirs) - 1)
    same = [at for at, word in enumerate(theirs) if word == mine[place]]
    if same:
        return min(same, key=lambda at: abs(at - expected)), True
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    start, stop = 0, len(theirs)
    for _, a, b, c, d in matcher.get_opcodes():
        if a <= place < b and d > c:
            start, stop, expected = c, d, c + (place - a) / max(1, b - a) * (d - c)
    content = [at for at in range(start, stop) if theirs[at] not in FUNCTION_WORDS] or list(range(start, stop))
    return min(content, key=lambda at: abs(at - expected)), False


def _keys(text: str) -> list[str]:
    return [stem(plain(word)) or word for word in text.split()]


# --- drawing ----------------------------------------------------------------------------------------------


def overlay(grid: np.ndarray, scale: float) -> str:
    """A map as a data address of a smooth PNG that lets the picture through where the map is low.

    ``scale``: the times-average value that is drawn strongest; give all maps shown together the same one.
    """
    times = grid.astype(np.float32) * grid.size
    smooth = np.asarray(Image.fromarray(times).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return _png(np.clip(smooth / max(scale, 1e-6), 0, 1))


def legend() -> str:
    """The colour scale from nothing to ``scale`` as a data address of a PNG, left to right."""
    return _png(np.linspace(0, 1, SIDE, dtype=np.float32)[None].repeat(8, 0))


def _png(strength: np.ndarray) -> str:
    at = strength * (len(RAMP) - 1)
    low = np.clip(at.astype(int), 0, len(RAMP) - 2)
    share = (at - low)[..., None]
    colour = RAMP[low] * (1 - share) + RAMP[low + 1] * share
    alpha = 255 * 0.85 * strength[..., None]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([colour, alpha], -1).round().astype(np.uint8), "RGBA").save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")
