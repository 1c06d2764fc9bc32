"""The first pass, which compares bytes, never changes a code, whether or not it pays."""

import numpy as np
import pytest

import certvq
from certvq import DecidedBy, _native, testing
from certvq.errors import NonFiniteError

ISAS = [name for name in _native.isas() if name.startswith("avx")]
NEVER, MEASURED, ALWAYS = 0, 1, 2


def assign(latents, codebook, use, threads=1):
    packed = _native.pack(codebook, codebook.dtype.name)
    packed.first_pass = use
    found = _native.assign(packed, latents, latents.dtype.name, threads)
    assert found is not None
    return found


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


@pytest.fixture
def always(isa, monkeypatch):
    """Every call with a new codebook has a first pass."""
    pack = _native.pack

    def packed(*arguments):
        result = pack(*arguments)
        result.first_pass = ALWAYS
        return result

    monkeypatch.setattr(_native, "pack", packed)


def same_as_numpy(latents, codebook):
    found = certvq.assign(latents, codebook, backend="native")
    expected = certvq.assign(latents, codebook, backend="numpy")
    assert np.array_equal(found.codes, expected.codes)
    return found


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_contract_suite(threads, monkeypatch):
    monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
    assert testing.check_backend("native") == []


@pytest.mark.usefixtures("always")
@pytest.mark.rows("dim", [1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 33, 64, 65, 100, 130, 300, 1024, 1025])
@pytest.mark.rows("codes", [1, 2, 31, 64, 65, 300, 1100])
def test_every_shape_of_tile_panel_and_chunk(codes, dim, rng):
    latents = rng.standard_normal((101, dim)).astype(np.float32)
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    same_as_numpy(latents, codebook)


@pytest.mark.usefixtures("always")
@pytest.mark.rows("dim", [16, 64, 200])
def test_entries_as_large_as_they_may_be(dim, rng):
    """Of vectors of signs the 16-bit sums are as great as any: the unit of the rows is cut down."""
    codebook = rng.choice([-1.0, 1.0], (500, dim))
    same_as_numpy(np.concatenate([codebook, -codebook, np.ones((1, dim))]), codebook)
    same_as_numpy(np.full((1, dim), 0.75), np.ones((300, dim)) - 1e-3 * np.eye(300, dim))


@pytest.mark.usefixtures("always")
def test_rows_and_codes_of_unlike_sizes(rng):
    latents = rng.standard_normal((400, 8)) * 10.0 ** rng.integers(-12, 13, (400, 1))
    codebook = rng.standard_normal((300, 8))
    same_as_numpy(latents, codebook)
    same_as_numpy(latents, codebook * 10.0 ** rng.integers(-6, 7, (300, 1)))
    same_as_numpy(latents * 1e100, codebook * 1e-100)
    same_as_numpy(np.zeros((13, 8)), codebook)


@pytest.mark.usefixtures("always")
def test_ties_and_duplicates(rng):
    codebook = rng.integers(-2, 3, (900, 6)).astype(np.float32)
    latents = rng.integers(-4, 5, (300, 6)).astype(np.float32) / 2
    assert DecidedBy.EXACT in same_as_numpy(latents, codebook).decided_by
    vector = rng.standard_normal(7)
    circle = np.array([rng.permutation(vector) for _ in range(400)])
    assert (same_as_numpy(np.ones((30, 7)), circle).codes == 0).all()


@pytest.mark.usefixtures("always")
def test_more_candidates_than_it_can_hold(rng):
    """All but one of the codes are the same byte by byte, as one is far away: others decide."""
    codebook = rng.standard_normal((3000, 9))
    codebook[17] = 1e5
    same_as_numpy(rng.standard_normal((150, 9)), codebook)


@pytest.mark.usefixtures("always")
def test_number_that_is_not_finite_is_named(rng):
    latents, codebook = rng.standard_normal((300, 9)), rng.standard_normal((300, 9))
    latents[237, 2] = np.nan
    with pytest.raises(NonFiniteError, match="row 237, column 2"):
        certvq.assign(latents, codebook, backend="native")


def wrong_codes_on_a_line(widen):
    """Latents near to the middle of two codes that lie some sixty of the bytes' units apart."""
    rng = np.random.default_rng(5)
    wrong = 0
    for place in rng.uniform(-0.2, 0.2, 50):
        codebook = np.zeros((3, 17))  # in so many dims each code is a group of its own
        codebook[:, 0] = -1.0, place, 1.0
        latents = np.zeros((400, 17))
        latents[:, 0] = 0.5 * (place + rng.choice([-1.0, 1.0], 400)) + rng.normal(0.0, 0.002, 400)
        expected = assign(latents, codebook, NEVER)[0]
        packed = _native.pack(codebook, "float64")
        packed.first_pass = ALWAYS
        packed.widen = widen
        found = _native.assign(packed, latents, "float64", 1)
        assert found is not None
        wrong += int((found[0] != expected).sum())
    return wrong


def test_the_reach_is_needed(isa):
    """Half of it is too short for some latents; the whole of it never is."""
    assert wrong_codes_on_a_line(1.0) == 0
    assert wrong_codes_on_a_line(0.5) > 0
    assert wrong_codes_on_a_line(0.0) > wrong_codes_on_a_line(0.5)


def test_a_sample_says_whether_it_pays(isa, rng):
    """What decided the rows shows which way was taken; codes and distances are the same."""
    latents = rng.standard_normal((2000, 64)).astype(np.float32)
    codebook = rng.standard_normal((1024, 64)).astype(np.float32)
    never, measured, always = (assign(latents, codebook, use) for use in (NEVER, MEASURED, ALWAYS))
    assert (measured[1] == always[1]).all()
    assert (never[1] != always[1]).any()
    codebook[17] = 1e4
    bad, bad_never = (assign(latents, codebook, use) for use in (MEASURED, NEVER))
    assert (bad[1] == bad_never[1]).all()
    for other in (never, always):
        assert (measured[0] == other[0]).all()
        assert measured[2].tobytes() == other[2].tobytes()


def test_small_calls_have_none(isa, rng):
    latents, codebook = rng.standard_normal((767, 64)), rng.standard_normal((1024, 64))
    assert (assign(latents, codebook, MEASURED)[1] == assign(latents, codebook, NEVER)[1]).all()


def test_threads_do_not_matter(isa, rng):
    latents = rng.standard_normal((5000, 32)) * 10.0 ** rng.integers(-1, 2, (5000, 1))
    codebook = rng.standard_normal((700, 32))
    one = assign(latents, codebook, MEASURED, 1)
    for threads in (2, 5):
        for found, expected in zip(assign(latents, codebook, MEASURED, threads), one, strict=True):
            assert found.tobytes() == expected.tobytes()


def test_bytes_of_a_packed_codebook_include_those_of_the_first_pass(isa, rng):
    codes, dim = 300, 17
    packed = _native.pack(rng.standard_normal((codes, dim)).astype(np.float32), "float32")
    before = packed.nbytes
    packed.first_pass = ALWAYS
    _native.assign(packed, np.zeros((1, dim), np.float32), "float32", 1)
    lanes = 8 if isa in ("avx2", "avx_vnni") else 16
    padded = -(-codes // (4 * lanes)) * 4 * lanes
    assert packed.nbytes - before == padded * (20 + 4)  # whole quads of dims, and an offset
