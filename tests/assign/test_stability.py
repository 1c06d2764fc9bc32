"""The stability radius: never above the exact distance to the border, and close to it."""

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

import certvq
from certvq import _native, testing
from certvq.assign import _stability
from certvq.errors import NonFiniteError

ISAS = _native.isas()


@pytest.fixture(params=["numpy", *ISAS])
def path(request, monkeypatch):
    """NumPy alone, or the kernel on one instruction set."""
    if request.param == "numpy":
        monkeypatch.setattr(_stability, "_native_radii", lambda *_: None)
    else:
        monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


def numpy_radii(latents, codebook, codes):
    prepared = certvq.prepare(codebook)
    host = np.asarray(latents)
    return _stability._numpy_radii(host, prepared, np.asarray(codes, dtype=np.int64))


def true_radii(latents, codebook, codes):
    """Borders of all codes by longer floats, row by row, and the code behind the nearest one."""
    z, c = np.asarray(latents, np.longdouble), np.asarray(codebook, np.longdouble)
    radii, behind = np.empty(len(z)), np.empty(len(z), dtype=np.int64)
    for row, code in enumerate(codes):
        step = c[code] - c
        gap = (step * ((z[row] - c[code]) + (z[row] - c))).sum(1)
        apart = np.sqrt((step**2).sum(1))
        border = np.full(len(c), np.inf, np.longdouble)
        border[apart > 0] = gap[apart > 0] / (2 * apart[apart > 0])
        behind[row] = border.argmin()
        radii[row] = max(border.min(), 0)
    return radii, behind


def assert_tight(radius, latents, codebook, codes):
    """At most the true radius; less only by rounding, which the distance to the code scales."""
    true, _ = true_radii(latents, codebook, codes)
    own = np.asarray(codebook, np.float64)[codes]
    reach = np.sqrt(((np.asarray(latents, np.float64) - own) ** 2).sum(1))
    assert (radius <= true * (1 + 1e-15)).all()
    assert (radius >= true * (1 - 1e-9) - 1e-12 * reach).all()


def exact_square_of_radius(z, codebook, code):
    """min over j of (d_j - d_i)^2 / (4 |c_i - c_j|^2), as a fraction."""

    def d(x, y):
        return sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, y, strict=True))

    own = codebook[code]
    return min((d(z, c) - d(z, own)) ** 2 / (4 * d(own, c)) for c in codebook if d(own, c) != 0)


@pytest.mark.rows("offset", [0.0, 1e4])
@pytest.mark.rows("scale", [1.0, 1e-200, 1e200])
def test_radius_is_below_the_exact_one_and_close(path, rng, offset, scale):
    latents = (rng.standard_normal((60, 4)) + offset) * scale
    codebook = (rng.standard_normal((12, 4)) + offset) * scale
    codes = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, codes)
    for z, code, r in zip(latents.tolist(), codes.tolist(), radius.tolist(), strict=True):
        square = exact_square_of_radius(z, codebook.tolist(), code)
        assert Fraction(r) ** 2 <= square
        assert Fraction(r) ** 2 >= square * Fraction(99, 100) or r < 1e-6 * scale


def test_no_perturbation_within_the_radius_changes_a_code(path, rng):
    latents, codebook = rng.standard_normal((200, 3)), rng.standard_normal((30, 3))
    codes = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, codes)
    for _ in range(20):
        step = rng.standard_normal(latents.shape)
        step *= (radius * (1 - 1e-12) / np.linalg.norm(step, axis=1))[:, None]
        assert (certvq.assign(latents + step, codebook).codes == codes).all()


def test_a_step_just_beyond_the_radius_can_change_the_code(path):
    latents, codebook = np.array([[0.25, 7.0]]), np.array([[0.0, 7.0], [1.0, 7.0]])
    radius = certvq.stability_radius(latents, codebook, [0])
    moved = latents + np.array([[radius[0] * (1 + 1e-9), 0.0]])
    assert certvq.assign(moved, codebook).codes.tolist() == [1]


@pytest.mark.rows(
    ("latents", "codebook", "codes", "expected"),
    [
        ([[0.3]], [[5.0]], [0], [np.inf]),
        ([[0.3]], [[5.0], [5.0]], [0], [np.inf]),
        ([[5.0]], [[5.0], [5.0]], [1], [0.0]),
        ([[0.5]], [[0.0], [1.0]], [0], [0.0]),
        ([[0.9]], [[0.0], [1.0]], [0], [0.0]),
    ],
)
def test_special_cases(path, latents, codebook, codes, expected):
    """One code: infinite. A higher twin, an exact tie, a wrong code: nothing is proved."""
    radius = certvq.stability_radius(np.array(latents), np.array(codebook), np.array(codes))
    assert radius.tolist() == expected


def test_torch_in_torch_out_and_empty():
    radius = certvq.stability_radius(torch.zeros(0, 2), torch.ones(3, 2), torch.zeros(0).long())
    assert isinstance(radius, torch.Tensor)
    assert radius.shape == (0,)


