"""Grey pictures of more than 8 bits: what formats and tags say of their scale."""

import struct
import zlib

import numpy as np
import pytest

from fedcrucible_core.learning.datasets.pictures import PictureError, read_pixels

HALF = 32_768


def tiff(pixels: bytes, bits: int, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A grey TIFF of 4 x 4 pixels that PIL doesn't write."""
    tags = [(256, 4), (257, 4), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, 4),
            (279, len(pixels)), (339, sample_format)]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, start if tag == 273 else value, 0) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + pixels


def grey(value: float, kind: str = "<u2") -> bytes:
    return np.full((4, 4), value, kind).tobytes()


@pytest.mark.parametrize(("value", "seen"), [(0, 0), (2048, 128), (4095, 255)])
def test_12_bits_are_scaled_from_4095(value, seen) -> None:
    pair = struct.pack(">I", value << 12 | value)[1:]  # two values in three bytes
    assert read_pixels(tiff(pair * 8, 12)).tolist() == [[seen] * 4] * 4


@pytest.mark.parametrize(
    ("pixels", "bits", "sample_format"), [(grey(64, "u1"), 8, 1), (grey(16448), 16, 1), (grey(64 / 255, "<f4"), 32, 3)]
)
def test_white_is_zero_at_every_depth(pixels, bits, sample_format) -> None:
    assert np.unique(read_pixels(tiff(pixels, bits, 1, sample_format))).tolist() == [64]
    assert np.unique(read_pixels(tiff(pixels, bits, 0, sample_format))).tolist() == [191]


def test_signed_bytes_are_refused() -> None:
    with pytest.raises(PictureError, match=r"scan.tif: mode L of signed 8-bit values"):
        read_pixels(tiff(grey(-100, "i1"), 8, 1, 2), "scan.tif")


@pytest.mark.parametrize(("value", "seen"), [(3, 0), (514, 2), (HALF, 128)])
def test_a_dark_pgm_of_16_bits_is_dark(value, seen) -> None:
    assert np.unique(read_pixels(b"P5\n4 4\n65535\n" + grey(value, ">u2"))).tolist() == [seen]


def test_a_transparent_grey_of_16_bits_lies_on_white() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header, hidden = struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0), struct.pack(">H", HALF)
    row = zlib.compress(struct.pack(">BHH", 0, HALF, 257))
    chunks = chunk(b"IHDR", header) + chunk(b"tRNS", hidden) + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    assert read_pixels(b"\x89PNG\r\n\x1a\n" + chunks).tolist() == [[255, 1]]
