"""Codebooks as the kernels read them: rounding is measured, and what is beyond is refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from certvq import bounds
from certvq._triton import make_tables
from certvq._triton._tables import SMALLEST_SQDIST
from certvq.assign._sqdist import SMALLEST_PRODUCT
from certvq.errors import DeviceMemoryError

from ._on import DEVICE, fractions


def tables_of(vectors):
    return make_tables(vectors, np.arange(len(vectors)), DEVICE)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_tables_hold_the_scaled_codes_within_their_residual(rng, scale):
    vectors = rng.standard_normal((40, 7)) * scale
    tables = tables_of(vectors)
    unit, residual, norm = (Fraction(float(value)) for value in tables.constants[:3])
    narrow = fractions(tables.narrow[:40, :7].cpu())
    centre = fractions(tables.centre.cpu()[None])[0]
    worst = Fraction(0)
    for row, taken in zip(fractions(vectors), narrow, strict=True):
        left = [unit * (x - m) - q for x, m, q in zip(row, centre, taken, strict=True)]
        worst = max(worst, sum(x * x for x in left))
        assert sum(q * q for q in taken) <= norm * norm
    assert worst <= residual * residual <= 4 * worst
    assert 128 <= norm <= 257
    assert not tables.narrow[:, 7:].any()
    offsets = tables.offsets.double().cpu().numpy()
    halves = [float(sum(q * q for q in taken) / 2) for taken in narrow]
    assert (np.abs(offsets[:40] - halves) <= 2.0**-24 * np.array(halves)).all()
    assert (offsets[40:] == 2.0**120).all()


def test_entries_below_the_least_normal_float16_become_0_and_are_measured():
    vectors = np.array([[1.0, 2.0**-30], [-1.0, -(2.0**-30)]])
    tables = tables_of(vectors)
    assert tables.narrow[:2, :2].cpu().tolist() == [[128.0, 0.0], [-128.0, 0.0]]
    assert tables.constants[1] >= 2.0**-23


def test_a_single_code_vector_has_scale_1():
    tables = tables_of(np.full((1, 3), 1e300))
    assert tables.constants[0] == 1.0
    assert tables.constants[2] == 0.0


@pytest.mark.parametrize(
    "vectors",
    [np.array([[0.0], [5e-324]]), np.eye(2) * 1e-200, np.zeros((1, bounds.TENSOR_DIM + 1))],
)
def test_what_the_bounds_do_not_cover_has_no_tables(vectors):
    assert tables_of(vectors) is None


def test_vectors_are_float32_only_where_that_is_exact(rng):
    wide = rng.standard_normal((3, 2))
    assert tables_of(wide).vectors.element_size() == 8
    assert tables_of(wide.astype(np.float32).astype(np.float64)).vectors.element_size() == 4
    assert math.isfinite(tables_of(wide).nbytes())


def test_distances_are_mended_below_what_the_engine_mends():
    assert SMALLEST_SQDIST == SMALLEST_PRODUCT
    assert tables_of(np.eye(2)).constants[7] == SMALLEST_PRODUCT


def test_no_memory_for_the_tables_is_named_with_what_is_needed(monkeypatch):
    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    vectors = np.random.default_rng(0).standard_normal((100, 5))
    tables = make_tables(vectors, np.arange(100), DEVICE)
    monkeypatch.setattr(torch, "tensor", refuse)
    match = rf"needs {tables.nbytes()} free bytes .* 100 code vectors of dim 5; .*out of memory"
    with pytest.raises(DeviceMemoryError, match=match):
        make_tables(vectors, np.arange(100), DEVICE)