def test_the_error_term_is_needed(monkeypatch, rng):
    """Without it, some radius is above the exact one."""
    from certvq import bounds

    monkeypatch.setattr(_stability, "_native_radii", lambda *_: None)
    monkeypatch.setattr(bounds, "score_radius", lambda norms, code_norm, dim: norms * 0.0)
    monkeypatch.setattr(bounds, "gamma", lambda terms: 0.0)
    latents = rng.standard_normal((400, 6)) + 1e7
    codebook = rng.standard_normal((12, 6)) + 1e7
    codes = certvq.assign(latents, codebook, backend="reference").codes
    radius = certvq.stability_radius(latents, codebook, codes)
    above = [
        Fraction(r) ** 2 > exact_square_of_radius(z, codebook.tolist(), code)
        for z, code, r in zip(latents.tolist(), codes.tolist(), radius.tolist(), strict=True)
    ]
    assert any(above)


@pytest.mark.rows("case", list(testing.contract_cases()))
def test_contract_cases(isa, case):
    """Exact fractions: never above the true radius, and 0 only where rounding explains it."""
    codes = case.expected()
    radius = certvq.stability_radius(case.latents, case.codebook, codes)
    vectors = case.codebook.tolist()
    rows = zip(case.latents.tolist(), codes.tolist(), radius.tolist(), strict=True)
    for z, code, r in list(rows)[:12]:
        if all(vector == vectors[code] for vector in vectors):
            assert r == np.inf
            continue
        square = exact_square_of_radius(z, vectors, code)
        assert Fraction(r) ** 2 <= square
        reach = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(z, vectors[code], strict=True))
        if square > 2**-800 and reach < 2**800 and square > reach * Fraction(1, 10**20):
            assert Fraction(r) ** 2 >= square * Fraction(999, 1000), case.name


@pytest.mark.rows(
    ("codes", "dim"),
    [(2, 1), (5, 3), (64, 2), (65, 20), (300, 8), (1000, 24), (1500, 4), (3000, 33)],
)
def test_kernel_against_numpy_and_longer_floats(isa, codes, dim, rng):
    latents = rng.standard_normal((150, dim)).astype(np.float32)
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    own = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, own)
    assert_tight(radius, latents, codebook, own)
    np.testing.assert_allclose(radius, numpy_radii(latents, codebook, own), rtol=1e-9, atol=1e-12)


@pytest.mark.rows("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_kernel_on_every_type(isa, dtype, rng):
    latents = torch.from_numpy(rng.standard_normal((200, 5))).to(getattr(torch, dtype))
    codebook = torch.from_numpy(rng.standard_normal((90, 5))).to(getattr(torch, dtype))
    own = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, own)
    assert_tight(radius.numpy(), latents.double(), codebook.double(), own)


@pytest.mark.rows("outlier", [30.0, 1e4, 1e8])
@pytest.mark.rows("which", ["code", "latent"])
def test_coarse_units(isa, outlier, which, rng):
    """One far code, or one far latent in each tile, leaves the filter few bits for the others."""
    latents, codebook = rng.standard_normal((120, 4)), rng.standard_normal((1400, 4))
    if which == "code":
        codebook[17] = outlier
    else:
        latents[::12] = outlier
    own = certvq.assign(latents, codebook).codes
    assert_tight(certvq.stability_radius(latents, codebook, own), latents, codebook, own)


def test_duplicates_ties_and_wrong_codes(isa, rng):
    codebook = rng.integers(-3, 4, (400, 3)) / 2.0
    latents = rng.integers(-12, 13, (200, 3)) / 8.0
    own = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, own)
    assert_tight(radius, latents, codebook, own)
    assert (radius == 0).any()
    assert (radius > 0).any()
    wrong = (own + rng.integers(1, 400, 200)) % 400
    assert not certvq.stability_radius(latents, codebook, wrong).any()
    twins = np.concatenate([codebook, codebook])
    assert not certvq.stability_radius(latents, twins, own + 400).any()
    assert (certvq.stability_radius(latents, twins, own) == radius).all()


@pytest.mark.rows("codes", [4, 20, 70, 400])
def test_all_codes_at_nearly_the_same_distance(isa, codes, rng):
    """Every code is a candidate: the filter narrows nothing down."""
    codebook = rng.standard_normal((codes, 6))
    codebook /= np.linalg.norm(codebook, axis=1)[:, None]
    latents = rng.standard_normal((30, 6)) * 1e-5
    own = certvq.assign(latents, codebook).codes
    assert_tight(certvq.stability_radius(latents, codebook, own), latents, codebook, own)


def test_a_sphere_of_more_codes_than_are_remembered(isa, rng):
    codebook = rng.standard_normal((5000, 6))
    codebook /= np.linalg.norm(codebook, axis=1)[:, None]
    latents = rng.standard_normal((20, 6)) * 1e-5
    own = certvq.assign(latents, codebook).codes
    assert_tight(certvq.stability_radius(latents, codebook, own), latents, codebook, own)


