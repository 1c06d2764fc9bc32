"""The compiled kernels agree with NumPy within their bound, and certvq works without them."""

import ast
import importlib.util
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from certvq import _native, bounds

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("call", ["certvq.assign(z, c)", "certvq.audit(z, c, codes)"])
def test_the_end_of_the_interpreter_does_not_abort_in_a_daemon_thread(call):
    """Up to Python 3.13 a thread that asks for the lock then is unwound, through no destructor."""
    program = f"""
import threading, time, numpy as np, certvq
z, c = np.random.rand(30000, 16).astype("f4"), np.random.rand(2048, 16).astype("f4")
codes = certvq.assign(z, c).codes
def loop():
    while True:
        {call}
threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_row_norms_of_nothing():
    assert _native.squared_row_norms(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2), dtype=np.float32), "text"])
def test_kernel_refuses_other_arrays(bad):
    with pytest.raises(TypeError, match="squared_row_norms"):
        _native._kernel.squared_row_norms(bad)


def test_kernel_refuses_batches_that_do_not_fit():
    tokens, counts, sums = np.zeros((2, 3)), np.zeros(4), np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"codes must lie in range\(4\), got 4"):
        _native.add_batch(tokens, np.array([0, 4]), counts, sums)
    with pytest.raises(ValueError, match="one code for each of the 2 latents expected, got 1"):
        _native.add_batch(tokens, np.array([0]), counts, sums)
    for wrong in ((counts[:3], sums), (counts, sums[:, :2].copy())):
        with pytest.raises(ValueError, match=r"counts \(K,\) and sums \(K, D\) expected.*D = 3"):
            _native.add_batch(tokens, np.array([0, 1]), *wrong)
    step = 0.5, 0.5, 0.0, 1.0
    for tables in ([sums] * 3, [*[sums] * 3, sums[:2]]):
        with pytest.raises(ValueError, match="two counts .* and four tables .* got 2 and"):
            _native.take_in([counts] * 2, tables, step)
    assert not sums.any()
    assert not counts.any()


def test_stub_is_what_the_module_says():
    stub = ast.parse((Path(_native.__file__).parent / "_kernel.pyi").read_text())
    declared: dict[str, str | None] = {}
    for node in stub.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            declared[node.name] = ast.get_docstring(node) or declared.get(node.name)
    members = {n: m for n, m in vars(_native._kernel).items() if not n.startswith("_")}
    assert declared.keys() - {"_Decided"} == members.keys()
    for name, member in members.items():
        assert declared[name] in member.__doc__


def test_generated_bounds_are_fresh():
    path = ROOT / "native" / "make_bounds.py"
    spec = importlib.util.spec_from_file_location("make_bounds", path)
    assert spec is not None
    assert spec.loader is not None
    make_bounds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_bounds)
    fresh = make_bounds.header(make_bounds.SOURCE.read_text())
    assert make_bounds.HEADER.read_text() == fresh, "run: python native/make_bounds.py"
    for name in make_bounds.FUNCTIONS:
        for theorem in bounds.THEOREMS[name]:
            assert theorem in fresh


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 1000])
def test_kernel_evaluates_the_bounds_of_the_page(dim):
    norm, residual, names = 123.456, 7.25, 31.0
    computed = _native._kernel.bounds(dim, norm, residual, names)
    gamma = computed.pop("gamma")
    assert bounds.gamma(dim) <= gamma <= bounds.gamma(dim) * (1 + 2.0**-50)
    expected = {
        "underflow_radius": bounds.underflow_radius(dim),
        "norm_upper": bounds.norm_upper(norm, dim),
        "fixed_point_residual": bounds.fixed_point_residual(residual, dim),
        "fixed_point_distance": bounds.fixed_point_distance(norm, -residual, 4.0, names),
        "fixed_point_reach": bounds.fixed_point_reach(norm, residual, residual, 4.0, 0.25, names),
        "fixed_point_score_of_distance": bounds.fixed_point_score_of_distance(
            norm, residual, 0.5, 4.0, names
        ),
        "axes_distance": bounds.axes_distance(residual, norm, names, dim),
        "sqdist_lower": bounds.sqdist_lower(norm, dim),
        "sqdist_upper": bounds.sqdist_upper(norm, dim),
        "farther_factor": bounds.farther_factor(dim),
        "farther_slack": bounds.farther_slack(dim),
        "quarter_sqdist": bounds.quarter_sqdist(norm, dim),
        "sqdist_pair_radius": bounds.sqdist_pair_radius(norm, dim),
        "border_distance_of_sqdist": bounds.border_distance_of_sqdist(norm, residual, names, dim),
        "border_distance_of_product": bounds.border_distance_of_product(
            norm, norm, residual, names, dim
        ),
        "border_reach": bounds.border_reach(norm, residual, dim),
        "sqdist_limit": bounds.sqdist_limit(norm, dim),
    }
    assert computed.keys() == expected.keys()
    for name, value in expected.items():
        assert computed[name] == pytest.approx(value, rel=2.0**-51, abs=0.0)


def test_codes_are_the_same_without_the_kernel():
    """In a process where the compiled module cannot be imported."""
    code = (
        "import sys; sys.modules['certvq._native._kernel'] = None\n"
        "import certvq, certvq.testing\n"
        "print(certvq._native.AVAILABLE, certvq.testing.check_backend('numpy'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]
