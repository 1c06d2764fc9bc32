"""Squared distances rounded once: the kernel gives the very float64 that Python's integers give."""

import os
import signal
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import certvq
from certvq import _native
from certvq.assign import _sqdist
from certvq.assign._exact import exact_sqdist
from certvq.assign._packing import to_bits

ISAS = _native.isas()


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


def rounded(latents, codebook, codes, threads=1):
    codes = np.asarray(codes, np.int64)
    return _native.rounded_sqdist(to_bits(latents), to_bits(codebook), codes, threads)


def pairs_as_rounded(z, c):
    """Round the squared distances of the rows of z to those of c, and compare with integers."""
    found = rounded(z, c, np.arange(len(z)))
    wide = np.asarray(z, np.float64), np.asarray(c, np.float64)
    expected = [exact_sqdist(x, y) for x, y in zip(*wide, strict=True)]
    assert found.tolist() == expected
    return found


@pytest.mark.rows("dim", [1, 2, 7, 8, 9, 16, 33, 64, 300])
@pytest.mark.rows("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_ordinary_numbers_of_every_type(isa, dim, dtype, rng):
    pairs_as_rounded(*rng.standard_normal((2, 200, dim)).astype(dtype))


def test_types_may_differ(isa, rng):
    z = torch.from_numpy(rng.standard_normal((40, 5))).bfloat16()
    pairs_as_rounded(z.double().numpy(), rng.standard_normal((40, 5)).astype(np.float16))
    found = rounded(z, torch.from_numpy(rng.standard_normal((40, 5))), np.arange(40))
    assert np.isfinite(found).all()


def test_ties_of_rounding(isa, rng):
    """Odd sums of 54 bits lie halfway between two doubles: squares of odd numbers, and 2 more."""
    odd = rng.integers(2**26.5, 2**27, 500) | 1
    z = np.zeros((1000, 3))
    z[:, 0] = np.repeat(odd, 2)
    z[1::2, 1:] = 1.0
    found = pairs_as_rounded(np.concatenate([z, z * 2.0**-300]), np.zeros((2000, 3)))
    true = [int(square) for square in (z.astype(np.int64) ** 2).sum(1)]
    assert all(t.bit_length() == 54 and t % 2 == 1 for t in true)
    up = [int(f) > t for f, t in zip(found, true, strict=False)]
    assert up == [False, True] * 500  # the even neighbour


@pytest.mark.rows("side", [-1.0, 0.0, 1.0])
def test_next_to_a_tie(isa, side, rng):
    """A bit far below the last place decides, on either side of the middle, or none does."""
    odd = rng.integers(2**25, 2**26, 300) * 2 + 1
    z = np.zeros((300, 3))
    z[:, 0] = odd
    for exponent in (-20, -60, -200, -500, -537, -1074):
        z[:, 1] = 2.0**exponent * abs(side)
        z[:, 2] = 2.0**26.5  # irrational, so its square has 106 bits
        pairs_as_rounded(z, np.zeros_like(z))
        z[:, 2] = 1.0
        c = np.zeros_like(z)
        c[:, 0] = -side * 2.0 ** max(-26, exponent)
        pairs_as_rounded(z, c)


def test_what_underflow_takes_can_decide(isa, rng):
    """A square below the smallest number, beside a sum that is halfway between two doubles."""
    z = np.zeros((200, 2))
    z[:, 0] = np.ldexp(rng.integers(2**26.5, 2**27, 200) | 1, -516)
    even = pairs_as_rounded(z, np.zeros_like(z))
    z[:, 1] = 2.0**-538
    up = pairs_as_rounded(z, np.zeros_like(z))
    assert (up == np.nextafter(even, np.inf)).all()


@pytest.mark.rows("power", [-1074, -1060, -700, -541, -537, -500, -450, 0, 450, 499, 510, 511])
def test_every_magnitude(isa, power, rng):
    z = np.ldexp(rng.standard_normal((200, 6)), power)
    c = np.ldexp(rng.standard_normal((200, 6)), power)
    pairs_as_rounded(z, c)
    pairs_as_rounded(z, np.zeros_like(c))


def test_subnormal_results_and_their_ties(isa):
    z = np.sqrt(np.arange(1, 4000) / 8.0) * 2.0**-537
    z = np.stack([z, np.full_like(z, 2.0**-538.5)], axis=1)
    found = pairs_as_rounded(z, np.zeros_like(z))
    assert (found < 2.0**-1060).all()
    halves = np.array([[2.0**-538, 2.0**-538], [2.0**-537, 2.0**-538], [2.0**-538, 0.0]])
    tie = pairs_as_rounded(np.repeat(halves, 2, axis=1), np.zeros((3, 4)))
    assert tie.tolist() == [4 * 2.0**-1074 / 4, 2 * 2.0**-1074, 0.0]


def test_the_end_of_float64(isa):
    most = np.finfo(np.float64).max
    root = 2.0**512
    below = np.nextafter(root, 0)
    z = np.array(
        [[most, most], [root, 0], [below, 0], [below, 2.0**485], [below, 2.0**486], [1, 1]]
    )
    c = np.array([[-most, 0], [0, 0], [0, 0], [0, 0], [0, 0], [most, 1]])
    found = pairs_as_rounded(z, c)
    assert np.isinf(found).tolist() == [True, True, False, False, True, True]


@pytest.mark.rows("seed", range(6))
def test_mixed_exponents(isa, seed):
    rng = np.random.default_rng(seed)
    for spread in (5, 60, 200, 500):
        z, c = (
            np.ldexp(rng.standard_normal((60, 9)), rng.integers(-spread, spread, (60, 9)))
            for _ in "zc"
        )
        c[:20] = z[:20] * (1 + rng.integers(-3, 4, (20, 9)) * 2.0**-52)
        pairs_as_rounded(z, c)


def test_integers_of_few_bits_often_tie(isa, rng):
    """Squares of float32 with a common unit: one in many sums lies halfway between two doubles."""
    z, c = (np.round(rng.standard_normal((3000, 8)) * 2.0**25) for _ in "zc")
    pairs_as_rounded(z, c)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_any_finite_floats(data):
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.float16]))
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 10)))
    width = np.dtype(dtype).itemsize * 8
    floats = st.floats(allow_nan=False, allow_infinity=False, width=width)
    pairs_as_rounded(*(data.draw(arrays(dtype, shape, elements=floats)) for _ in "zc"))


