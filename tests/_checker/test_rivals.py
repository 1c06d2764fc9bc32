"""The compiled filter of the checker: no nearest code is ever excluded, on any instruction set."""

import ast
import signal
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from certvq import _checker, testing
from certvq._checker import Matrix, find_rivals
from certvq.check import _floats, find_violations

LEVELS = _checker.levels()
CASES = list(testing.contract_cases())


def nearest_is_left(found, codes, nearest):
    """Whether each nearest code is the given one, or among its rivals, or its row is given up."""
    pairs = set(zip(found.rows.tolist(), found.rivals.tolist(), strict=True))
    lost = set(found.given_up.tolist())
    rows = enumerate(zip(codes.tolist(), nearest.tolist(), strict=True))
    return all(own == best or row in lost or (row, best) in pairs for row, (own, best) in rows)


def normal(rng, rows, codes, dim, dtype=np.float32):
    points = rng.standard_normal((rows, dim)).astype(dtype)
    return points, rng.standard_normal((codes, dim)).astype(dtype)


def test_the_filter_was_built():
    assert LEVELS[-1] == "portable"
    assert _checker.find_rivals(Matrix(np.ones((1, 1))), Matrix(np.ones((1, 1))), np.array([0]))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.rows("case", CASES)
def test_no_nearest_code_is_excluded(rng, case, level):
    expected, size = case.expected(), len(case.codebook)
    for codes in (expected, np.zeros_like(expected), rng.integers(0, size, len(expected))):
        found = find_rivals(Matrix(case.latents), Matrix(case.codebook), codes, level=level)
        if found is not None:
            assert nearest_is_left(found, codes, expected)
            assert (np.diff(found.rows) >= 0).all()
            assert not set(found.given_up) & set(found.rows)
            assert (found.rivals != codes[found.rows]).all()


@pytest.mark.rows("case", CASES)
def test_violations_are_those_of_the_numpy_path(monkeypatch, rng, case):
    size, expected = len(case.codebook), case.expected()
    given = [expected, rng.integers(0, size, len(expected)), np.full_like(expected, size - 1)]
    quick = [list(find_violations(case.latents, case.codebook, codes)) for codes in given]
    monkeypatch.setattr(_checker, "_rivals", None)
    assert quick == [list(find_violations(case.latents, case.codebook, codes)) for codes in given]
    assert quick[0] == []
    for codes, violations in zip(given, quick, strict=True):
        assert [v.row for v in violations] == np.flatnonzero(codes != expected).tolist()
        assert [v.nearest for v in violations] == expected[codes != expected].tolist()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.rows("threads", [1, 2, 5])
@pytest.mark.rows("shape", [(1500, 64, 3), (1500, 65, 8), (700, 130, 67), (97, 1000, 1)])
def test_every_planted_code_is_found(rng, shape, threads, level):
    points, vectors = normal(rng, *shape)
    right = ((points[:, None].astype(np.float64) - vectors) ** 2).sum(2).argmin(1)
    codes = right.copy()
    planted = rng.random(len(codes)) < 0.3
    codes[planted] = rng.integers(0, len(vectors), planted.sum())
    found = find_rivals(Matrix(points), Matrix(vectors), codes, threads=threads, level=level)
    assert nearest_is_left(found, codes, right)
    assert found.given_up.size == 0
    if shape[2] > 1:  # on a line codes lie too dense for float32
        assert len(found.rows) < (codes != right).sum() + 20
    assert np.allclose(found.sqdist, ((points - vectors[codes]) ** 2).sum(1), rtol=1e-4)


def adversary(dim=64):
    """Return a point and codes 0 (given) and 2, which is nearer though float32 loses it.

    Each of the products after the first is half a unit in the last place of the sum, and is lost.
    """
    point = np.full((1, dim), 2.0**-3)
    point[0, 0] = 1040.0
    rival = np.full(dim, 2.0**-12 * (1 - 2.0**-6))
    rival[0] = 0.5
    loss = float(point[0, 1:] @ rival[1:])
    given = np.zeros(dim)
    given[0] = 0.5 + (0.8 * loss - 0.5 * float(rival[1:] @ rival[1:])) / (1040.0 - 0.5)
    return point, np.stack([given, -given, rival, -rival])


