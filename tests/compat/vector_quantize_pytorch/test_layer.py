"""Codebooks of each latent's own: exact where float64 cannot tell."""

import itertools

import torch

from certvq.compat.vector_quantize_pytorch._layer import nearest_of_own


def test_exact_ties_go_to_the_lowest_code_whatever_the_rounding():
    """Permuted components are equally far from zero; their float64 sums differ."""
    rows = torch.rand(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    orders = torch.tensor(list(itertools.permutations(range(5))))
    books = rows[:, orders]
    computed = books.square().sum(2)
    assert (computed.argmin(1) != 0).any()
    assert not nearest_of_own(torch.zeros(40, 5, dtype=torch.float64), books).any()


def test_clear_rows_need_no_exact_arithmetic():
    points = torch.tensor([[0.0], [1.0]])
    books = torch.tensor([[[3.0], [1.0]], [[1.5], [9.0]]])
    assert nearest_of_own(points, books).tolist() == [1, 0]
