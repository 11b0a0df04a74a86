"""Pictures of strangers come out upright, RGB and whole, or as a sentence."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn import picture
from PIL import Image

from explorer.data.images import ImageError, data_uri, image_id, measure, open_image, perceptual_hash, thumbnail

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore::UserWarning:PIL")


def corner(path) -> tuple[int, int, int]:
    return open_image(path).getpixel((2, 2))


def near(found, wanted, by: int = 6) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= by


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("draft", [None, 32])
def test_rotated_photo_comes_out_upright(tmp_path, orientation, draft):
    """A red corner at the upper left of what was seen, held by the camera in each of the eight ways."""
    seen = Image.new("RGB", (160, 80), "white")
    seen.paste("red", (0, 0, 40, 40))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # transposes that lay the sensor's picture as the camera did
    stored = seen.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "held.jpg", exif=exif, quality=95)
    upright = open_image(tmp_path / "held.jpg", draft=draft)
    assert (upright.width > upright.height) and near(upright.getpixel((2, 2)), (255, 0, 0), 40)
    assert measure(tmp_path / "held.jpg")[:2] == (160, 80)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(tmp_path, mode):
    clear = Image.new("RGBA", (40, 40), (10, 20, 30, 0)).convert("LA" if mode == "LA" else "RGBA")
    clear.save(tmp_path / "clear.png")
    assert corner(tmp_path / "clear.png") == (255, 255, 255)


def test_half_transparency_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (40, 40), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert near(corner(tmp_path / "half.png"), (127, 127, 127))


def test_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    indexed = Image.new("P", (40, 40), 1)
    indexed.putpalette([0, 0, 0, 200, 10, 10])
    indexed.save(tmp_path / "clear.gif", transparency=1)
    indexed.save(tmp_path / "solid.gif")
    assert corner(tmp_path / "clear.gif") == (255, 255, 255)
    assert corner(tmp_path / "solid.gif") == (200, 10, 10)


def test_cmyk_comes_out_in_its_colours(tmp_path):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    assert near(corner(tmp_path / "print.jpg"), (255, 0, 0), 12)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_cut(tmp_path, suffix):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    found = np.asarray(open_image(tmp_path / f"deep.{suffix}"))[0, :, 0].astype(float)
    assert np.abs(found - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize("dtype,most", [(np.int32, 2**31 - 1), (np.float32, 1.0), (np.float32, 4000.0)])
def test_wider_numbers_are_scaled_not_cut(tmp_path, dtype, most):
    ramp = np.tile(np.linspace(0, most, 64).astype(dtype), (40, 1))
    Image.fromarray(ramp).save(tmp_path / "wide.tif")
    found = np.asarray(open_image(tmp_path / "wide.tif"))[0, :, 0].astype(float)
    assert np.abs(found - np.linspace(0, 255, 64)).max() <= 1


def test_sixteen_bit_colour_keeps_its_colour(tmp_path):
    write_png(tmp_path / "deep.png", 40, 40, depth=16, colour=2, pixel=struct.pack(">3H", 65535, 32768, 0))
    assert near(corner(tmp_path / "deep.png"), (255, 128, 0), 1)


def test_one_bit_picture_is_black_and_white(tmp_path):
    Image.new("1", (40, 40), 1).save(tmp_path / "white.png")
    assert corner(tmp_path / "white.png") == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animation_shows_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], duration=50)
    assert near(corner(tmp_path / f"film.{suffix}"), (255, 0, 0))


def test_phone_photo_of_several_frames_opens(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40), "blue")])
    assert near(corner(tmp_path / "phone.jpg"), (255, 0, 0))


def test_a_picture_may_come_as_an_open_file():
    buffer = io.BytesIO()
    picture(1).save(buffer, "PNG")
    assert open_image(buffer).mode == "RGB"
    with pytest.raises(ImageError, match="^The picture is not a picture"):
        open_image(io.BytesIO(b"hello"))


def write_png(path, width: int, height: int, depth: int = 8, colour: int = 2, pixel: bytes = b"\0\0\0") -> None:
    """A PNG by hand: of depths Pillow does not write, or of a size that would fill the memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = (b"\0" + pixel * width) * height if width * height < 10**6 else b"\0" * 1000
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [8_100, 20_000])
def test_picture_too_large_for_memory_is_refused_before_decoding(tmp_path, side):
    """Once between Pillow's warning and its error, once past both; from threads, which share no warning filters."""
    write_png(tmp_path / "bomb.png", side, side)

    def reason(_):
        with pytest.raises(ImageError, match="bomb.png has more than 64 million pixels"):
            open_image(tmp_path / "bomb.png")
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(reason, range(20)))


