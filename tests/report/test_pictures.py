"""Pictures as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certvq.report._colours import code_colours, radius_colours
from certvq.report._pictures import code_tints, photograph, stability_map, token_map
from certvq.runs._read import read_run


def _decode(picture):
    head, _, text = picture.uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert head == f"data:image/{str(image.format).lower()};base64"
    assert image.size == (picture.width, picture.height)
    return image


def _save(path: Path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "shown"),
    [((300, 640), (640, 300)), ((300, 641), (640, 300)), ((2, 4000), (640, 1)), ((9, 7), (7, 9))],
)
def test_photographs_are_at_most_640_pixels_wide(tmp_path, size, shown):
    path = _save(tmp_path / "a.png", np.zeros((*size, 3), np.uint8))
    picture = photograph(path, size)
    assert (picture.width, picture.height) == shown
    assert _decode(picture).format == "WEBP"
    assert not picture.pixelated


def test_small_photographs_keep_every_pixel(tmp_path, rng):
    pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
    picture = photograph(_save(tmp_path / "a.png", pixels), (20, 30))
    assert np.array_equal(np.asarray(_decode(picture).convert("RGB")), pixels)


def test_grey_photographs_stay_grey(tmp_path):
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    shown = np.asarray(_decode(photograph(_save(tmp_path / "a.png", pixels), (10, 20))))
    assert np.array_equal(shown[..., :3], np.repeat(pixels[..., None], 3, axis=2))


def test_token_map_has_one_pixel_for_each_token():
    codes = np.array([[0, 2, 1], [2, 2, 0]])
    colours = np.array([[1, 2, 3], [40, 50, 60], [7, 8, 9]], np.uint8)
    picture = token_map(codes, colours)
    assert np.array_equal(np.asarray(_decode(picture)), colours[codes])
    assert picture.pixelated


def test_stability_map_has_one_pixel_for_each_token():
    radius = np.array([[0.0, 0.5], [2.0, np.inf]])
    picture = stability_map(radius, 1.0)
    assert np.array_equal(np.asarray(_decode(picture)), radius_colours(radius, 1.0))
    assert picture.pixelated


def test_tints_follow_the_originals(run_dir):
    run = read_run(run_dir)
    for photo in run.photos:
        # top half black, bottom half red: codes of the bottom are lighter and redder
        pixels = np.zeros((photo.figures.height, photo.figures.width, 3), np.uint8)
        pixels[len(pixels) // 2 :, :, 0] = 200
        _save(run_dir / f"heldout/{photo.figures.key}.original.png", pixels)
    tints = code_tints(run.photos, 16)
    assert tints.shape == (16, 3)
    assert np.allclose(tints.sum(axis=0), 0)
    assert np.corrcoef(tints[:, 0], tints[:, 1])[0, 1] > 0.999


def test_tints_are_zero_without_originals(run_dir):
    for path in run_dir.glob("heldout/*.original.png"):
        path.unlink()
    run = read_run(run_dir)
    tints = code_tints(run.photos, 16)
    assert not tints.any()
    assert code_colours(run.codebook, run.counts, tints=tints).shape == (16, 3)
