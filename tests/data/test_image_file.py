"""One image file: every format, orientation, transparency, and every way to be damaged.

Also of `certvq.data._quiet`.
"""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from certvq.data import read_image, with_channels
from certvq.errors import DataError, OptionError

WIDTH, HEIGHT = 6, 4
COLOUR = (np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3) * 3).astype(np.uint8)
GREY = COLOUR[:, :, 1]


def save(path, picture, fmt, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, fmt, **options)
    return path


@pytest.mark.parametrize(
    ("fmt", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_keep_every_pixel(tmp_path, fmt, options):
    pixels = read_image(save(tmp_path / "file", COLOUR, fmt, **options))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, COLOUR)


def test_jpeg_comes_close(tmp_path):
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    pixels = read_image(save(tmp_path / "file", smooth, "JPEG", quality=95))
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - smooth).max() < 4


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF"])
def test_grey_stays_grey(tmp_path, fmt):
    pixels = read_image(save(tmp_path / "file", GREY, fmt))
    assert np.array_equal(pixels, GREY[:, :, None])


def test_the_content_counts_and_not_the_name(tmp_path):
    assert np.array_equal(read_image(save(tmp_path / "a.jpg", COLOUR, "PNG")), COLOUR)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_the_orientation_of_the_camera_is_applied(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "file.png", COLOUR, "PNG", exif=exif)
    assert np.array_equal(read_image(path), turn(COLOUR))


def test_transparent_parts_show_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = (255, 0, 128)
    shown = read_image(save(tmp_path / "file", pixels, "PNG"))
    assert shown[0, 0].tolist() == [200, 0, 0]
    assert shown[0, 1].tolist() == [255, 255, 255]
    assert shown[0, 2].tolist() == [227, 127, 127]


def test_transparent_grey_stays_grey(tmp_path):
    image = Image.merge("LA", (Image.new("L", (2, 1), 40), Image.new("L", (2, 1), 0)))
    image.putpixel((0, 0), (40, 255))
    shown = read_image(save(tmp_path / "file", image, "PNG"))
    assert shown.tolist() == [[[40], [255]]]


def test_a_transparent_entry_of_a_palette_shows_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    shown = read_image(save(tmp_path / "file", image, "PNG", transparency=1))
    assert shown.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_a_palette_counts_as_colour(tmp_path):
    image = Image.fromarray(GREY).convert("P")
    assert read_image(save(tmp_path / "file", image, "PNG")).shape == (HEIGHT, WIDTH, 3)


def test_black_and_white_becomes_grey(tmp_path):
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert read_image(save(tmp_path / "file", image, "PNG")).tolist() == [[[0], [255]]]


def test_the_inks_of_print_become_colour(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixels = read_image(save(tmp_path / "file", image, "TIFF"))
    assert pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_high_byte(tmp_path, fmt):
    samples = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    pixels = read_image(save(tmp_path / "file", samples, fmt))
    assert pixels.tolist() == [[[0], [0], [1], [128], [255]]]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (np.int32, "TIFF with signed or floating numbers, which have no fixed range; save it as"),
        (np.uint32, "32-bit samples have no fixed range; save it with 8 bits per sample"),
        (np.float32, "TIFF with signed or floating numbers, which have no fixed range; save it as"),
    ],
)
def test_numbers_without_a_range_are_refused(tmp_path, kind, reason):
    tifffile.imwrite(tmp_path / "file", np.ones((2, 2), kind), photometric="minisblack")
    with pytest.raises(DataError, match=f"^{reason}"):
        read_image(tmp_path / "file")


def test_sixteen_bits_with_transparency_are_refused(tmp_path):
    samples = np.array([[0, 65535]], np.uint16)
    path = save(tmp_path / "file", samples, "PNG", transparency=0)
    with pytest.raises(DataError, match="16-bit samples with a transparent value; save it with 8"):
        read_image(path)


def test_a_turned_tiff_is_read_from_its_path_as_from_a_stream(tmp_path):
    """Pillow 13 maps such a file into memory, and scrambles it, where it opens it by its path."""
    samples = np.arange(15, dtype=np.uint8).reshape(5, 3)
    turn = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "file", samples, photometric="minisblack", extratags=turn)
    assert np.array_equal(read_image(tmp_path / "file")[:, :, 0], np.rot90(samples, -1))


