"""Residual k-means: levels by definition, however rows are read; balance and suffixes."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import certvq
from certvq.cluster import residual_kmeans
from certvq.cluster._balanced import balanced, balanced_codes
from certvq.cluster._identifiers import suffixes
from certvq.cluster._problem import measured
from certvq.cluster._source import open_source
from certvq.errors import NonFiniteError, OptionError

from ._exactly import TYPES, numbers, tensor

RNG = np.random.default_rng(7)
ROWS = (RNG.standard_normal((300, 4)) + 3 * RNG.integers(0, 3, (300, 1))).astype(np.float32)


@pytest.mark.rows("number", TYPES)
def test_each_level_is_kmeans_of_what_subtraction_leaves(number):
    rest = data = tensor(ROWS * 1.1, number)
    found = residual_kmeans(data, 8, num_quantizers=3, iterations=3, seed=5)
    assert found.codebooks.dtype == data.dtype
    assert (found.codebooks.shape, found.codes.shape) == ((3, 8, 4), (300, 3))
    for level in range(3):
        own = certvq.kmeans(rest, 8, iterations=3, seed=5)
        assert torch.equal(found.codebooks[level], own.codebook)
        assert torch.equal(found.codes[:, level], own.codes)
        assert found.inertias[level] == own.inertia == found.levels[level].inertia
        rest = rest - own.codebook[own.codes]
    assert found.inertias[0] > found.inertias[1] > found.inertias[2]


@pytest.mark.parametrize("balances", [False, True])
def test_batches_order_and_memory_maps_do_not_matter(balances, tmp_path):
    options = {"num_quantizers": 3, "iterations": 4, "balanced": balances}
    found = residual_kmeans(ROWS, 6, **options)
    np.save(tmp_path / "rows.npy", ROWS)
    order = RNG.permutation(len(ROWS))
    for data, back in (
        (np.load(tmp_path / "rows.npy", mmap_mode="r"), slice(None)),
        (lambda: iter(np.array_split(ROWS, 7)), slice(None)),
        (torch.from_numpy(ROWS), slice(None)),
        (ROWS[order], np.argsort(order)),
    ):
        again = residual_kmeans(data, 6, **options)
        assert np.array_equal(numbers(again.codebooks), found.codebooks)
        assert np.array_equal(np.asarray(again.codes)[back], found.codes)
        assert np.array_equal(again.suffix[back], found.suffix)
        assert (again.inertias, again.collisions) == (found.inertias, found.collisions)


def test_weights_weigh_every_level():
    weights = RNG.integers(0, 3, len(ROWS))
    found = residual_kmeans(ROWS, 6, num_quantizers=2, weights=weights)
    repeated = residual_kmeans(np.repeat(ROWS, weights, axis=0), 6, num_quantizers=2)
    assert np.array_equal(found.codebooks, repeated.codebooks)
    assert found.inertias == repeated.inertias


def greedy(rows, codebook):
    """Take all pairs in order, on fractions: the rule, word by word."""
    room = [-(-len(rows) // len(codebook))] * len(codebook)
    exact = [[Fraction(x) for x in row] for row in rows.tolist()]
    books = [[Fraction(x) for x in row] for row in codebook.tolist()]
    pairs = sorted(
        (float(sum((a - b) ** 2 for a, b in zip(row, book, strict=True))), code, row, n)
        for n, row in enumerate(exact)
        for code, book in enumerate(books)
    )
    codes = [-1] * len(rows)
    for _, code, _, n in pairs:
        if codes[n] < 0 and room[code]:
            codes[n], room[code] = code, room[code] - 1
    return codes


@pytest.mark.rows(
    ("rows", "size"),
    [
        (RNG.standard_normal((50, 3)), 7),
        (RNG.integers(-2, 3, (60, 2)).astype(float), 4),
        (RNG.integers(0, 2, (40, 1)).astype(float), 6),
        (RNG.standard_normal((20, 2)), 1),
        (RNG.standard_normal((5, 2)), 5),
        (np.ones((9, 2)), 4),
        (RNG.integers(-3, 3, (64, 2)) * 1e200, 8),
        *((RNG.integers(0, 3, (24, 2)).astype(float), 4) for _ in range(30)),
    ],
)
def test_balanced_codes_are_those_of_the_rule(rows, size):
    codebook = rows[RNG.permutation(len(rows))[:size]]
    if np.abs(rows).max() > 1e100:
        rows, codebook = rows * 2.0**-600, codebook * 2.0**-600
    found = balanced_codes(open_source(rows), len(rows), codebook)
    assert found.tolist() == greedy(rows, codebook)
    assert np.bincount(found).max() <= -(-len(rows) // size)


def test_balance_is_kept_at_every_level_and_its_inertia_is_told():
    found = residual_kmeans(ROWS, 7, num_quantizers=2, balanced=True)
    plain = residual_kmeans(ROWS, 7, num_quantizers=2)
    rest = ROWS.astype(np.float64)
    for level in range(2):
        codes = found.codes[:, level]
        assert np.bincount(codes, minlength=7).max() <= 43
        rest = (rest - found.codebooks[level][codes]).astype(np.float32).astype(np.float64)
        assert found.inertias[level] == pytest.approx(np.square(rest).sum())
    assert found.inertias[0] > plain.inertias[0]


def test_balancing_goes_on_while_the_inertia_falls():
    problem = measured(open_source(ROWS), None, "euclidean", 7)
    codebook, totals = certvq.kmeans(ROWS, 7).codebook, []
    for _ in range(9):
        codes = balanced_codes(problem.source, len(ROWS), codebook)
        totals.append(float(np.square(ROWS.astype(np.float64) - codebook[codes]).sum()))
        wide = [ROWS[codes == code].astype(np.float64).mean(axis=0) for code in range(7)]
        codebook = np.stack(wide).astype(np.float32)
    falls = int(np.argmax(np.diff(totals) >= 0))
    assert 1 <= falls < 8
    for rounds in range(8):
        found = balanced(problem, certvq.kmeans(ROWS, 7).codebook, rounds)
        assert found.inertia == pytest.approx(totals[min(rounds, falls)])


def test_suffixes_make_identifiers_unique_and_count_collisions():
    rows = np.array([[2.0, 1], [0, 5], [1, 9], [1, 3], [0, 5], [7, 7]])
    codes = np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 1], [0, 0]])
    suffix, collisions = suffixes(open_source(rows), codes)
    assert suffix.tolist() == [2, 0, 1, 0, 1, 0]
    assert collisions == 5
    found = residual_kmeans(ROWS, 3, num_quantizers=2)
    names = np.column_stack([found.codes, found.suffix])
    assert len(np.unique(names, axis=0)) == len(ROWS)
    _, counts = np.unique(found.codes, axis=0, return_counts=True)
    assert found.collisions == counts[counts > 1].sum() > 0
    assert residual_kmeans(np.arange(4.0)[:, None], 2, num_quantizers=2).collisions == 0


def test_bad_calls_are_named():
    with pytest.raises(OptionError, match="num_quantizers must be an integer of at least 1, got 0"):
        residual_kmeans(ROWS, 4, num_quantizers=0)
    with pytest.raises(OptionError, match="level 1: codebook_size .* got 4 codes for 1 distinct"):
        residual_kmeans(np.arange(4.0)[:, None], 4, num_quantizers=2)
    big = np.array([[-6e4], [6e4]], dtype=np.float16)
    with pytest.raises(NonFiniteError, match="got nan at row 0"):
        residual_kmeans(big * np.nan, 2, num_quantizers=2)


def test_progress_names_the_level():
    seen = []
    residual_kmeans(
        ROWS, 4, num_quantizers=2, iterations=1, progress=lambda *what: seen.append(what)
    )
    assert seen[2] == ("level 0, iterations", 1, 1)
    assert seen[-1] == ("level 1, iterations", 1, 1)