@pytest.mark.parametrize("backend", ["auto", "numpy", "torch", "reference"])
def test_the_option_of_assign(backend, rng):
    latents, codebook = rng.standard_normal((30, 5)) + 100, rng.standard_normal((9, 5))
    found = certvq.assign(latents, codebook, backend=backend, exact_sqdist=True)
    expected = [exact_sqdist(z, codebook[i]) for z, i in zip(latents, found.codes, strict=True)]
    assert found.sqdist.tolist() == expected


def test_without_the_kernel(monkeypatch, rng):
    latents, codebook = rng.standard_normal((30, 5)), rng.standard_normal((9, 5))
    expected = certvq.assign(latents, codebook, exact_sqdist=True).sqdist
    monkeypatch.setattr(_native, "AVAILABLE", False)
    found = certvq.assign(latents, codebook, backend="numpy", exact_sqdist=True).sqdist
    assert found.tolist() == expected.tolist()
    assert certvq.assign(latents[:0], codebook, backend="numpy", exact_sqdist=True).sqdist.size == 0


def test_layouts_and_threads(isa, rng):
    z, c = rng.standard_normal((3000, 40)), rng.standard_normal((70, 40))
    codes = rng.integers(0, 70, 3000)
    expected = rounded(z, c, codes)
    assert rounded(np.asfortranarray(z), c, codes, 3).tolist() == expected.tolist()
    assert (
        rounded(z[::-1].copy()[::-1], np.asfortranarray(c), codes, 2).tolist() == expected.tolist()
    )
    assert rounded(z[:0], c, codes[:0]).shape == (0,)


def test_extreme_rows_need_no_integers_of_python(monkeypatch, rng):
    monkeypatch.setattr(_sqdist, "exact_sqdist", None)
    latents, codebook = rng.standard_normal((50, 3)) * 1e-170, rng.standard_normal((5, 3)) * 1e-170
    found = certvq.assign(latents, codebook, backend="numpy")
    expected = [exact_sqdist(z, codebook[i]) for z, i in zip(latents, found.codes, strict=True)]
    assert found.sqdist.tolist() == expected


def test_refusals_of_the_binding():
    kernel, eye, codes = _native._kernel, np.eye(2), np.zeros(2, np.int64)

    def call(z=eye, c=eye, codes=codes, threads=1, isa=""):
        return kernel.rounded_sqdist(z, False, c, False, codes, threads, isa)

    assert call().tolist() == [0.0, 2.0]
    for bad in (np.eye(2, dtype=np.int64), np.zeros(3), np.eye(2, dtype=complex), "text", None):
        with pytest.raises(TypeError):
            call(z=bad)
        with pytest.raises(TypeError):
            call(c=bad)
    with pytest.raises(ValueError, match="dims 2 and 3 and 1 threads"):
        call(c=np.eye(3))
    with pytest.raises(ValueError, match="dims 2 and 2 and 0 threads"):
        call(threads=0)
    with pytest.raises(ValueError, match="each of the 2 latents expected, got 1"):
        call(codes=codes[:1])
    with pytest.raises(ValueError, match=r"range\(2\), got -1"):
        call(codes=codes - 1)
    with pytest.raises(ValueError, match="got nonesuch"):
        call(isa="nonesuch")
    odd = np.array([[np.nan, 0.0], [np.inf, 0.0]])
    assert np.isnan(call(z=odd)).tolist() == [True, False]


@pytest.mark.slow
def test_signal_stops_a_long_call():
    """In a process of its own: many minutes of work, interrupted after half a second."""
    code = (
        "import numpy as np\n"
        "from certvq import _native\n"
        "z = np.broadcast_to(np.float64(2.0**-540), (50_000_000, 4096))\n"
        "codes = np.zeros(len(z), np.int64)\n"
        "print('ready', flush=True)\n"
        "_native.rounded_sqdist((z, 'float64'), (z[:1] * 3, 'float64'), codes, 2)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CERTVQ_ISA": "portable"},
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        took = time.monotonic() - sent
    assert "KeyboardInterrupt" in errors
    assert took < 20  # the promise is a second; a busy machine is given time
