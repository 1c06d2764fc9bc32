"""The numbers that are measured on."""

import numpy as np
import pytest

from certvq.bench._cells import Cell
from certvq.bench._data import Numbers, drawn, of_model, offset
from certvq.data import Photograph, Split
from certvq.errors import OptionError
from certvq.jobs import _photographs as _sources


@pytest.mark.parametrize("kind", ["normal", "sphere"])
def test_drawn_numbers_have_the_size_and_are_the_same_each_time(kind):
    cell = Cell(50, 20, 6)
    one, other = drawn(cell, kind), drawn(cell, kind)
    assert one.cell == cell
    assert one.latents.dtype == one.codebook.dtype == np.float32
    assert np.array_equal(one.latents, other.latents)
    assert np.array_equal(one.codebook, other.codebook)


def test_on_the_sphere_all_norms_are_one():
    numbers = drawn(Cell(50, 20, 6), "sphere")
    for array in (numbers.latents, numbers.codebook):
        norms = np.linalg.norm(array.astype(np.float64), axis=1)
        assert np.abs(norms - 1).max() < 6 * 2.0**-24


def test_an_unknown_kind_is_refused():
    with pytest.raises(OptionError, match="drawn numbers are normal or sphere; got 'latents'"):
        drawn(Cell(1, 1, 1), "latents")


def test_an_offset_moves_latents_and_codebook_by_ten_standard_deviations():
    numbers = Numbers(np.array([[-2.0], [2.0]], np.float32), np.array([[1.0]], np.float32))
    moved = offset(numbers)
    assert moved.latents.tolist() == [[18.0], [22.0]]
    assert moved.codebook.tolist() == [[21.0]]
    assert moved.latents.dtype == moved.codebook.dtype == np.float32


def test_latents_of_a_model_are_those_of_held_out_photographs(model_dir):
    numbers = of_model(model_dir, 100)
    assert numbers.cell == Cell(100, 8, 4)
    assert numbers.latents.dtype == numbers.codebook.dtype == np.float32
    assert len(np.unique(numbers.latents, axis=0)) > 90
    assert np.array_equal(numbers.latents, of_model(model_dir, 100).latents)


def test_a_small_photograph_is_shifted_and_mirrored_until_that_is_all(model_dir, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    split = Split([], [Photograph("one", pixels)])
    monkeypatch.setattr(_sources, "load_split", lambda *a, **k: _sources.Source(split, []))
    assert of_model(model_dir, 9 * 16 * 4).cell.rows == 576  # 3 x 3 tokens however it is shifted
    with pytest.raises(OptionError, match="the photographs give 576 latents of .*; got 577 rows"):
        of_model(model_dir, 577)
