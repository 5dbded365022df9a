"""What pictures of every mode become, and what is refused."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets import pictures
from fedcrucible_core.learning.datasets.pictures import (
    PictureError,
    open_picture,
    read_pixels,
    resized,
    stack_splits,
    to_pixels,
)

HALF = pytest.approx(0.5, abs=0.003)


def mean(pixels: np.ndarray) -> float:
    return float(pixels.mean() / 255)


def png(depth: int, colour: int, row: bytes, size: int = 4) -> bytes:
    """A PNG of a depth and colour type that PIL doesn't write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", size, size, depth, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * size)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(array: np.ndarray, path: Path) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_a_mid_grey_of_16_bits_is_mid_grey(name, tmp_path: Path) -> None:
    pixels = read_pixels(saved(np.full((6, 5), 32768, np.uint16), tmp_path / name))
    assert pixels.shape == (6, 5)
    assert mean(pixels) == HALF


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_every_16_bit_mode_is_scaled_whatever_its_byte_order(mode) -> None:
    picture = Image.new(mode, (3, 3), 32768)
    assert mean(to_pixels(picture, "x")) == HALF


def test_16_bit_extremes_are_black_and_white(tmp_path: Path) -> None:
    array = np.array([[0, 65535], [257, 65278]], np.uint16)
    assert read_pixels(saved(array, tmp_path / "x.png")).tolist() == [[0, 255], [1, 254]]


def test_16_bit_colours_and_transparency_keep_their_high_bytes() -> None:
    row = struct.pack(">HHH", 32768, 16384, 65535) * 4
    assert read_pixels(png(16, 2, row))[0, 0].tolist() == [128, 64, 255]
    row = struct.pack(">HHHH", 0, 0, 0, 65535) * 4
    assert read_pixels(png(16, 6, row))[0, 0].tolist() == [0, 0, 0]


def test_32_bit_values_of_16_bits_are_scaled_and_others_refused() -> None:
    assert mean(to_pixels(Image.fromarray(np.full((4, 4), 32768, np.int32)), "x")) == HALF
    assert to_pixels(Image.fromarray(np.zeros((4, 4), np.int32)), "x").max() == 0
    for values in (70_000, -5, 200):
        with pytest.raises(PictureError, match=r"scan.tif: mode I \(32 bits\) with values"):
            to_pixels(Image.fromarray(np.full((4, 4), values, np.int32)), "scan.tif")


def test_float_pictures_are_scaled_from_one_or_refused(tmp_path: Path) -> None:
    assert mean(read_pixels(saved(np.full((4, 4), 0.5, np.float32), tmp_path / "x.tif"))) == HALF
    for value in (127.0, -0.5, np.nan, np.inf):
        path = saved(np.full((4, 4), value, np.float32), tmp_path / "odd.tif")
        with pytest.raises(PictureError, match=r"odd.tif: mode F with values"):
            read_pixels(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La"])
def test_grey_modes_stay_grey(mode) -> None:
    assert to_pixels(Image.new(mode, (5, 4)), "x").shape == (4, 5)


@pytest.mark.parametrize("mode", ["P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_all_other_modes_are_colours(mode) -> None:
    assert to_pixels(Image.new(mode, (5, 4)), "x").shape == (4, 5, 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBA"])
def test_colours_survive_their_mode(mode) -> None:
    red = to_pixels(Image.new("RGB", (8, 8), (250, 10, 10)).convert(mode), "x")
    assert np.abs(red.astype(int) - [250, 10, 10]).max() <= 6


def test_lab_is_converted_by_its_colours() -> None:
    white = to_pixels(Image.new("LAB", (4, 4), (255, 128, 128)), "x")
    assert white.min() >= 253
    grey = to_pixels(Image.new("LAB", (4, 4), (137, 128, 128)), "x")  # L* = 53.7
    assert np.abs(grey.astype(int) - 128).max() <= 3


def test_transparent_parts_lie_on_white(tmp_path: Path) -> None:
    assert to_pixels(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "x").min() == 255
    assert to_pixels(Image.new("LA", (2, 2), (0, 0)), "x").tolist() == [[255, 255], [255, 255]]
    assert to_pixels(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "x")[0, 0].tolist() == [127, 127, 127]
    palette = Image.new("P", (2, 2))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 1), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    pixels = read_pixels(tmp_path / "p.png")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [40, 50, 60]
    Image.new("L", (2, 2), 7).save(tmp_path / "l.png", transparency=7)
    assert read_pixels(tmp_path / "l.png").tolist() == [[255, 255], [255, 255]]


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    array = np.zeros((2, 4), np.uint8)
    array[:, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to show
    Image.fromarray(array).save(tmp_path / "x.png", exif=exif)
    assert read_pixels(tmp_path / "x.png").tolist() == [[255, 255], [0, 0], [0, 0], [0, 0]]


def test_what_is_no_picture_is_named_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "PNG")
    cases = {
        "cut.png": (whole.getvalue()[:2000], "truncated or damaged"),
        "page.png": (b"\n<!DOCTYPE html><html>not found</html>", "an HTML page, not a picture"),
        "text.png": (b"hello", "not a picture, or one of an unsupported format"),
        "lfs.png": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        "none.png": (b"", "empty"),
    }
    for name, (content, why) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=rf"{name}: {why}") as caught:
            open_picture(tmp_path / name)
        assert caught.value.why.startswith(why)
    with pytest.raises(PictureError, match=r"absent.png: can't be read \(No such file"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="not a file"):
        open_picture(tmp_path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png(1, 0, b"\0", size=4)
    for side in (9_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        patched = bomb[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
        with pytest.raises(PictureError, match=r"bomb.png: too large"):
            open_picture(patched, "bomb.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 15)
    with pytest.raises(PictureError, match="4 x 4 pixels; allowed: 15 pixels"):
        open_picture(bomb, "small.png")


def test_a_name_can_not_forge_output_and_errors_cross_processes() -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(b"x", "a\x1b[31m\nb")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_grey_only_if_every_picture_of_every_split_is() -> None:
    grey, colour = np.full((2, 3), 9, np.uint8), np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert stack_splits({"train": [grey], "test": [grey]}, "d")["train"].shape == (1, 1, 2, 3)
    mixed = stack_splits({"train": [grey, grey], "test": [colour]}, "d")
    assert mixed["train"].shape == (2, 3, 2, 3)
    assert mixed["train"].unique().tolist() == [9]
    assert torch.equal(mixed["test"][0], torch.from_numpy(colour).permute(2, 0, 1))
    assert mixed["test"].dtype == torch.uint8


def test_several_sizes_are_one_error_that_says_what_to_set() -> None:
    splits = {"train": [np.zeros((4, 6), np.uint8)], "test": [np.zeros((5, 6), np.uint8)]}
    with pytest.raises(ConfigError, match=r"task.dataset = 'd': .*2 sizes, e.g. 6 x 4, 6 x 5 .*set task.image_size"):
        stack_splits(splits, "d")
    with pytest.raises(ConfigError, match="holds no picture"):
        stack_splits({"train": []}, "d")


def test_resizing_is_antialiased_and_leaves_what_fits_alone() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = resized(stripes, 8)
    assert small.shape == (8, 8)
    assert np.abs(small.astype(int) - 127).max() <= 5  # every second column would be all black or all white
    assert resized(np.zeros((5, 9, 3), np.uint8), 4).shape == (4, 4, 3)
    assert resized(small, 0) is small
    assert resized(small, 8) is small