@pytest.mark.parametrize(("codes", "dim"), [(40_000, 2), (20_000, 5)])
def test_a_codebook_that_is_sorted(isa, codes, dim, rng):
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    codebook[rng.integers(0, codes, 50)] = codebook[0]
    latents = rng.standard_normal((60, dim)).astype(np.float32)
    prepared = certvq.prepare(codebook)
    assert prepared.packed().sorted
    own = certvq.assign(latents, prepared).codes
    assert_tight(certvq.stability_radius(latents, prepared, own), latents, codebook, own)


def test_the_worst_direction(isa, rng):
    """0.999 of the radius towards the nearest border changes nothing, 1.001 changes the code."""
    latents, codebook = rng.standard_normal((300, 7)), rng.standard_normal((700, 7))
    own = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, own)
    true, behind = true_radii(latents, codebook, own)
    step = codebook[behind] - codebook[own]
    step /= np.linalg.norm(step, axis=1)[:, None]
    inside = certvq.assign(latents + 0.999 * radius[:, None] * step, codebook)
    beyond = certvq.assign(latents + 1.001 * true[:, None] * step, codebook)
    assert (inside.codes == own).all()
    assert (beyond.codes != own).all()


def test_the_quantization_term_of_the_threshold_is_needed(isa, rng):
    """Codes on a line: the nearest border can belong to the other neighbour, just within reach."""
    latents, codebook = rng.random((40_000, 1)), rng.random((400, 1))
    prepared = certvq.prepare(codebook)
    own = certvq.assign(latents, prepared).codes
    radius = certvq.stability_radius(latents, prepared, own)
    prepared.packed().widen = 0.0
    careless = certvq.stability_radius(latents, prepared, own)
    assert (careless > radius * (1 + 1e-6)).any()
    line = np.sort(codebook[:, 0])
    middles = np.concatenate([[-np.inf], (line[1:] + line[:-1]) / 2, [np.inf]])
    place = np.searchsorted(line, codebook[own, 0])
    true = np.minimum(latents[:, 0] - middles[place], middles[place + 1] - latents[:, 0])
    np.testing.assert_allclose(radius, true, rtol=1e-9, atol=1e-12)


@pytest.mark.rows("scale", [2.0**-390, 2.0**-500, 2.0**390, 2.0**500])
def test_extreme_scales(isa, scale, rng):
    latents, codebook = rng.standard_normal((40, 3)) * scale, rng.standard_normal((20, 3)) * scale
    own = certvq.assign(latents, codebook).codes
    radius = certvq.stability_radius(latents, codebook, own) / scale
    assert_tight(radius, latents / scale, codebook / scale, own)


def test_one_code_and_no_rows(isa):
    radius = certvq.stability_radius(np.ones((3, 2)), np.ones((1, 2)), [0, 0, 0])
    assert radius.tolist() == [np.inf] * 3
    assert certvq.stability_radius(np.ones((0, 2)), np.eye(2), np.zeros(0, int)).shape == (0,)


@pytest.mark.rows("codes", [1, 50])
@pytest.mark.rows("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(isa, bad, codes, rng):
    latents = rng.standard_normal((300, 4))
    latents[237, 2] = bad
    with pytest.raises(NonFiniteError, match="row 237, column 2"):
        certvq.stability_radius(latents, rng.standard_normal((codes, 4)), np.zeros(300, int))


def test_all_instruction_sets_and_threads_give_close_radii(rng, monkeypatch):
    latents, codebook = rng.standard_normal((2000, 20)), rng.standard_normal((300, 20))
    own = certvq.assign(latents, codebook).codes
    radii = []
    for name in ISAS:
        for threads in "13":
            monkeypatch.setenv("CERTVQ_ISA", name)
            monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
            radii.append(certvq.stability_radius(latents, codebook, own))
    assert all((radius == radii[0]).all() for radius in radii)


def test_refusals_of_the_binding():
    kernel = _native._kernel
    packed, codes = kernel.pack(np.eye(2), ""), np.zeros(2, np.int64)
    with pytest.raises(TypeError):
        kernel.stability(packed, np.eye(2), codes.astype(np.int32), 1)
    with pytest.raises(ValueError, match="each of the 2 latents .* got 3"):
        kernel.stability(packed, np.eye(2), np.zeros(3, np.int64), 1)
    for bad in (-1, 2):
        with pytest.raises(ValueError, match=rf"range\(2\), got {bad}"):
            kernel.stability(packed, np.eye(2), codes + bad, 1)
    with pytest.raises(ValueError, match="dim 2 .* got dim 3"):
        kernel.stability(packed, np.zeros((2, 3)), codes, 1)
    with pytest.raises(ValueError, match="refused"):
        kernel.stability(kernel.pack(np.full((1, 1), np.nan), ""), np.zeros((1, 1)), codes[:1], 1)


@pytest.mark.slow
def test_signal_stops_a_long_call():
    """In a process of its own: about a minute of work, interrupted after half a second."""
    code = (
        "import numpy as np, certvq\n"
        "rng = np.random.default_rng(0)\n"
        "z, c = rng.standard_normal((200_000, 256)), rng.standard_normal((40_000, 256))\n"
        "prepared, codes = certvq.prepare(c), np.zeros(200_000, dtype=np.int64)\n"
        "print('ready', flush=True)\n"
        "certvq.stability_radius(z, prepared, codes)\n"
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