def test_a_tile_that_is_larger_than_the_image_is_refused_unread(tmp_path):
    options = {"tile": (64, 64), "photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(tmp_path / "file", GREY, **options)
    assert np.array_equal(read_image(tmp_path / "file", max_pixels=4096)[:, :, 0], GREY)
    with pytest.raises(DataError, match="TIFF with tiles of more than the 4095 pixels allowed"):
        read_image(tmp_path / "file", max_pixels=4095)


def test_of_several_frames_the_first_is_read(tmp_path):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    path = save(tmp_path / "file", frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert np.array_equal(read_image(path), COLOUR)


def test_other_formats_are_no_image(tmp_path):
    path = save(tmp_path / "file.png", Image.fromarray(COLOUR), "GIF")
    with pytest.raises(DataError, match=r"^not a readable image \(PNG, JPEG, WEBP, TIFF, BMP\)$"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n"])
def test_other_content_is_no_image(tmp_path, content):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable image"):
        read_image(path)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_truncated_images_are_unreadable(tmp_path, fmt):
    path = save(tmp_path / "file", np.tile(COLOUR, (8, 8, 1)), fmt)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match="not a readable image|cannot be decoded"):
        read_image(path)


def test_libtiff_itself_says_nothing_of_a_damaged_file(tmp_path, capfd):
    path = save(tmp_path / "file", np.tile(COLOUR, (8, 8, 1)), "TIFF", compression="tiff_lzw")
    damaged = bytearray(path.read_bytes())
    damaged[8:40] = bytes(range(200, 232))
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="cannot be decoded: "):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_what_pillow_logs_of_a_damaged_file_goes_to_handlers_alone(tmp_path):
    """It runs in a process of its own, since pytest has a handler for all that is logged."""
    path = save(tmp_path / "file.tif", COLOUR, "TIFF")
    path.write_bytes(
        path.read_bytes().replace(b"\x15\x01\x03\0\1\0\0\0\3\0", b"\x15\x01\x03\0\1\0\0\0\0\x70")
    )
    code = "import pathlib, sys, certvq.data as d; d.read_image(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in found.stderr.splitlines()[0]
    assert "certvq.errors.DataError: TIFF of a kind that is not read" in found.stderr


def test_a_chunk_that_is_cut_short_is_the_reason(tmp_path):
    path = tmp_path / "file.png"
    path.write_bytes(png_of_size(4, 4).replace(b"\0\0\0\rIHDR", b"\0\0\0\x09IHDR"))
    with pytest.raises(DataError, match="^cannot be decoded: Truncated IHDR chunk$"):
        read_image(path)


def png_of_size(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(64))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((5000, 5000), "5000 x 5000 pixels are more than the 16777216 allowed for a file of this"),
        ((60000, 60000), "it claims more pixels than are allowed for a file of this length; cut"),
    ],
)
def test_a_file_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path, size, reason):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(*size))
    with pytest.raises(DataError, match=f"{reason}.* allow (them|more) by CERTVQ_MAX_PIXELS"):
        read_image(path)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_the_limit_of_pixels_can_be_moved(tmp_path, monkeypatch, fmt):
    path = save(tmp_path / "file", COLOUR, fmt)
    assert read_image(path, max_pixels=24).shape == COLOUR.shape
    with pytest.raises(DataError, match="6 x 4 pixels are more than the 23 allowed"):
        read_image(path, max_pixels=23)
    monkeypatch.setenv("CERTVQ_MAX_PIXELS", "23")
    with pytest.raises(DataError, match="6 x 4 pixels are more than the 23 allowed"):
        read_image(path)
    monkeypatch.setenv("CERTVQ_MAX_PIXELS", "many")  # which is not the file's fault
    with pytest.raises(OptionError, match="CERTVQ_MAX_PIXELS must be a whole number"):
        read_image(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_reading_takes_eight_bytes_a_pixel(tmp_path):
    """Turned, and with alpha, in a process of its own, whose peak is its own."""
    exif, side = Image.Exif(), 3000
    exif[0x0112] = 6
    path = save(tmp_path / "file", Image.new("RGBA", (side, side)), "PNG", exif=exif)
    code = """
import pathlib, re, sys
from certvq.data import read_image

def peak():
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", text)[1]) << 10

before = peak()
pixels = read_image(pathlib.Path(sys.argv[1]))
print((peak() - before) / (pixels.size // 3))
"""
    command = [sys.executable, "-c", code, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 3 < float(found.stdout) < 8


def test_a_higher_limit_also_goes_above_pillow_s_own(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    path = save(tmp_path / "file", COLOUR, "PNG")
    assert read_image(path, max_pixels=24).shape == COLOUR.shape
    assert Image.MAX_IMAGE_PIXELS == 8


def test_a_missing_file_has_the_system_s_reason(tmp_path):
    with pytest.raises(DataError, match="^No such file or directory$"):
        read_image(tmp_path / "none.png")


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="a pipe, socket or device"):
        read_image(tmp_path / "pipe.png")


def test_damaged_files_give_pixels_or_a_reason_and_nothing_else(tmp_path, rng):
    """Hundreds of files with bytes changed, cut or missing; any other exception fails the test."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "file"
    wholes = []
    for fmt in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        stream = io.BytesIO()
        options = {} if fmt == "BMP" else {"exif": exif}
        Image.fromarray(np.tile(COLOUR, (4, 4, 1))).save(stream, fmt, **options)
        wholes.append(stream.getvalue())
    read, refused = 0, 0
    for number in range(400):
        damaged = bytearray(wholes[number % len(wholes)])
        for place in rng.integers(min(len(damaged), 300), size=rng.choice((1, 2, 8))):
            damaged[place] = rng.integers(256)
        if number % 3 == 0:
            del damaged[rng.integers(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            pixels = read_image(path)
        except DataError:
            refused += 1
        else:
            assert pixels.ndim == 3
            read += 1
    assert read > 20
    assert refused > 20


class TestWithChannels:
    def test_grey_becomes_three_equal_channels(self):
        assert with_channels(GREY[:, :, None], 3).tolist() == np.stack([GREY] * 3, -1).tolist()

    def test_colour_becomes_its_luma(self):
        primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
        assert with_channels(primaries, 1).tolist() == [[[76], [150], [29], [9]]]

    @pytest.mark.parametrize("channels", [1, 3])
    def test_what_is_right_already_stays(self, channels):
        pixels = np.zeros((2, 2, channels), np.uint8)
        assert with_channels(pixels, channels) is pixels
