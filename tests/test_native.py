"""The compiled kernels agree with NumPy within their bound, and certvq works without them."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from certvq import _native, bounds


def test_the_kernel_was_built():
    assert _native.AVAILABLE


@pytest.mark.parametrize("columns", [1, 3, 4, 5, 8, 129])
def test_row_norms_within_the_bound(rng, columns):
    rows = rng.standard_normal((20, columns)) * 10.0 ** rng.integers(-5, 5, (20, columns))
    for view in (rows, rows[::-2], np.asfortranarray(rows), np.broadcast_to(rows[0], rows.shape)):
        norms = _native.squared_row_norms(view)
        for row, norm in zip(view, norms, strict=True):
            true = sum(Fraction(v) ** 2 for v in row.tolist())
            assert abs(Fraction(norm) - true) <= Fraction(bounds.gamma(columns)) * true


def test_row_norms_of_nothing():
    assert _native.squared_row_norms(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2), dtype=np.float32), "text"])
def test_kernel_refuses_other_arrays(bad):
    with pytest.raises(TypeError, match="squared_row_norms"):
        _native._kernel.squared_row_norms(bad)


def test_stub_is_what_the_module_says():
    stub = (Path(_native.__file__).parent / "_kernel.pyi").read_text()
    for name in vars(_native._kernel):
        if not name.startswith("_"):
            assert f"def {name}(" in stub
            assert getattr(_native._kernel, name).__doc__.splitlines()[-1] in stub


def test_codes_are_the_same_without_the_kernel():
    """In a process where the compiled module cannot be imported."""
    code = (
        "import sys; sys.modules['certvq._native._kernel'] = None\n"
        "import certvq, certvq.testing\n"
        "print(certvq._native.AVAILABLE, certvq.testing.check_backend('numpy'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]
