"""Pictures of strangers, opened safely: upright, RGB, first frame, or a sentence that says what is wrong.

Only common raster formats are ever tried, and a picture too large for memory is refused before it is decoded.
"""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from explorer import files
from explorer.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # MPO, a phone's JPEG with several frames, opens as JPEG
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MAX_PIXELS = 64_000_000
ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held; 5 to 8 lie on their side."""

# For whoever else decodes in this process, such as the page's own image input: twice this many pixels is an error
# in Pillow, and the warning below that is made one too. `open_image` counts for itself: filters belong to no thread.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.TiffImagePlugin")  # cameras write odd EXIF


class ImageError(UserError):
    """A file that cannot be used as a picture; the sentence names the file and the reason."""


def open_image(source: Path | str | IO[bytes], name: str | None = None, draft: int | None = None) -> Image.Image:
    """The picture in ``source`` as RGB, turned as its EXIF says, transparency on white, the first frame of several.

    ``draft``: a JPEG may come at a smaller size, no side under this many pixels; for hashes and thumbnails.
    Raises ImageError naming the file (or ``name``) and the reason.
    """
    return _decode(source, name, draft)[0]


def measure(path: Path | str) -> tuple[int, int, int]:
    """(width, height, perceptual hash) of an upright picture, decoded to its end so that a truncated one is found.

    JPEGs are decoded small, which costs a third for a phone's photo. Raises ImageError.
    """
    picture, (width, height) = _decode(path, None, 64)
    return width, height, perceptual_hash(picture)


def _decode(source, name: str | None, draft: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, and the width and height it has when it is not drafted."""
    name = name or _name_of(source)
    try:
        with Image.open(source, formats=FORMATS) as picture:
            size = picture.size
            if size[0] * size[1] > MAX_PIXELS:
                raise Image.DecompressionBombError
            if draft:
                picture.draft("RGB", (draft, draft))
            picture.load()
            turned = picture.getexif().get(ORIENTATION) in (5, 6, 7, 8)
            return to_rgb(ImageOps.exif_transpose(picture)), size[::-1] if turned else size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels: make it smaller.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} {_what_it_is(source)}") from None
    except Exception as error:  # whatever a decoder raises on a damaged or hostile file, the file is what is wrong
        raise ImageError(f"{name} cannot be read as a picture: {_reason(error)}.") from error


def _name_of(source) -> str:
    name = getattr(source, "name", source)
    return Path(name).name if isinstance(name, (str, Path)) else "The picture"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:  # str(error) would show the folders of this machine
        return error.strerror.lower()
    return (str(error).strip() or type(error).__name__)[:160].rstrip(".")


def _what_it_is(source) -> str:
    try:
        empty = Path(source).stat().st_size == 0
    except (OSError, TypeError):
        empty = False
    return "is an empty file." if empty else "is not a picture the explorer reads (JPEG, PNG, WebP, GIF, BMP, TIFF)."


def to_rgb(picture: Image.Image) -> Image.Image:
    """RGB, 8 bits a channel: 16-bit grey is scaled rather than cut, transparency lies on white."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _deep_grey(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats, scaled to 8 bits by the range its numbers show they are in."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32))
    most = values.max(initial=0)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and 255 < most <= 65535):
        values = values / 257
    elif picture.mode == "F" and most <= 1:
        values = values * 255
    elif most > 255:
        values = values * (255 / most)
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")


def image_id(path: Path | str) -> str:
    """The key of an image: the first 16 hex digits of the SHA-256 of its file's bytes. Raises ImageError."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ImageError(f"{Path(path).name} cannot be read: {_reason(error)}.") from error


def perceptual_hash(picture: Image.Image) -> int:
    """64 bits that near duplicates share but for a few: is each pixel of a 9 x 8 grey version lighter than its right one?

    The difference hash of Krawetz, "Kind of Like That" (2013), with a margin, so that flat areas do not flicker.
    """
    small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (small[:, :-1] > small[:, 1:] + 3).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def thumbnail(path: Path, size: int = 248, cache: Path | None = None, key: str | None = None) -> bytes:
    """A WebP no larger than ``size`` pixels a side; kept in ``cache`` under ``key`` (an image id) and made once."""
    kept = cache / f"{key or image_id(path)}-{size}.webp" if cache else None
    if kept is not None and kept.exists():
        return kept.read_bytes()
    picture = open_image(path, draft=size)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=4)
    if kept is not None:
        files.write_bytes(kept, buffer.getvalue())
    return buffer.getvalue()


def thumbnail_uri(path: Path, size: int, cache: Path | None = None, key: str | None = None) -> str | None:
    """`thumbnail` as a data address; None when the file is gone or no picture."""
    try:
        return data_uri(thumbnail(path, size, cache, key))
    except (ImageError, OSError):
        return None


def data_uri(data: bytes, kind: str = "image/webp") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
