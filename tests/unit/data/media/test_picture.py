"""Pictures as a viewer shows them."""

import media_pool
import numpy as np
import pytest
from media_pool import corners
from PIL import Image, ImageOps

from tao_skill_bank.data import media_probe
from tao_skill_bank.data.media import content, picture
from tao_skill_bank.data.media.header import read_header


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(tmp_path, suffix, orientation):
    path = tmp_path / f"picture.{suffix}"
    options = {"tiffinfo": {0x0112: orientation}} if suffix == "tiff" else {"exif": media_pool.exif(orientation)}
    Image.fromarray(corners()).save(path, **options)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    shown = picture.read(path)
    assert (shown == expected).all()
    assert shown.shape == ((96, 64, 3) if orientation > 4 else (64, 96, 3))
    header = read_header(path, "image")
    assert (header.height, header.width) == shown.shape[:2]


def half_transparent(mode):
    """Return a picture of black whose right half is transparent."""
    if mode in ("RGBA", "LA"):
        image = Image.new(mode, (8, 8), (0,) * (len(mode) - 1) + (255,))
        image.paste((0,) * len(mode), (4, 0, 8, 8))
        return image, {}
    if mode == "P":
        image = Image.new("P", (8, 8), 0)
        image.putpalette([0, 0, 0, 200, 10, 10])
        image.paste(1, (4, 0, 8, 8))
        return image, {"transparency": 1}
    image = Image.new(mode, (8, 8), 0)
    image.paste((200, 10, 10) if mode == "RGB" else 200, (4, 0, 8, 8))
    return image, {"transparency": (200, 10, 10) if mode == "RGB" else 200}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparent_pixels_show_white(tmp_path, mode):
    image, options = half_transparent(mode)
    image.save(tmp_path / "a.png", **options)
    shown = picture.read(tmp_path / "a.png")
    assert (shown[:, :4] == 0).all()
    assert (shown[:, 4:] == 255).all()


def test_a_half_transparent_pixel_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert picture.read(tmp_path / "a.png")[0, 0].tolist() == [255, 127, 127]


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("a.png", np.uint16([[0, 255, 256, 51400, 65535]]), [0, 0, 1, 200, 255]),
        ("a.tiff", np.uint16([[0, 255, 256, 51400, 65535]]), [0, 0, 1, 200, 255]),
        ("a.tiff", np.int32([[0, 255, 256, 51400, 65535]]), [0, 0, 1, 200, 255]),
        ("a.tiff", np.float32([[0, 0.25, 0.5, 0.75, 1]]), [0, 64, 128, 191, 255]),
        ("a.png", np.uint8([[0, 60, 120, 180, 255]]), [0, 60, 120, 180, 255]),
    ],
)
def test_deep_values_are_scaled_to_8_bits(tmp_path, name, values, shown):
    Image.fromarray(np.repeat(values, 5, axis=0)).save(tmp_path / name)
    found = picture.read(tmp_path / name)
    assert found.dtype == np.uint8
    assert found[0, :, 0].tolist() == shown
    assert (found[..., 0] == found[..., 1]).all()


def test_other_colour_spaces_become_rgb(tmp_path):
    Image.fromarray(corners()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    shown = picture.read(tmp_path / "a.jpg")
    assert np.abs(shown[8, 8].astype(int) - media_pool.COLOURS["red"]).max() < 12


@pytest.mark.parametrize("suffix", ["webp", "gif", "png", "tiff"])
def test_of_an_animation_the_first_frame_is_shown_and_it_is_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (64, 64), "red").save(path, save_all=True, append_images=[Image.new("RGB", (64, 64), "blue")])
    assert picture.read(path)[32, 32].argmax() == 0
    assert read_header(path, "image").is_animated
    assert media_probe.probe(path, 10, "image").is_animated


def test_the_preview_in_a_photograph_is_no_animation(tmp_path):
    photograph, preview = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (16, 16))
    photograph.save(tmp_path / "a.mpo", save_all=True, append_images=[preview])
    assert not read_header(tmp_path / "a.mpo", "image").is_animated
    assert picture.read(tmp_path / "a.mpo").shape == (64, 64, 3)


def test_the_header_of_a_large_picture_is_read_without_decoding_it(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    assert (read_header(path, "image").width, read_header(path, "image").height) == (512, 512)


@pytest.mark.parametrize("name", [name for name in media_pool.SOUND_IMAGES if name != "ascii.ppm"])
def test_pictures_are_known_by_their_first_bytes(tmp_path, name):
    media_pool.SOUND_IMAGES[name](tmp_path / name)
    assert content.is_picture(tmp_path / name)
    media_pool.clip(tmp_path / "clip.mp4")
    assert not content.is_picture(tmp_path / "clip.mp4")
