"""The second code: the lowest nearest one besides the chosen code, on every backend."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import certvq
from certvq import _native, testing
from certvq.assign._reference import reference_second
from certvq.errors import BackendUnavailableError, OptionError

ISAS = _native.isas()


@pytest.fixture(params=["numpy", "torch", *ISAS])
def backend(request, monkeypatch):
    """NumPy, torch, or the kernel on one instruction set."""
    if request.param not in ISAS:
        return request.param
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return "native"


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


def seconds(latents, codebook, backend="auto"):
    found = certvq.assign(latents, codebook, backend=backend, second=True)
    plain = certvq.assign(latents, codebook, backend=backend)
    assert plain.second is None
    assert np.asarray(found.codes).tolist() == np.asarray(plain.codes).tolist()
    return np.asarray(found.second)


def expected(latents, codebook):
    """From the specification: codes without the option, and each of them left out."""
    wide = np.asarray(latents, np.float64), np.asarray(codebook, np.float64)
    codes = np.asarray(certvq.assign(*wide, backend="reference").codes)
    return reference_second(*wide, codes)


def as_numpy(latents, codebook):
    """Assert that the kernel and the NumPy backend, which share no filter, agree."""
    found = seconds(latents, codebook, "native")
    assert found.tolist() == seconds(latents, codebook, "numpy").tolist()
    return found


CASES = [
    testing.ContractCase(case.name, case.latents, case.codebook[:300])
    if len(case.codebook) > 1000
    else case
    for case in testing.contract_cases()
]


@functools.cache
def expected_of(place):
    case = CASES[place]
    return expected(case.latents, case.codebook).tolist() if len(case.latents) else []


@pytest.mark.rows("place", range(len(CASES)))
def test_contract_cases(backend, place, monkeypatch):
    """On several threads, too, where it is the kernel that splits the batch."""
    case = CASES[place]
    for threads in ("1", "3") if backend == "native" else ("1",):
        monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
        found = seconds(case.latents, case.codebook, backend)
        assert found.tolist() == expected_of(place), (case.name, threads)


def test_reference_by_hand():
    codebook = np.array([[5.0], [0.0], [3.0], [0.0], [-3.0], [5.0]])
    latents = np.array([[0.0], [0.1], [1.5], [9.0], [4.0]])
    for backend in ("reference", "numpy", "torch", "native"):
        assert seconds(latents, codebook, backend).tolist() == [3, 3, 2, 5, 2]


@pytest.mark.rows(
    ("codebook", "second"),
    [
        ([[2.0], [-2.0], [2.0]], 1),  # an exact tie below the equal
        ([[2.0], [2.0], [-2.0]], 1),  # and above it
        ([[2.0], [-2.0000000000000004], [2.0]], 2),  # as near as can be, but not a tie
        ([[-2.0], [3.0], [2.0], [2.0]], 2),
        ([[7.0], [7.0], [7.0]], 1),
        ([[7.0]], -1),
    ],
)
def test_equals_of_the_chosen_vector(codebook, second):
    for backend in ("reference", "numpy", "torch", "native"):
        assert seconds(np.zeros((3, 1)), np.array(codebook), backend).tolist() == [second] * 3


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_finite_floats(data):
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.float16]))
    dim = data.draw(st.integers(1, 3))
    width = np.dtype(dtype).itemsize * 8
    floats = st.floats(allow_nan=False, allow_infinity=False, width=width) | st.sampled_from(
        [0.0, -0.0, 1.0, 0.5, -1.0, 3.0]
    )
    latents = data.draw(arrays(dtype, (data.draw(st.integers(1, 4)), dim), elements=floats))
    codebook = data.draw(arrays(dtype, (data.draw(st.integers(1, 6)), dim), elements=floats))
    for backend in ("numpy", "torch", "native"):
        assert seconds(latents, codebook, backend).tolist() == expected(latents, codebook).tolist()


@pytest.mark.rows("dim", [1, 2, 3, 5, 8, 17, 64])
@pytest.mark.rows("codes", [2, 5, 63, 65, 300, 1500])
def test_every_shape_of_tile_and_panel(isa, codes, dim, rng):
    latents = rng.standard_normal((101, dim)).astype(np.float32)
    as_numpy(latents, rng.standard_normal((codes, dim)).astype(np.float32))


@pytest.mark.rows("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_torch_in_torch_out(isa, dtype, rng):
    latents, codebook = (
        torch.from_numpy(rng.standard_normal((rows, 5))).to(getattr(torch, dtype))
        for rows in (150, 40)
    )
    found = certvq.assign(latents, codebook, second=True).second
    assert found.dtype == torch.int64
    assert found.tolist() == expected(latents.double().numpy(), codebook.double().numpy()).tolist()


@pytest.mark.rows("offset", [0.0, 1e3, 1e8])
def test_offsets_lattices_and_equals(isa, offset, rng):
    latents = (rng.standard_normal((200, 3)) + offset).astype(np.float32)
    codebook = (rng.standard_normal((300, 3)) + offset).astype(np.float32)
    as_numpy(latents, codebook)
    as_numpy(np.round(4 * latents) / 4, np.round(2 * codebook) / 2)


@pytest.mark.rows("outlier", [30.0, 1e4, 1e8])
@pytest.mark.rows("which", ["code", "latent"])
def test_coarse_units(isa, outlier, which, rng):
    latents, codebook = rng.standard_normal((120, 4)), rng.standard_normal((1400, 4))
    if which == "code":
        codebook[17] = outlier
    else:
        latents[::12] = outlier
    as_numpy(latents, codebook)


@pytest.mark.slow
@pytest.mark.rows("codes", [3, 64, 65, 400, 3000])
@pytest.mark.rows("own", ["first", "any"])
def test_all_other_codes_tie(isa, codes, own, rng):
    """Mass ties go to the dense path, which must leave out the chosen code; it may be any."""
    vector = rng.standard_normal(9)
    codebook = np.array([rng.permutation(vector) for _ in range(codes)])
    latents = np.repeat(rng.standard_normal((30, 1)) / 8, 9, axis=1)
    assert as_numpy(latents, codebook).tolist() == [1] * 30  # 9! permutations hardly repeat
    if own == "any":
        nearer = np.abs(codebook).argmax(1)
        place = int(rng.integers(0, codes))
        codebook[place, nearer[place]] *= 0.75
        found = as_numpy(latents[:, :] * 1e-3, codebook)
        assert set(found.tolist()) <= {0, 1}


@pytest.mark.parametrize(("codes", "dim"), [(5000, 1), (9000, 4)])
def test_a_codebook_that_is_sorted(isa, codes, dim, rng):
    side = {1: 50_000, 4: 12}[dim]
    codebook = rng.integers(-side, side, (codes, dim)).astype(np.float32)
    latents = rng.integers(-2 * side, 2 * side, (400, dim)).astype(np.float32) / 2
    assert certvq.prepare(codebook).packed().sorted
    as_numpy(latents, codebook)


@pytest.mark.parametrize(("codes", "dim"), [(5000, 1), (5000, 2), (9000, 4)])
def test_one_pass_over_a_sorted_codebook(isa, codes, dim, rng):
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    latents = (1.5 * rng.standard_normal((1200, dim))).astype(np.float32)
    packed = certvq.prepare(codebook).packed()
    assert packed.sorted
    ranked, _, decided_by = _native.rank(packed, latents, "float32", 2, 1)
    assert np.count_nonzero(decided_by) > 0.9 * len(latents)
    found = as_numpy(latents, codebook)
    assert ranked[decided_by > 0, 1].tolist() == found[decided_by > 0].tolist()


def test_a_sphere_of_more_codes_than_are_remembered(isa, rng):
    codebook = rng.standard_normal((5000, 6))
    codebook /= np.linalg.norm(codebook, axis=1)[:, None]
    as_numpy(rng.standard_normal((20, 6)) * 1e-5, codebook)


@pytest.mark.rows("scale", [2.0**-500, 2.0**390, 2.0**500])
def test_extreme_scales(isa, scale, rng):
    latents, codebook = rng.standard_normal((40, 3)) * scale, rng.standard_normal((20, 3)) * scale
    as_numpy(latents, codebook)


def test_the_second_is_the_code_of_the_codebook_without_the_first(rng):
    latents, codebook = rng.standard_normal((20, 4)), rng.standard_normal((50, 4))
    found = certvq.assign(latents, codebook, second=True)
    for row, (code, second) in enumerate(zip(found.codes, found.second, strict=True)):
        rest = np.delete(np.arange(50), code)
        assert rest[certvq.assign(latents[row : row + 1], codebook[rest]).codes[0]] == second


def test_it_follows_the_code_in_the_ranking(rng):
    latents = rng.integers(-8, 9, (300, 3)) / 4
    codebook = rng.integers(-2, 3, (60, 3)) / 2
    ranked = certvq.rank(latents, codebook, 2).codes
    assert ranked[:, 1].tolist() == seconds(latents, codebook).tolist()


def test_lean_does_not_offer_it():
    with pytest.raises(OptionError, match="second=True must go with another backend than 'lean'"):
        certvq.assign(np.eye(2), np.eye(2), backend="lean", second=True)


def test_registered_backends_and_a_missing_kernel(monkeypatch, rng):
    latents, codebook = rng.standard_normal((40, 3)), rng.standard_normal((20, 3))
    right = seconds(latents, codebook)
    certvq.register_backend("zeros", lambda z, c: np.zeros(len(z), int))
    try:
        assert seconds(latents, codebook, "zeros").tolist() == right.tolist()
    finally:
        certvq.unregister_backend("zeros")
    monkeypatch.setattr(_native, "AVAILABLE", False)
    assert seconds(latents, codebook, "numpy").tolist() == right.tolist()
    with pytest.raises(BackendUnavailableError, match="needs the compiled kernel"):
        certvq.assign(latents, codebook, backend="native", second=True)


def test_refusals_of_the_binding():
    kernel = _native._kernel
    packed, codes = kernel.pack(np.array([[1.0], [2.0], [1.0]]), ""), np.zeros(2, np.int64)
    latents = np.zeros((2, 1))
    assert kernel.second(packed, latents, False, codes, 1).tolist() == [1, 1]
    with pytest.raises(ValueError, match="lowest of equal code vectors, got 2 at row 0"):
        kernel.second(packed, latents, False, codes + 2, 1)
    with pytest.raises(ValueError, match=r"range\(3\), got 3"):
        kernel.second(packed, latents, False, codes + 3, 1)
    with pytest.raises(ValueError, match="each of the 2 latents expected, got 1"):
        kernel.second(packed, latents, False, codes[:1], 1)
    with pytest.raises(ValueError, match="dim 1 .* got dim 2"):
        kernel.second(packed, np.zeros((2, 2)), False, codes, 1)
    with pytest.raises(TypeError):
        kernel.second(packed, np.zeros((2, 1), np.int64), False, codes, 1)
    assert kernel.second(packed, np.full((2, 1), np.nan), False, codes, 1) is None
