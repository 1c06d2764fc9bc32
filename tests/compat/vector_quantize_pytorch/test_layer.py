"""Codebooks of each latent's own: exact where float64 cannot tell."""

import itertools

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import VectorQuantize
from certvq.nn._vector.neural_codebook import nearest_of_own


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


ORTHOGONAL = {"orthogonal_reg_weight": 10.0}


def draw(seed):
    return torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(seed))


def test_the_orthogonal_loss_moves_a_codebook_of_averages():
    """The step of the user's optimiser is added to what the averages give, and once only."""
    plain, layer, resumed = (VectorQuantize(6, 11, **more) for more in ({}, ORTHOGONAL, ORTHOGONAL))
    layer.load_state_dict(plain.state_dict(), strict=False)
    book = layer.layers[0].codebook  # nobody looks in between
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for step in range(3):
        x = draw(step)
        plain(x)
        layer(x)[2].backward()
        before = book.detach().clone()
        optimizer.step()
        optimizer.zero_grad()
        moved = book.detach() - before
        assert float(moved.abs().max()) > 1e-3
        resumed.load_state_dict(layer.state_dict())  # what the step did is part of the state
        for each in (layer, resumed, plain):
            each.eval()
        assert torch.equal(layer.codebook, plain.codebook + moved)
        assert torch.equal(resumed.codebook, layer.codebook)
        plain.load_state_dict(layer.state_dict(), strict=False)
        for each in (layer, plain):
            each.train()


@pytest.mark.parametrize(
    "more", [{}, {"learnable_codebook": True, "ema_update": False, "threshold_ema_dead_code": 2}]
)
def test_an_orthogonal_loss_of_two_batches_has_a_gradient(more):
    """The codebook moves in place between them."""
    torch.manual_seed(0)
    layer = VectorQuantize(6, 11, **ORTHOGONAL, **more)
    sum(layer(draw(step))[2] for step in range(2)).backward()
    assert float(layer.layers[0].codebook.grad.abs().max()) > 0.0
