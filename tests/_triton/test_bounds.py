"""The bounds of the kernels are those of the page: the file is fresh, the numbers are equal."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import triton
import triton.language as tl

from certvq import bounds
from certvq._triton import _bounds

from ._on import DEVICE, to_device

ROOT = Path(__file__).parents[2]


def make_bounds():
    path = ROOT / "native" / "make_bounds.py"
    spec = importlib.util.spec_from_file_location("make_bounds", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_module_is_fresh():
    maker = make_bounds()
    fresh = maker.triton_module(maker.SOURCE.read_text())
    assert maker.TRITON.read_text() == fresh, "run: python native/make_bounds.py"
    for name in maker.TRITON_FUNCTIONS:
        for theorem in bounds.THEOREMS[name]:
            assert theorem in fresh


def test_literals_are_exact_in_float32():
    """Triton may read them as float32; a literal that is not exact there would shrink a bound."""
    numbers = re.findall(r"(?<![\w.])\d+\.\d*(?:e[-+]?\d+)?", Path(_bounds.__file__).read_text())
    assert {"0.5", "9.313225746154785e-10", "131072.0"} <= set(numbers)
    assert [n for n in numbers if float(np.float32(float(n))) != float(n)] == []


@triton.jit
def evaluate(values, results, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    a = tl.load(values + place)
    b = tl.load(values + BLOCK + place)
    c = tl.load(values + 2 * BLOCK + place)
    d = tl.load(values + 3 * BLOCK + place)
    e = tl.load(values + 4 * BLOCK + place)
    tl.store(results + place, _bounds.tensor_residual(a, b))
    tl.store(results + BLOCK + place, _bounds.tensor_score_error(a, b, c, d))
    tl.store(results + 2 * BLOCK + place, _bounds.tensor_distance(a, b, c))
    tl.store(results + 3 * BLOCK + place, _bounds.tensor_reach(a, b, c, d, e))


def test_kernels_evaluate_the_bounds_of_the_page(rng):
    """To the bit in the interpreter, to a few roundings with fused multiply-add."""
    values = np.exp2(rng.uniform(-20, 20, (5, 16)))
    values[1, ::2] *= -1
    results = to_device(np.zeros((4, 16)))
    evaluate[(1,)](to_device(values), results, BLOCK=16)
    a, b, c, d, e = values
    expected = [
        bounds.tensor_residual(a, b),
        bounds.tensor_score_error(a, b, c, d),
        bounds.tensor_distance(a, b, c),
        bounds.tensor_reach(a, b, c, d, e),
    ]
    found = results.cpu().numpy()
    if DEVICE.type == "cpu":
        assert np.array_equal(found, expected)
    assert np.allclose(found, expected, rtol=2.0**-45, atol=0.0)
