"""The first pass along few axes never changes a code, whatever the axes say of the numbers."""

import numpy as np
import pytest

import certvq
from certvq import DecidedBy, _native, testing
from certvq.errors import NonFiniteError

NEVER, MEASURED, AXES = 0, 1, 3


def assign(latents, codebook, use, *, widen=1.0, threads=1):
    packed = _native.pack(codebook, codebook.dtype.name)
    packed.first_pass = use
    packed.widen = widen
    found = _native.assign(packed, latents, latents.dtype.name, threads)
    assert found is not None
    return found


def few_axes(rng, rows, codes, dim, axes=4, noise=0.05):
    """Draw latents and a codebook near a subspace."""
    basis = rng.standard_normal((axes, dim))
    return tuple(
        (rng.standard_normal((n, axes)) @ basis + noise * rng.standard_normal((n, dim)))
        for n in (rows, codes)
    )


@pytest.fixture(params=_native.isas())
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


def same_as_numpy(latents, codebook, *, used=True):
    """Compare codes, and see that there is a pass: a packed codebook holds its codes along axes."""
    packed = _native.pack(codebook, codebook.dtype.name)
    before = packed.nbytes
    packed.first_pass = AXES
    found = _native.assign(packed, latents, latents.dtype.name, 1)
    assert found is not None
    assert (packed.nbytes > before) == used
    expected = certvq.assign(latents, codebook, backend="numpy")
    assert np.array_equal(found[0], expected.codes)
    return found


@pytest.mark.usefixtures("isa")
def test_contract_suite(monkeypatch):
    pack = _native.pack

    def packed(*arguments):
        result = pack(*arguments)
        result.first_pass = AXES
        return result

    monkeypatch.setattr(_native, "pack", packed)
    assert testing.check_backend("native") == []


@pytest.mark.usefixtures("isa")
@pytest.mark.rows("dim", [16, 17, 33, 64, 100, 1024])
@pytest.mark.rows("codes", [256, 300, 1100])
def test_every_shape(codes, dim, rng):
    latents, codebook = few_axes(rng, 101, codes, dim)
    same_as_numpy(latents.astype(np.float32), codebook.astype(np.float32))


@pytest.mark.usefixtures("isa")
@pytest.mark.rows(("codes", "dim"), [(255, 32), (300, 15), (300, 1025), (5000, 4)])
def test_codebooks_without_axes(codes, dim, rng):
    latents, codebook = few_axes(rng, 30, codes, dim)
    same_as_numpy(latents, codebook, used=False)


@pytest.mark.usefixtures("isa")
def test_numbers_that_fill_their_dims_have_no_axes(rng):
    same_as_numpy(rng.standard_normal((30, 32)), rng.standard_normal((300, 32)), used=False)


@pytest.mark.usefixtures("isa")
@pytest.mark.rows("axes", [1, 2, 7])
def test_fewer_axes_than_there_is_room_for(axes, rng):
    latents, codebook = few_axes(rng, 200, 400, 32, axes, 0.0)
    same_as_numpy(latents, codebook)
    same_as_numpy(latents + rng.standard_normal(latents.shape), codebook)


@pytest.mark.usefixtures("isa")
def test_latents_far_from_the_axes(rng):
    """Then all codes are about as far away, and others decide."""
    latents, codebook = few_axes(rng, 150, 2000, 24)
    same_as_numpy(100.0 * rng.standard_normal(latents.shape), codebook)


@pytest.mark.usefixtures("isa")
def test_rows_and_codes_of_unlike_sizes(rng):
    latents, codebook = few_axes(rng, 300, 300, 20)
    sizes = 10.0 ** rng.integers(-12, 4, (300, 1))
    same_as_numpy(latents * sizes, codebook)
    same_as_numpy(latents[:9] * 1e100, codebook * 1e-100)  # codes that float64 cannot tell apart
    same_as_numpy(latents * 1e-200, codebook * 1e-100)
    same_as_numpy(latents + 1000.0, codebook + 1000.0)
    same_as_numpy(np.zeros((13, 20)), codebook)