@pytest.mark.parametrize("level", LEVELS)
def test_the_radius_is_needed_and_not_absurd(level):
    """Error of the sum over radius: above a quarter here, so the radius is less than 4 times it."""
    point, vectors = adversary()
    codes = np.array([0])
    (violation,) = find_violations(point, vectors, codes)
    assert violation.nearest == 2
    for widen, expected in ((0.0, []), (0.05, []), (0.25, []), (1.0, [2])):
        found = find_rivals(Matrix(point), Matrix(vectors), codes, level=level, widen=widen)
        assert found.rivals.tolist() == expected, widen


@pytest.mark.parametrize("level", LEVELS)
def test_ties_and_single_ulps_are_left(level):
    points, vectors = (
        Matrix(np.array([[0.5], [np.nextafter(0.5, 1)]])),
        Matrix(np.array([[0.0], [1]])),
    )
    found = find_rivals(points, vectors, np.array([1, 0]), level=level)
    assert (found.rows.tolist(), found.rivals.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize("level", LEVELS)
def test_duplicates_cost_nothing_and_crowds_are_given_up(monkeypatch, rng, level):
    points, vectors = normal(rng, 50, 4, 3, np.float64)
    codes = np.zeros(50, dtype=np.int64)
    for times in (20, 200):
        crowd = np.repeat(vectors, times, axis=0)
        found = find_rivals(Matrix(points), Matrix(crowd), codes, level=level)
        assert (found.given_up.size, len(found.rows)) == (0, (found.rivals > 0).sum())
        assert not (found.rivals % times).any()  # the lowest of each four
        crowd[:, 0] += rng.permutation(len(crowd)) * 1e-13
        found = find_rivals(Matrix(points), Matrix(crowd), codes, level=level)
        assert found.given_up.size == (50 if times == 200 else 0)
        violations = list(find_violations(points, crowd, codes))
        with monkeypatch.context() as patch:
            patch.setattr(_checker, "_rivals", None)
            assert violations == list(find_violations(points, crowd, codes))
        assert len(violations) > 40


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_not_finite_or_extreme_is_given_up(rng, level):
    points, vectors = normal(rng, 40, 70, 5, np.float64)
    right = find_rivals(Matrix(points), Matrix(vectors), np.zeros(40, dtype=int), level=level)
    assert right.given_up.size == 0
    points[3, 2], points[17, 0], points[18, 4], points[39] = np.nan, np.inf, -np.inf, 1e200
    found = find_rivals(Matrix(points), Matrix(vectors), np.zeros(40, dtype=int), level=level)
    assert found.given_up.tolist() == [3, 17, 18, 39]
    kept = ~np.isin(right.rows, found.given_up)
    assert found.rows.tolist() == right.rows[kept].tolist()
    for bad in (np.nan, np.inf, 1e300):
        vectors[69, 4] = bad
        assert find_rivals(Matrix(points), Matrix(vectors), np.zeros(40, dtype=int)) is None
    tiny = Matrix(np.array([[1e-300] * 5, [0.0] * 5]))
    assert find_rivals(Matrix(points), tiny, np.zeros(40, dtype=int), level=level) is None


@pytest.mark.parametrize("level", LEVELS)
def test_all_numbers_of_16_bits_are_read(level):
    bits = np.arange(65536, dtype=np.uint16).reshape(-1, 1)
    zero = np.zeros(65536, dtype=np.int64)
    for array in (bits.view(np.float16), bits.view(ml_dtypes.bfloat16)):
        with np.errstate(invalid="ignore"):  # signalling NaN
            values = array.astype(np.float64)[:, 0]
        finite = np.isfinite(values)
        matrix = _floats(array)
        assert np.array_equal(matrix.float64()[:, 0], values, equal_nan=True)
        found = find_rivals(matrix, Matrix(np.zeros((1, 1))), zero, level=level)
        assert np.array_equal(found.sqdist[finite], values[finite] ** 2)
        assert set(np.flatnonzero(~finite)) <= set(found.given_up)


def test_torch_bfloat16_is_read_without_a_copy():
    tensor = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    matrix = _floats(tensor)
    assert matrix.brain
    assert matrix.host.ctypes.data == tensor.data_ptr()
    assert np.array_equal(matrix.float64(), np.arange(12.0).reshape(3, 4))


def subnormal(array):
    magnitude = np.abs(array)
    return ((magnitude > 0) & (magnitude < np.finfo(array.dtype).tiny)).any()


@pytest.mark.parametrize("level", LEVELS)
def test_flushing_subnormals_excludes_no_nearest_code(level):
    """Where the numbers given are not subnormal themselves: `check` refuses to read those then."""
    cases = [(c, c.expected()) for c in CASES if not subnormal(c.latents) | subnormal(c.codebook)]
    assert torch.set_flush_denormal(True)
    try:
        for case, expected in cases:
            codes = np.zeros_like(expected)
            found = find_rivals(Matrix(case.latents), Matrix(case.codebook), codes, level=level)
            assert found is None or nearest_is_left(found, codes, expected), case.name
    finally:
        torch.set_flush_denormal(False)


def test_one_code_and_no_rows():
    for points, codes in ((np.ones((3, 2)), [0, 0, 0]), (np.ones((0, 2)), [])):
        found = find_rivals(Matrix(points), Matrix(np.ones((1, 2))), np.array(codes, dtype=int))
        assert found.rows.size == found.given_up.size == 0
        assert found.sqdist.tolist() == [0.0] * len(codes)


@pytest.mark.rows(
    ("change", "error"),
    [
        ({"latents": np.ones((2, 3), dtype=np.int32)}, TypeError),
        ({"latents": np.ones((2, 4))}, ValueError),
        ({"latents": np.ones(2)}, TypeError),
        ({"codebook": np.ones((0, 3))}, ValueError),
        ({"codes": np.array([0, 5])}, ValueError),
        ({"codes": np.array([-1, 0])}, ValueError),
        ({"codes": np.array([0])}, ValueError),
        ({"codes": np.array([0.0, 1.0])}, TypeError),
        ({"threads": 0}, ValueError),
        ({"level": "pencil"}, ValueError),
    ],
)
def test_the_binding_refuses_what_does_not_fit(change, error):
    arguments = {
        "latents": np.ones((2, 3)),
        "brain_latents": False,
        "codebook": np.ones((5, 3)),
        "brain_codebook": False,
        "codes": np.array([0, 4]),
        "threads": 1,
    }
    _checker._rivals.rivals(**arguments)
    with pytest.raises(error):
        _checker._rivals.rivals(**(arguments | change))


@pytest.mark.slow
def test_a_signal_ends_it(rng):
    points, vectors = normal(rng, 1 << 18, 1 << 14, 64)

    class AlarmError(Exception):
        pass

    def ring(signum, frame):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(AlarmError):
            find_rivals(Matrix(points), Matrix(vectors), np.zeros(len(points), dtype=np.int64))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 5.0  # a second on a machine of one's own


def test_the_stub_names_what_the_module_has():
    stub = ast.parse((Path(_checker.__file__).parent / "_rivals.pyi").read_text())
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    members = {n: m for n, m in vars(_checker._rivals).items() if not n.startswith("_")}
    assert functions.keys() == members.keys()
    for name, node in functions.items():
        assert ast.get_docstring(node) in members[name].__doc__
        for argument in node.args.args:
            assert argument.arg in members[name].__doc__
