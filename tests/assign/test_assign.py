"""`certvq.assign`: the answer, its library and device, and what is refused before anything else.

Also of `certvq.assign._assignment`, `certvq.assign._filter`, `certvq.assign._filter_numpy` and
`certvq.assign._validate`.
"""

import math
import subprocess
import sys
from fractions import Fraction

import array_api_strict as xp
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import certvq
from certvq import DecidedBy
from certvq.assign._reference import reference_codes
from certvq.errors import (
    BackendUnavailableError,
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    ShapeError,
)

BACKENDS = ("numpy", "torch", "reference")


def floats(dtype):
    width = np.dtype(dtype).itemsize * 8
    return st.floats(allow_nan=False, allow_infinity=False, width=width) | st.sampled_from(
        [0.0, -0.0, 1.0, 0.5, -1.0, 3.0]
    )


@st.composite
def problems(draw):
    dim, dtype = (
        draw(st.integers(1, 4)),
        draw(st.sampled_from([np.float64, np.float32, np.float16])),
    )
    rows, codes = draw(st.integers(0, 4)), draw(st.integers(1, 6))
    latents = draw(arrays(dtype, (rows, dim), elements=floats(dtype)))
    return latents, draw(arrays(dtype, (codes, dim), elements=floats(dtype)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems())
def test_any_finite_floats_are_assigned_as_specified(problem):
    latents, codebook = problem
    expected = reference_codes(latents, codebook) if len(latents) else np.empty(0, np.int64)
    for backend in ("numpy", "torch"):
        assignment = certvq.assign(latents, codebook, backend=backend)
        assert assignment.codes.tolist() == expected.tolist()
        certvq.check.verify(assignment, latents, codebook)


@pytest.mark.parametrize("backend", BACKENDS)
def test_result_types(rng, backend):
    assignment = certvq.assign(rng.random((7, 3)), rng.random((4, 3)), backend=backend)
    assert assignment.codes.dtype == np.int64
    assert assignment.decided_by.dtype == np.uint8
    assert assignment.sqdist.dtype == np.float64
    assert assignment.codes.shape == assignment.decided_by.shape == assignment.sqdist.shape == (7,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_torch_in_torch_out(dtype, backend):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(50, 4, generator=generator).to(dtype).requires_grad_()
    codebook = torch.randn(9, 4, generator=generator).to(dtype)
    assignment = certvq.assign(latents, codebook, backend=backend)
    expected = reference_codes(latents.detach().double().numpy(), codebook.double().numpy())
    assert assignment.codes.dtype == torch.int64
    assert assignment.codes.device == latents.device
    assert assignment.codes.tolist() == expected.tolist()
    assert not assignment.sqdist.requires_grad


def test_unlike_dtypes_are_exact():
    """Latents of bfloat16 against a codebook of float32, as under autocast."""
    latents = torch.randn(400, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    codebook = torch.randn(30, 6, generator=torch.Generator().manual_seed(2))
    expected = reference_codes(latents.float().numpy(), codebook.numpy())
    assert certvq.assign(latents, codebook).codes.tolist() == expected.tolist()


def test_bfloat16_of_numpy(rng):
    latents = rng.standard_normal((60, 5)).astype(ml_dtypes.bfloat16)
    codebook = rng.standard_normal((11, 5)).astype(ml_dtypes.bfloat16)
    expected = reference_codes(latents.astype(np.float64), codebook.astype(np.float64))
    assert certvq.assign(latents, codebook).codes.tolist() == expected.tolist()


def test_array_api_library_in_and_out(rng):
    latents, codebook = rng.random((9, 3)), rng.random((5, 3))
    assignment = certvq.assign(xp.asarray(latents), xp.asarray(codebook))
    assert isinstance(assignment.codes, type(xp.asarray(latents)))
    assert np.asarray(assignment.codes).tolist() == reference_codes(latents, codebook).tolist()


def test_lists_are_read():
    assert certvq.assign([[0.9, 0.2]], [[0.0, 0.0], [1.0, 1.0]]).codes.tolist() == [1]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_codes_do_not_depend_on_the_batch(rng, backend):
    latents = (rng.standard_normal((3000, 8)) + 1000).astype(np.float32)
    codebook = (rng.standard_normal((64, 8)) + 1000).astype(np.float32)
    whole = certvq.assign(latents, codebook, backend=backend).codes
    for size in (1, 7, 1000):
        split = range(0, 3000 if size > 1 else 50, size)
        parts = [certvq.assign(latents[i : i + size], codebook, backend=backend) for i in split]
        joined = np.concatenate([part.codes for part in parts])
        assert (joined == whole[: len(joined)]).all()
    shuffled = rng.permutation(3000)
    again = certvq.assign(latents[shuffled], codebook, backend=backend).codes
    assert (again == whole[shuffled]).all()


def vector_of_square(square):
    """Four whole numbers whose squares add up to at most so much, and to hardly less."""
    numbers = []
    for _ in range(4):
        numbers.append(math.isqrt(square))
        square -= numbers[-1] ** 2
    return numbers


@pytest.mark.parametrize("backend", ["numpy", "torch", "native"])
def test_integers_that_leave_64_bits_are_not_wrapped(backend):
    """The squared distances are just above and just below 2^63, and equal as floats."""
    codebook = [vector_of_square(2**63 + 200), vector_of_square(2**63 - 100)]
    squares = [sum(number**2 for number in vector) for vector in codebook]
    assert squares[1] < 2**63 <= squares[0]
    assert float(squares[0]) == float(squares[1])
    signs = np.array([[1.0], [-1.0]])  # so that the filter cannot tell them apart either
    found = certvq.assign(np.zeros((1, 4)), signs * codebook, backend=backend)
    assert found.codes.tolist() == [1]
    assert found.decided_by.tolist() == [DecidedBy.EXACT]


def test_how_rows_were_decided():
    codebook = np.array([[0.0], [1.0], [1.0 + 2.0**-52]])
    latents = np.array([[0.1], [0.5], [1.0 + 2.0**-51]])
    assignment = certvq.assign(latents, codebook)
    assert assignment.decided_by[:2].tolist() == [DecidedBy.FILTER, DecidedBy.EXACT]
    assert assignment.decided_by[2] != DecidedBy.FILTER
    assert sum(assignment.counts().values()) == 3
    assert assignment.counts()["filter"] == 1


def test_refinement_decides_what_cancellation_left_open(rng):
    """An outlying code vector makes the radius wide; squared differences settle the rest."""
    codebook = np.vstack([rng.standard_normal((50, 4)), np.full((1, 4), 1e14)])
    latents = rng.standard_normal((200, 4))
    counts = certvq.assign(latents, codebook).counts()
    assert counts["refined"] > 150
    assert counts["exact"] == 0


def test_duplicates_are_decided_by_the_filter(rng):
    codebook = np.repeat(rng.standard_normal((5, 3)), 40, axis=0)
    assignment = certvq.assign(rng.standard_normal((100, 3)), codebook)
    assert (assignment.codes % 40 == 0).all()
    assert assignment.counts()["exact"] == 0


def test_exact_sqdist_is_correctly_rounded(rng):
    latents = rng.standard_normal((50, 7)).astype(np.float32)
    codebook = rng.standard_normal((6, 7)).astype(np.float32)
    assignment = certvq.assign(latents, codebook, exact_sqdist=True)
    for z, code, sqdist in zip(latents, assignment.codes, assignment.sqdist, strict=True):
        pairs = zip(z.tolist(), codebook[code].tolist(), strict=True)
        assert sqdist == float(sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs))


def test_sqdist_outside_the_range_of_float64():
    far = certvq.assign(np.array([[1.5e308]]), np.array([[-1.5e308]]))
    near = certvq.assign(np.array([[3e-170]]), np.array([[0.0]]))
    assert far.sqdist.tolist() == [np.inf]
    assert near.sqdist.tolist() == [float(Fraction(3e-170) ** 2)]


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.rows("library", ["numpy", "torch"])
@pytest.mark.rows(
    ("latents", "codebook", "error", "match"),
    [
        ((4,), (2, 3), ShapeError, r"latents must have two axes.*\(4,\)"),
        ((4, 3), (2, 3, 1), ShapeError, r"codebook must have two axes.*\(2, 3, 1\)"),
        ((4, 3), (2, 5), ShapeError, r"same dim, got latents \(4, 3\) and a codebook of dim 5"),
        ((4, 3), (0, 3), ShapeError, r"codebook must have at least one row, got shape \(0, 3\)"),
        ((4, 0), (2, 0), ShapeError, r"at least one column, got shape \(2, 0\)"),
    ],
)
def test_shapes_are_checked(backend, library, latents, codebook, error, match):
    make = np.zeros if library == "numpy" else torch.zeros
    with pytest.raises(error, match=match):
        certvq.assign(make(latents), make(codebook), backend=backend)


@pytest.mark.parametrize("library", [np, torch])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_named(library, bad):
    latents, codebook = library.zeros((5, 3)), library.zeros((4, 3))
    latents[3, 2] = bad
    latents[4, 0] = bad
    with pytest.raises(NonFiniteError, match=rf"latents.*{bad} at row 3, column 2 \(2 bad"):
        certvq.assign(latents, codebook)
    codebook[1, 1] = bad
    with pytest.raises(NonFiniteError, match=rf"codebook.*{bad} at row 1, column 1 \(1 bad"):
        certvq.assign(library.zeros((5, 3)), codebook)


@pytest.mark.parametrize("dtype", ["int64", "complex128", "bool", "longdouble"])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(DTypeError, match=f"latents must be one of float64.*got {np.dtype(dtype)}"):
        certvq.assign(np.zeros((2, 2), dtype=dtype), np.zeros((2, 2)))


def test_unknown_backend_lists_the_known():
    with pytest.raises(BackendUnavailableError, match="numpy, torch.*got 'nonsense'"):
        certvq.assign(np.zeros((1, 1)), np.zeros((1, 1)), backend="nonsense")


def test_another_rounding_mode_is_refused():
    """Run in a process of its own: the rounding mode is the processor's."""
    code = (
        "import ctypes, numpy as np, certvq\n"
        "assert ctypes.CDLL('libm.so.6').fesetround(0x800) == 0\n"  # FE_UPWARD on x86-64
        "try:\n"
        "    certvq.assign(np.zeros((1, 1)), np.zeros((1, 1)))\n"
        "except certvq.errors.FloatEnvironmentError as error:\n"
        "    print(error)\n"
    )
    if sys.platform != "linux" or not np.__config__:
        pytest.fail("the rounding mode of this platform is not covered; extend this test")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rounding mode must be to nearest" in done.stdout


def test_flushed_subnormals_are_refused():
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(FloatEnvironmentError, match="set_flush_denormal"):
            certvq.assign(np.zeros((1, 1)), np.zeros((1, 1)))
    finally:
        torch.set_flush_denormal(False)


def test_memory_stays_below_a_score_matrix(rng):
    """65536 x 4096 scores would be 2 GiB; the peak beside the inputs is a few blocks."""
    import tracemalloc

    latents = rng.standard_normal((1 << 14, 4)).astype(np.float32)
    codebook = rng.standard_normal((4096, 4)).astype(np.float32)
    tracemalloc.start()
    certvq.assign(latents, codebook)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20 < latents.shape[0] * codebook.shape[0] * 4


FLUSHED_POOL = """
import numpy as np, torch, certvq
torch.set_num_threads(2)
torch.set_flush_denormal(True)
torch.ones(1 << 20).exp()  # torch's threads start, and keep the setting
torch.set_flush_denormal(False)
rng = np.random.default_rng(0)
z = (rng.standard_normal((200_000, 8)) * 1e-40).astype(np.float32)
c = (rng.standard_normal((16, 8)) * 1e-40).astype(np.float32)
right = certvq.assign(z, c)
found = certvq.assign(torch.from_numpy(z), torch.from_numpy(c), backend="torch")
assert (found.codes.numpy() == right.codes).all()
certvq.check.verify(certvq.assign(z[:60000], c), torch.from_numpy(z[:60000]), torch.from_numpy(c))
print("same")
"""


def test_threads_of_torch_that_flush_subnormals_change_no_code():
    done = subprocess.run(
        [sys.executable, "-c", FLUSHED_POOL], capture_output=True, text=True, check=False
    )
    assert done.stdout == "same\n", done.stderr


def test_products_whose_threads_flush_subnormals_are_left_open():
    """Differences of scores that a flushing BLAS would lose are within the radius."""
    dim = 65
    first, second = np.zeros(dim), np.zeros(dim)
    first[1:], second[1] = 0.9 * 2.0**-517, 2.0**-516
    codebook = np.vstack([first, second])
    codebook = np.vstack([codebook, -codebook])
    codebook[:, 0] = 1
    latents = np.full((30, dim), 2.0**-505)
    latents[:, 0] = 1
    assignment = certvq.assign(latents, codebook)
    assert assignment.codes.tolist() == [0] * 30
    assert assignment.counts()["filter"] == 0


@pytest.mark.parametrize("scale", [(1.0, 1e-200), (1e300, 1.0), (1e-310, 1e-310), (1e300, 1e-320)])
def test_callers_error_state_does_not_matter(rng, scale):
    latents = rng.standard_normal((20, 3)) * scale[0]
    codebook = rng.standard_normal((7, 3)) * scale[1]
    expected = reference_codes(latents, codebook)
    with np.errstate(all="raise"):
        assignment = certvq.assign(latents, codebook)
        certvq.stability_radius(latents, codebook, assignment.codes)
    assert (assignment.codes == expected).all()


def test_masked_arrays_and_ragged_lists_are_refused():
    masked = np.ma.array([[np.nan, 1.0]], mask=[[True, False]])
    with pytest.raises(DTypeError, match=r"masked arrays.*filled"):
        certvq.assign(masked, np.eye(2))
    with pytest.raises(ShapeError, match="same length"):
        certvq.assign([[0.0, 1.0], [2.0]], np.eye(2))


def test_tensors_with_a_negative_bit_are_read():
    latents = torch.complex(torch.zeros(3, 2), torch.ones(3, 2)).conj().imag
    assert latents.is_neg()
    brain = torch._neg_view(torch.ones(3, 2, dtype=torch.bfloat16))
    codebook = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    for backend in BACKENDS:
        for negated in (latents, brain):
            assert certvq.assign(negated, codebook, backend=backend).codes.tolist() == [1, 1, 1]
            assert certvq.assign(-codebook, negated, backend=backend).codes.tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is in beta
@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda t: t.to_sparse(), "sparse_coo one.*to_dense"),
        (lambda t: t.to_sparse_csc(), "sparse_csc one.*to_dense"),
        (lambda t: t.to_sparse_bsr((1, 1)), "sparse_bsr one.*to_dense"),
        (lambda t: t.float().to_mkldnn(), "_mkldnn one.*to_dense"),
        (lambda t: torch.nested.nested_tensor([t[0], t[0, :1]]), "nested one.*to_padded"),
        (lambda t: torch.quantize_per_tensor(t.float(), 1.0, 0, torch.quint8), "quantized one"),
        (lambda t: t.to("meta"), "meta; take one elsewhere"),
        (
            lambda t: torch.masked.masked_tensor(t, torch.ones_like(t, dtype=torch.bool)),
            "MaskedTensor; .*get_data",
        ),
    ],
)
def test_tensors_without_dense_numbers_are_refused(spoil, what):
    plain, spoilt = torch.eye(2), spoil(torch.eye(2))
    for pair, name in (((spoilt, plain), "latents"), ((plain, spoilt), "codebook")):
        with pytest.raises(DTypeError, match=f"{name} must be a dense tensor with.*{what}"):
            certvq.assign(*pair)
    for method in (certvq.audit, certvq.certify, certvq.stability_radius):
        with pytest.raises(DTypeError, match=f"codes must be a dense tensor with.*{what}"):
            method(plain, plain, spoil(torch.eye(2).long()))


def test_sparse_arrays_are_refused():
    sparse = scipy.sparse.csr_array(np.eye(2))
    for call in (
        lambda: certvq.assign(sparse, np.eye(2)),
        lambda: certvq.prepare(sparse),
        lambda: certvq.rank(sparse, np.eye(2), 1),
        lambda: certvq.audit(np.eye(2), np.eye(2), sparse),
    ):
        with pytest.raises(DTypeError, match=r"got csr_array; take \.toarray\(\) of a sparse one"):
            call()


def test_numbers_of_another_library_are_read_again_where_that_is_needed():
    """Here for distances of 0, and to compare the second of two codes at one distance."""
    latents = xp.asarray([[1.0, 0.0], [0.5, 0.5]])
    codebook = xp.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = certvq.assign(latents, codebook, second=True, exact_sqdist=True)
    assert [np.asarray(each).tolist() for each in (found.codes, found.sqdist, found.second)] == [
        [0, 0],
        [0.0, 0.5],
        [2, 1],
    ]


def test_latents_are_not_copied_whole(rng):
    import tracemalloc

    latents = rng.standard_normal((1 << 17, 64)).astype(np.float32)
    tracemalloc.start()
    certvq.assign(latents, latents[:16])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < latents.nbytes