def test_a_picture_in_another_format_is_not_decoded(tmp_path):
    """Decoders nobody needs are never reached, whatever the file calls itself."""
    picture(1).save(tmp_path / "odd.ppm")
    (tmp_path / "odd.ppm").rename(tmp_path / "odd.jpg")
    with pytest.raises(ImageError, match=r"odd.jpg is not a picture the explorer reads \(JPEG, PNG"):
        open_image(tmp_path / "odd.jpg")


def test_errors_name_the_file_and_not_its_folders(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in {"empty.jpg": "empty file", "folder.jpg": "is a directory", "gone.jpg": "no such file"}.items():
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        assert str(caught.value).startswith(name) and reason in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "suffix,draft", [("jpg", None), ("jpg", 32), ("png", None), ("webp", None), ("bmp", None), ("tif", None), ("gif", None)]
)
def test_truncated_picture_is_told_in_every_format(tmp_path, suffix, draft):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    path = tmp_path / f"cut.{suffix}"
    noise.save(path)
    open_image(path, draft=draft)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageError, match=f"^cut.{suffix} "):
            open_image(path, draft=draft)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_damaged_bytes_give_a_picture_or_a_sentence_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"bad.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(3).save(path, **({"exif": exif} if suffix in ("jpg", "png", "webp") else {}))
    data = path.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(60):
        bad = bytearray(data)
        for place in random.integers(0, min(len(bad), 400), 3):
            bad[place] = random.integers(0, 256)
        path.write_bytes(bad)
        try:
            assert open_image(path).mode == "RGB"
        except ImageError as error:
            assert f"bad.{suffix}" in str(error)


def test_image_id_is_of_the_content_not_of_the_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")
    (tmp_path / "b.jpg").write_bytes(b"abc")
    assert image_id(tmp_path / "a.jpg") == image_id(tmp_path / "b.jpg") == "ba7816bf8f01cfea"
    with pytest.raises(ImageError, match="gone.jpg"):
        image_id(tmp_path / "gone.jpg")


def test_near_pictures_have_near_hashes(tmp_path):
    one, other = picture(1, (300, 200)), picture(2, (300, 200))
    one.resize((120, 80)).save(tmp_path / "small.jpg", quality=60)
    distance = lambda a, b: (perceptual_hash(a) ^ perceptual_hash(b)).bit_count()  # noqa: E731
    assert distance(one, open_image(tmp_path / "small.jpg")) <= 4
    assert distance(one, other) > 10


def test_a_left_edge_brighter_than_its_right_is_a_one():
    falling = Image.fromarray(np.tile(np.linspace(250, 0, 90).astype(np.uint8), (80, 1)))
    assert perceptual_hash(falling) == 2**64 - 1
    assert perceptual_hash(Image.new("RGB", (50, 50), "red")) == 0


def test_thumbnail_is_made_once_and_no_larger_than_asked(tmp_path):
    path = tmp_path / "wide.jpg"
    picture(1, (1000, 500)).save(path)
    first = thumbnail(path, 240, tmp_path / "cache")
    shown = Image.open(io.BytesIO(first))
    assert (shown.format, shown.size) == ("WEBP", (240, 120))
    key = image_id(path)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{key}-240.webp"]
    path.unlink()
    assert thumbnail(path, 240, tmp_path / "cache", key) == first


def test_data_uri_holds_the_bytes():
    assert data_uri(b"abc") == "data:image/webp;base64,YWJj"