@pytest.mark.usefixtures("isa")
def test_points_out_of_range_are_left_to_the_filter(rng):
    """Latents within 2^400 of the centre of the codes; their points are farther from theirs."""
    _, codebook = few_axes(rng, 1, 256, 16, 1, 0.3)
    codebook *= 2.0**398 / np.linalg.norm(codebook, axis=1).max()
    axis = np.linalg.svd(codebook)[2][0]
    parts = np.array([0.5, 0.9, 1.0 - 2.0**-7, 1.0 - 2.0**-10, 1.0 - 2.0**-13])
    for sign in (1.0, -1.0):
        latents = codebook[::2].mean(0) + sign * np.outer(parts * 2.0**400, axis)
        same_as_numpy(latents, codebook)


@pytest.mark.usefixtures("isa")
def test_ties_and_duplicates(rng):
    _, codebook = few_axes(rng, 1, 300, 16, 2, 0.0)
    codebook = np.concatenate([codebook, codebook[::-1], -codebook])
    latents = np.concatenate([codebook[:50], np.zeros((5, 16)), 0.5 * codebook[:40]])
    found = same_as_numpy(latents, codebook)
    assert (found[0][50:55] == found[0][50]).all()
    assert DecidedBy.EXACT in found[1]


@pytest.mark.usefixtures("isa")
def test_number_that_is_not_finite_is_named(rng):
    latents, codebook = few_axes(rng, 2000, 300, 16)
    latents[1237, 2] = np.nan
    with pytest.raises(NonFiniteError, match="row 1237, column 2"):
        certvq.assign(latents, codebook, backend="native")


def test_the_reach_is_needed(isa):
    """Latents near to the middle of two codes: without it some are wrong, with it none."""
    rng = np.random.default_rng(5)

    def wrong(widen):
        count = 0
        for _ in range(8):
            codebook = np.zeros((400, 17))
            codebook[:, 0] = np.sort(rng.uniform(-1.0, 1.0, 400))
            middle = 0.5 * (codebook[1:, 0] + codebook[:-1, 0])
            latents = np.zeros((3990, 17))
            latents[:, 0] = np.tile(middle, 10) + rng.normal(0.0, 3e-5, 3990)
            expected = assign(latents, codebook, NEVER)[0]
            count += int((assign(latents, codebook, AXES, widen=widen)[0] != expected).sum())
        return count

    assert wrong(1.0) == 0
    assert wrong(0.0) > 0


def test_a_sample_says_whether_it_pays(isa, rng):
    """What decided the rows shows which way was taken; codes and distances are the same."""
    latents, codebook = few_axes(rng, 2000, 1024, 64)
    never, measured, always = (assign(latents, codebook, use) for use in (NEVER, MEASURED, AXES))
    assert (measured[1] == always[1]).all()
    assert (never[1] != always[1]).any()
    for other in (never, always):
        assert (measured[0] == other[0]).all()
        assert measured[2].tobytes() == other[2].tobytes()


def test_threads_do_not_matter(isa, rng):
    latents, codebook = few_axes(rng, 5000, 700, 32)
    one = assign(latents, codebook, MEASURED)
    for threads in (2, 5):
        found = assign(latents, codebook, MEASURED, threads=threads)
        for own, expected in zip(found, one, strict=True):
            assert own.tobytes() == expected.tobytes()


def test_bytes_of_a_packed_codebook_include_those_of_the_axes(isa, rng):
    latents, codebook = few_axes(rng, 1, 300, 17)
    packed = _native.pack(codebook, "float64")
    before = packed.nbytes
    packed.first_pass = AXES
    _native.assign(packed, latents, "float64", 1)
    own = _native.pack(np.ones((300, 8)) * np.arange(300)[:, None], "float64").nbytes
    assert packed.nbytes - before == 8 * 24 * 8 + own
