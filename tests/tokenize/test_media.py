"""Bytes, paths and arrays to numbers."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from certvq.errors import DataError, OptionError
from certvq.tokenize._media import Reading, read_latents, read_pixels, read_sound


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def wav(samples, rate):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_bytes_and_paths_give_the_same_pixels(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels))
    for data in (png(pixels), str(tmp_path / "a.png"), pixels):
        assert np.array_equal(read_pixels(data, Reading()), pixels)


def test_channels_and_size_are_changed_where_asked(rng):
    pixels = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)
    assert read_pixels(png(pixels), Reading(channels=1)).shape == (20, 40, 1)
    square = read_pixels(png(pixels), Reading(resize=20))
    assert np.array_equal(square, pixels[:, 10:30])
    assert read_pixels(png(pixels), Reading(resize=8, channels=1)).shape == (8, 8, 1)
    with pytest.raises(OptionError, match="channels must be 1 or 3 for images, got 2"):
        read_pixels(png(pixels), Reading(channels=2))


@pytest.mark.parametrize("data", [b"", b"no image", np.zeros((2, 2), np.uint8)])
def test_what_is_no_image_is_named(data):
    with pytest.raises(DataError, match="not a readable image|pixels must be uint8"):
        read_pixels(data, Reading())


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_sounds_are_read_as_soundfile_does(tmp_path, rng, kind):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, rng.uniform(-0.5, 0.5, (50, 2)), 400, format=kind)
    wanted, _ = soundfile.read(path, dtype="float32")
    for data in (path.read_bytes(), str(path)):
        assert np.array_equal(read_sound(data, Reading(), rate=400), wanted.T)


def test_a_header_that_promises_hours_is_refused_before_memory_is_taken(rng):
    stream = io.BytesIO()
    soundfile.write(stream, rng.uniform(-1, 1, 4000), 16000, format="FLAC")
    data = bytearray(stream.getvalue())
    data[21:26] = bytes([data[21] | 15, 255, 255, 255, 255])  # its 36 bits of all samples
    with pytest.raises(DataError, match="its samples: unpacks to 262144 MiB, .*--seconds"):
        read_sound(bytes(data), Reading(), rate=16000)


def test_another_rate_is_refused_or_converted(rng):
    data = wav(np.sin(np.arange(800) / 20).astype(np.float32), 800)
    with pytest.raises(OptionError, match="has 800 samples per second, and the model takes 400"):
        read_sound(data, Reading(), rate=400)
    found = read_sound(data, Reading(resample=True), rate=400)
    assert found.shape == (1, 400)
    assert np.abs(found[0, 50:-50] - np.sin(np.arange(400) / 10)[50:-50]).max() < 1e-3


def test_channels_are_mixed_where_asked():
    data = wav(np.array([[0.5, 0.0], [1.0, -1.0]], np.float32), 400)
    assert read_sound(data, Reading(channels=1), rate=400).tolist() == [[0.25, 0.0]]
    assert read_sound(data, Reading(channels=2), rate=400).tolist() == [[0.5, 1.0], [0.0, -1.0]]
    mono = wav(np.array([0.5, -1.0], np.float32), 400)
    assert read_sound(mono, Reading(channels=2), rate=400).tolist() == [[0.5, -1.0]] * 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a readable sound"),
        (wav(np.zeros(0, np.float32), 400), "holds no samples"),
        (wav(np.array([0.0, np.nan], np.float32), 400), "NaN or infinity"),
    ],
    ids=["empty", "no samples", "nan"],
)
def test_what_is_no_sound_is_named(data, text):
    with pytest.raises(DataError, match=text):
        read_sound(data, Reading(), rate=400)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "latents must be arrays"),
        (np.zeros((2, 3), np.int64), "must be float16, float32 or float64, got int64"),
        (np.zeros((2, 4)), r"latents must be \(..., 3\), got \(2, 4\)"),
        (np.zeros((0, 3)), r"got \(0, 3\)"),
    ],
    ids=["file", "integers", "dim", "empty"],
)
def test_latents_of_another_kind_are_named(data, text):
    with pytest.raises(DataError, match=text):
        read_latents(data, dim=3)


@pytest.mark.parametrize("options", [{"channels": 4}, {"resize": 0}])
def test_options_are_checked(options):
    with pytest.raises(OptionError, match="channels must be 1, 2 or 3|resize must be"):
        Reading(**options)
