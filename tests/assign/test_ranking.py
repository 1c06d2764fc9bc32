"""The ranking: whole sequences against exact rational arithmetic, ties and duplicates included."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import certvq
from certvq import _native, bounds
from certvq.errors import NonFiniteError, OptionError, ShapeError


def exact_ranking(latents, codebook):
    """Sort all codes by exact squared distance, then by index."""
    points, rows = ([[Fraction(float(x)) for x in row] for row in a] for a in (latents, codebook))
    result = []
    for z in points:
        distances = [sum((a - b) ** 2 for a, b in zip(z, c, strict=True)) for c in rows]
        result.append(sorted(range(len(rows)), key=lambda i: (distances[i], i)))
    return result


small = st.integers(-3, 3).map(float)
nasty = st.sampled_from(
    [0.0, -0.0, 1.0, 1.0 + 2**-52, 1.0 - 2**-53, 5e-324, 2.0**-600, 1e300, -1e300, 1e8, 1e8 + 1]
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), numbers=st.sampled_from([small, nasty, st.one_of(small, nasty)]))
def test_the_order_is_the_exact_one(data, numbers):
    dim = data.draw(st.integers(1, 3))
    row = st.lists(numbers, min_size=dim, max_size=dim)
    codebook = data.draw(st.lists(row, min_size=1, max_size=9))
    latents = data.draw(st.lists(row, min_size=1, max_size=4))
    count = data.draw(st.integers(1, len(codebook)))
    found = certvq.rank(np.array(latents), np.array(codebook), count)
    assert found.codes.tolist() == [r[:count] for r in exact_ranking(latents, codebook)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_random_numbers_and_the_bound_of_the_distances(dtype, offset):
    random = np.random.default_rng(3)
    latents = (random.standard_normal((40, 5)) + offset).astype(dtype)
    codebook = (random.standard_normal((60, 5)) + offset).astype(dtype)
    codebook[50:] = codebook[:10]
    found = certvq.rank(latents, codebook, 60)
    assert found.codes.tolist() == exact_ranking(latents, codebook)
    assert found.codes[:, 0].tolist() == certvq.assign(latents, codebook).codes.tolist()
    for n in range(40):
        for code, computed in zip(found.codes[n], found.sqdist[n], strict=True):
            pairs = zip(latents[n].tolist(), codebook[code].tolist(), strict=True)
            true = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs)
            assert abs(Fraction(computed) - true) <= Fraction(bounds.gamma(5 + 8)) * true


def test_a_far_code_vector_leaves_the_distances_of_the_others():
    """All are scaled for the largest; the squares of the others underflow then."""
    found = certvq.rank([[1.0], [3e200]], [[2.0], [5.0], [1e300]], 3)
    assert found.sqdist.tolist() == [[1.0, 16.0, math.inf], [math.inf] * 3]
    assert found.codes.tolist() == [[0, 1, 2], [1, 0, 2]]


def test_a_grid_of_ties_takes_many_blocks_and_integers():
    """Every latent ties with at least four codes; the ranking crosses blocks of rows."""
    side = np.arange(8.0)
    codebook = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    latents = np.tile(codebook[:49] + 0.5, (60, 1))
    found = certvq.rank(latents, codebook, 7)
    expected = [r[:7] for r in exact_ranking(codebook[:49] + 0.5, codebook)]
    assert found.codes.tolist() == expected * 60


def test_equal_codes_come_in_the_order_of_their_indices():
    found = certvq.rank(np.array([[0.9]]), np.array([[1.0], [0.0], [1.0], [1.0]]), 4)
    assert found.codes.tolist() == [[0, 2, 3, 1]]


def test_tensors_stay_tensors():
    latents = torch.tensor([[0.4], [2.6]], dtype=torch.bfloat16, requires_grad=True)
    found = certvq.rank(latents, certvq.prepare(torch.arange(4.0)[:, None]), 2)
    assert found.codes.tolist() == [[0, 1], [3, 2]]
    assert found.codes.dtype == torch.int64
    assert found.sqdist.dtype == torch.float64


def test_no_latents():
    assert certvq.rank(np.zeros((0, 2)), np.zeros((3, 2)), 2).codes.shape == (0, 2)


@pytest.mark.parametrize("count", [0, 4, -1])
def test_count_must_be_among_the_codes(count):
    with pytest.raises(OptionError, match=rf"count must lie in 1..3.*got {count}"):
        certvq.rank(np.zeros((1, 2)), np.zeros((3, 2)), count)


def test_wrong_input_is_named():
    with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 1, column 0"):
        certvq.rank(np.array([[0.0], [math.nan]]), np.zeros((3, 1)), 1)
    with pytest.raises(ShapeError, match="same dim"):
        certvq.rank(np.zeros((1, 2)), np.zeros((3, 1)), 1)


def test_what_meets_the_last_of_several_copies_may_belong_before_the_first():
    """Found by hypothesis: the copies hid the nearer vector behind them."""
    latents, codebook = [[1e300]], [[0.0], [0.0], [0.0], [1.0], [1.0]]
    for count in range(1, 6):
        found = certvq.rank(np.array(latents), np.array(codebook), count)
        assert found.codes.tolist() == [[3, 4, 0, 1, 2][:count]]


@pytest.fixture(params=_native.isas())
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)


def without_kernel(latents, codebook, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "AVAILABLE", False)
        return certvq.rank(latents, codebook, count).codes.tolist()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("codes", "dim"), [(17, 40), (300, 3), (700, 20), (1100, 5), (5000, 2)])
@pytest.mark.parametrize("grid", [False, True])
def test_the_kernel_ranks_as_numpy_does(codes, dim, grid, rng):
    """Padding, groups of one code and of four, parts that are crowded, ties, copies."""
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    latents = rng.standard_normal((120, dim)).astype(np.float32)
    if grid:
        codebook, latents = np.round(codebook), np.round(latents)
    codebook[codes // 2 : codes // 2 + 3] = codebook[:3]
    latents[:20] = codebook[:20] if codes > 20 else 0.0
    for count in (1, 2, 8, 15, 16):
        found = certvq.rank(latents, codebook, count)
        assert found.codes.tolist() == without_kernel(latents, codebook, count)


def test_many_copies_of_few_vectors():
    codebook = np.repeat([[0.0], [1.0], [3.0]], 400, axis=0)[::-1]
    latents = np.array([[0.1], [2.9], [2.0]])
    found = certvq.rank(latents, codebook, 900)
    assert found.codes.tolist() == without_kernel(latents, codebook, 900)


def wrong_ranks_on_a_line(widen):
    """Latents near the middle of the two neighbours of a code: one of these is second."""
    rng = np.random.default_rng(5)
    codebook = np.sort(rng.standard_normal((1500, 1)), axis=0)
    left = rng.integers(1, 1498, 100_000)
    latents = (
        0.5 * (codebook[left - 1] + codebook[left + 1]) + rng.standard_normal((100_000, 1)) / 2**18
    )
    order = rng.permutation(1500)  # neighbours lie in different groups
    packed = _native._kernel.pack(codebook[order], "")
    packed.widen = widen
    found = _native.rank(packed, latents, "float64", 2, 2)
    assert found is not None
    codes, _, decided_by = found
    near = left[:, None] + np.arange(-4, 5)
    distances = np.abs(latents - codebook[np.clip(near, 0, 1499), 0])
    right = np.take_along_axis(near, np.argsort(distances, axis=1)[:, :2], axis=1)
    inner = (decided_by > 0) & (left > 4) & (left < 1495)
    return int((order[codes[inner]] != right[inner]).sum())


def test_the_reach_is_needed():
    assert wrong_ranks_on_a_line(1.0) == 0
    assert wrong_ranks_on_a_line(0.0) > 0
