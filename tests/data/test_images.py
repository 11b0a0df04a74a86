"""Pictures of strangers come out upright, in RGB, or as a sentence."""

from __future__ import annotations

import os

import numpy as np
import pytest
from pictures_helper import encoded, picture
from PIL import Image

from explorer.data.images import ImageError, image_id, measure, open_image, perceptual_hash, thumbnail


def pixel(path, at=(5, 5)):
    return open_image(path).getpixel(at)


def test_rotated_photo_comes_out_upright(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    upright = open_image(tmp_path / "a.png")
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (0, 0, 255) and upright.getpixel((10, 35)) == (255, 0, 0)


@pytest.mark.parametrize("mode,fill", [("RGBA", (255, 0, 0, 0)), ("LA", (10, 0))])
def test_transparency_lies_on_white(tmp_path, mode, fill):
    Image.new(mode, (20, 20), fill).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == (255, 255, 255)


def test_a_transparent_palette_lies_on_white(tmp_path):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 10, 10] + [0] * 750)
    image.save(tmp_path / "a.png", transparency=1)
    assert pixel(tmp_path / "a.png") == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    Image.fromarray(np.full((20, 20), 32896, np.uint16)).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == (128, 128, 128)


def test_cmyk_one_bit_and_palette_become_rgb(tmp_path):
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = pixel(tmp_path / "a.jpg")
    assert red > 200 and green < 60 and blue < 60
    Image.new("1", (20, 20), 1).save(tmp_path / "b.png")
    assert pixel(tmp_path / "b.png") == (255, 255, 255)
    picture(1).convert("P").save(tmp_path / "c.gif")
    assert open_image(tmp_path / "c.gif").mode == "RGB"


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(tmp_path / "a.gif") == (255, 0, 0)


def test_a_file_that_is_no_picture_is_named_with_the_reason(tmp_path):
    for name, data in (("empty.jpg", b""), ("words.png", b"hello"), ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name):
            open_image(tmp_path / name)
    with pytest.raises(ImageError, match="gone.jpg.*no such file"):
        open_image(tmp_path / "gone.jpg")


def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded(tmp_path):
    data = bytearray(encoded(Image.new("1", (16, 16))))
    at = data.index(b"IHDR") + 4
    data[at : at + 8] = (100_000).to_bytes(4, "big") * 2
    import zlib

    data[at + 13 : at + 17] = zlib.crc32(bytes(data[at - 4 : at + 13])).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(ImageError, match="huge.png has more than 64 million pixels"):
        open_image(tmp_path / "huge.png")


def test_the_id_is_of_the_content_and_not_of_the_name(tmp_path):
    for name in ("a.png", "b.png"):
        picture(3).save(tmp_path / name)
    picture(4).save(tmp_path / "c.png")
    assert image_id(tmp_path / "a.png") == image_id(tmp_path / "b.png") != image_id(tmp_path / "c.png")


def test_near_duplicates_have_near_hashes():
    image = picture(5, (128, 128))
    near = perceptual_hash(image) ^ perceptual_hash(image.resize((90, 90)))
    far = perceptual_hash(image) ^ perceptual_hash(picture(6, (128, 128)))
    assert near.bit_count() <= 4 < far.bit_count()


def test_a_thumbnail_is_made_once(tmp_path):
    picture(7, (400, 200)).save(tmp_path / "a.png")
    first = thumbnail(tmp_path / "a.png", 64, tmp_path / "cache", "key")
    (tmp_path / "a.png").unlink()
    assert thumbnail(tmp_path / "a.png", 64, tmp_path / "cache", "key") == first


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_named_with_the_reason(tmp_path):
    picture(8).save(tmp_path / "mine.png")
    (tmp_path / "mine.png").chmod(0)
    for look in (open_image, measure, image_id):
        with pytest.raises(ImageError, match="^mine.png cannot be read.*: permission denied"):
            look(tmp_path / "mine.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_the_size_told_is_that_of_the_upright_picture(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 8
    picture(9, (60, 30)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert measure(tmp_path / f"a.{suffix}")[:2] == open_image(tmp_path / f"a.{suffix}").size == (30, 60)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_costs_the_turn_and_not_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera " * 5
    data = encoded(picture(10, (60, 30)), "JPEG", exif=exif)
    at = data.index(b"Exif\0\0") + 6
    for junk in (b"\xff" * 30, b"\0" * 40, b"MM\0*\0\0\xff\xff"):
        (tmp_path / "a.jpg").write_bytes(data[:at] + junk + data[at + len(junk) :])
        assert open_image(tmp_path / "a.jpg").size == (60, 30)
