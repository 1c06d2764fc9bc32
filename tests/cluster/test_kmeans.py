"""`certvq.kmeans` equals the definition on Fractions, under all that must not matter."""

import subprocess
import sys
from functools import partial

import array_api_strict
import numpy as np
import pytest
import torch

import certvq
from certvq.cluster._fused import Fused
from certvq.errors import (
    EmptyCellError,
)

from ._exactly import TYPES, fractions, lloyd, numbers, tensor

RNG = np.random.default_rng(20261130)
KINDS = {
    "noise": RNG.standard_normal((40, 3)),
    "ties": RNG.integers(-2, 3, (40, 2)).astype(float),
    "duplicates": np.repeat(RNG.standard_normal((4, 2)), 8, axis=0),
    "subnormal": RNG.integers(-9, 9, (30, 2)) * 2.0**-1074,
    "offset": 1e8 + RNG.standard_normal((40, 2)),
    "exponents": RNG.standard_normal((30, 2)) * 2.0 ** RNG.integers(-90, 90, (30, 1)),
}
TINY = {"float64": 0, "float32": 1074 - 149, "bfloat16": 1074 - 133, "float16": 1074 - 24}


def data_of(kind, number):
    rows = KINDS[kind]
    if kind == "subnormal":
        rows = np.ldexp(rows, TINY[number])
    if number == "float16" and kind == "offset":
        rows = rows / 2**14
    if number == "float16" and kind == "exponents":
        rows = np.clip(rows, -6e4, 6e4)
    return tensor(rows, number)


@pytest.mark.rows(("kind", "number"), [(kind, number) for kind in KINDS for number in TYPES])
def test_every_iteration_is_the_one_of_the_definition(kind, number):
    data = data_of(kind, number)
    start = data[:5].clone()
    steps = lloyd(data, start, 4, number)
    for iterations in range(5):
        found = certvq.kmeans(data, 5, start=start, iterations=iterations, empty="keep")
        codebook, codes, _ = steps[min(iterations, found.iterations)]
        assert found.codebook.dtype == data.dtype
        assert fractions(found.codebook) == codebook
        assert found.codes.tolist() == list(codes)
        assert list(found.history) == [inertia for _, _, inertia in steps[: found.iterations + 1]]
        assert found.inertia == found.history[-1]
        assert found.counts.tolist() == np.bincount(codes, minlength=5).tolist()


@pytest.mark.rows(
    ("kind", "number"), [("noise", "float32"), ("ties", "float64"), ("offset", "bfloat16")]
)
def test_weights_are_those_of_the_definition(kind, number):
    data = data_of(kind, number)
    weights = np.where(RNG.random(len(data)) < 0.2, 0.0, RNG.random(len(data)) * 7)
    start = data[3:9].clone()
    steps = lloyd(data, start, 3, number, weights)
    found = certvq.kmeans(data, 6, start=start, iterations=3, empty="keep", weights=weights)
    codebook, codes, inertia = steps[found.iterations]
    assert fractions(found.codebook) == codebook
    assert (found.codes.tolist(), found.inertia) == (list(codes), inertia)


def same(one, other, order=slice(None)):
    assert np.array_equal(numbers(one.codebook), numbers(other.codebook))
    assert np.array_equal(numbers(one.codes), numbers(other.codes)[order])
    assert (one.history, one.stopped, one.splits.tolist()) == (
        other.history,
        other.stopped,
        other.splits.tolist(),
    )
    assert one.counts.tolist() == other.counts.tolist()


ROWS = np.concatenate(
    [RNG.standard_normal((350, 6)) + 3 * RNG.integers(0, 4, (350, 1)), np.ones((30, 6))]
)
ROWS = ROWS.astype(np.float32)
STARTS = ("k-means++", "random", "k-means||")


@pytest.mark.rows(("start", "metric"), [(s, m) for s in STARTS for m in ("euclidean", "cosine")])
def test_order_layout_library_and_batches_do_not_matter(start, metric):
    options = {"start": start, "metric": metric, "iterations": 4, "seed": 5}
    found = certvq.kmeans(ROWS, 12, **options)
    order = np.random.default_rng(1).permutation(len(ROWS))
    back = np.argsort(order)
    same(certvq.kmeans(ROWS[order], 12, **options), found, order)
    assert np.array_equal(certvq.kmeans(ROWS[order], 12, **options).codes[back], found.codes)
    same(certvq.kmeans(np.asfortranarray(ROWS), 12, **options), found)
    same(certvq.kmeans(np.repeat(ROWS, 2, axis=1)[:, ::2], 12, **options), found)
    same(certvq.kmeans(torch.from_numpy(ROWS), 12, **options), found)
    strict = array_api_strict.asarray(ROWS)
    same(certvq.kmeans(strict, 12, **options), found)
    same(certvq.kmeans([strict[:100, :], strict[100:, :]], 12, **options), found)
    same(certvq.kmeans(np.array_split(ROWS, 10), 12, **options), found)
    same(certvq.kmeans(lambda: iter(np.split(ROWS, [1, 1, 200])), 12, **options), found)
    same(certvq.kmeans(ROWS, 12, weights=np.ones(len(ROWS)), **options), found)
    same(certvq.kmeans(ROWS, 12, weights=np.full(len(ROWS), 1, np.int32), **options), found)


