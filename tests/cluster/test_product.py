"""Product k-means: each group of columns is a run of its own."""

import numpy as np
import pytest
import torch

import certvq
from certvq.cluster import product_kmeans
from certvq.errors import OptionError, ShapeError

ROWS = np.random.default_rng(8).standard_normal((200, 6)).astype(np.float32)


def test_each_group_is_kmeans_of_its_columns():
    weights = np.arange(200) % 3
    found = product_kmeans(ROWS, 9, groups=3, iterations=5, seed=2, weights=weights)
    assert (found.codebooks.shape, found.codes.shape) == ((3, 9, 2), (200, 3))
    for group in range(3):
        columns = ROWS[:, 2 * group : 2 * group + 2]
        own = certvq.kmeans(columns, 9, iterations=5, seed=2, weights=weights)
        assert np.array_equal(found.codebooks[group], own.codebook)
        assert np.array_equal(found.codes[:, group], own.codes)
        assert found.groups[group].inertia == own.inertia
    assert found.inertia == pytest.approx(sum(each.inertia for each in found.groups))


def test_libraries_and_batches_do_not_matter():
    found = product_kmeans(ROWS, 5, groups=2)
    for data in (torch.from_numpy(ROWS), lambda: iter(np.array_split(ROWS, 4))):
        again = product_kmeans(data, 5, groups=2)
        assert np.array_equal(np.asarray(again.codebooks), found.codebooks)
        assert np.array_equal(np.asarray(again.codes), found.codes)


def test_bad_calls_are_named():
    with pytest.raises(ShapeError, match="a multiple of groups=4 columns, got 6 columns"):
        product_kmeans(ROWS, 5, groups=4)
    flat = ROWS.copy()
    flat[:, 3:] = 1.0
    with pytest.raises(OptionError, match="group 1: codebook_size .* 5 codes for 1 distinct"):
        product_kmeans(flat, 5, groups=2)


def test_progress_names_the_group():
    seen = []
    product_kmeans(ROWS, 4, groups=2, iterations=1, progress=lambda *what: seen.append(what))
    assert ("group 0, iterations", 1, 1) in seen
    assert seen[-1] == ("group 1, iterations", 1, 1)