@pytest.mark.parametrize("isa", certvq._native.isas() or ["none"])
def test_threads_and_instruction_sets_do_not_matter(isa, monkeypatch):
    found = certvq.kmeans(ROWS, 24)
    for threads in ("1", "2", "3", "4"):
        monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
        if isa != "none":
            monkeypatch.setenv("CERTVQ_ISA", isa)
        same(certvq.kmeans(ROWS, 24), found)


@pytest.fixture(scope="module")
def large():
    """Rows and options for which threads share the work and rows are looked at twice."""
    centres = RNG.standard_normal((256, 34), np.float32)
    rows = centres[RNG.integers(0, 256, 6000)]
    rows = rows + np.float32(0.4) * RNG.standard_normal(rows.shape, np.float32)
    options = {"codebook_size": 256, "start": rows[:256], "iterations": 7, "empty": "keep"}
    return rows, options, certvq.kmeans(rows, **options)


def test_a_second_look_leaves_all_bits(large, monkeypatch):
    rows, options, found = large
    monkeypatch.setattr(Fused, "fits", staticmethod(lambda grids: False))
    same(certvq.kmeans(rows, **options), found)


@pytest.mark.parametrize("weights", [None, np.arange(len(ROWS)) % 4])
@pytest.mark.parametrize("backend", ["native", "numpy", "torch", "reference"])
def test_backends_do_not_matter(backend, weights, monkeypatch):
    """Without the fused pass any backend finds the codes; `numpy` does without the kernel."""
    if backend not in certvq.backends():
        pytest.skip(f"there is no backend {backend}")
    found = certvq.kmeans(ROWS, 9, iterations=3, weights=weights)
    monkeypatch.setattr(Fused, "fits", staticmethod(lambda grids: False))
    monkeypatch.setattr("certvq.cluster._pass.assign", partial(certvq.assign, backend=backend))
    monkeypatch.setattr(
        certvq._native, "AVAILABLE", backend != "numpy" and certvq._native.AVAILABLE
    )
    for data in (ROWS, torch.from_numpy(ROWS)):
        same(certvq.kmeans(data, 9, iterations=3, weights=weights), found)


@pytest.mark.parametrize("isa", certvq._native.isas() or ["none"])
def test_threads_that_share_the_work_do_not_matter(isa, large, monkeypatch):
    rows, options, found = large
    for threads in ("1", "2", "3", "4"):
        monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
        if isa != "none":
            monkeypatch.setenv("CERTVQ_ISA", isa)
        same(certvq.kmeans(rows, **options), found)


@pytest.mark.rows("cuts", [*range(2, 10), [1, 1, 5000], [5999]])
def test_splits_of_any_kind_do_not_matter(cuts, large):
    rows, options, found = large
    same(certvq.kmeans(np.array_split(rows, cuts), **options), found)


def test_other_processes_find_the_same():
    code = (
        "import numpy as np, certvq; x = np.sin(np.arange(3000.0)).reshape(-1, 3);"
        "print(certvq.kmeans(x, 9, seed=3).codebook.tobytes().hex())"
    )
    ran = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)]
    here = certvq.kmeans(np.sin(np.arange(3000.0)).reshape(-1, 3), 9, seed=3).codebook
    assert ran[0].stdout.strip() == here.tobytes().hex()


def test_codes_are_those_that_assign_gives_for_the_returned_codebook():
    for iterations in (0, 1, 40):
        found = certvq.kmeans(ROWS, 30, iterations=iterations)
        assert np.array_equal(found.codes, certvq.assign(ROWS, found.codebook).codes)
    assert str(found.stopped) == "converged"
    again = certvq.kmeans(ROWS, 30, start=found.codebook)
    assert again.iterations == 0
    assert np.array_equal(again.codebook, found.codebook)


def test_seeds_differ():
    one, other = (certvq.kmeans(ROWS, 24, seed=seed, iterations=0) for seed in (0, 1))
    assert not np.array_equal(one.codebook, other.codebook)


def test_a_row_of_weight_zero_gets_a_code_and_moves_nothing():
    rows = np.array([[0.0], [1.0], [50.0], [60.0]])
    found = certvq.kmeans(rows, 2, start=[[0.0], [50.0]], weights=[1, 1, 2, 0], empty="keep")
    assert found.codebook.ravel().tolist() == [0.5, 50.0]
    assert found.codes.tolist() == [0, 0, 1, 1]
    assert (found.counts.tolist(), found.mass.tolist()) == ([2, 2], [2.0, 2.0])
    empty = certvq.kmeans(rows, 2, start=[[0.0], [60.0]], weights=[1, 1, 0, 0], empty="keep")
    assert empty.codebook.ravel().tolist() == [0.5, 60.0]
    assert (empty.empty.tolist(), empty.counts.tolist()) == ([1], [2, 2])


def test_progress_is_told():
    seen = []
    found = certvq.kmeans(ROWS, 8, iterations=3, progress=lambda *what: seen.append(what))
    assert found.iterations == 3
    assert seen == [("start", 0, 1), ("start", 1, 1), *(("iterations", i, 3) for i in (1, 2, 3))]


def test_empty_cells_can_be_forbidden():
    with pytest.raises(EmptyCellError, match="after 0 iterations cell 1 has none \\(1 empty cells"):
        certvq.kmeans(ROWS[:, :2], 2, start=[[0.0, 0.0], [99.0, 99.0]], empty="raise")
