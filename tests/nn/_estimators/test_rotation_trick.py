"""The rotation trick: exact values, the gradient of the formula, and its corners."""

import math

import pytest
import torch

from certvq.nn import RotationTrick
from certvq.nn._estimators.rotation_trick import rotate_back


def matrix(z, c):
    """Write the rotation of the paper out, scaled."""
    e, q = z / z.norm(), c / c.norm()
    w = e + q
    rotation = torch.eye(len(z), dtype=z.dtype) + 2.0 * torch.outer(q, e)
    if float(w @ w) > 1e-6:
        rotation -= 2.0 * torch.outer(w, w) / (w @ w)
    return rotation * (c.norm() / z.norm())


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_gradient_is_that_of_the_rotation(dim, seeded, same_bits):
    z = torch.randn(40, dim, dtype=torch.float64, generator=seeded()).requires_grad_()
    book = torch.randn(7, dim, dtype=torch.float64, generator=seeded(1))
    codes = torch.randint(7, (40,), generator=seeded(2))
    upstream = torch.randn(40, dim, dtype=torch.float64, generator=seeded(3))
    value = RotationTrick().estimate(z, book, codes, None)
    assert same_bits(value, book[codes])
    value.backward(upstream)
    expected = torch.stack(
        [matrix(z[n].detach(), book[codes[n]]).T @ upstream[n] for n in range(40)]
    )
    torch.testing.assert_close(z.grad, expected)


def test_the_matrix_takes_the_latent_to_the_code_vector(seeded):
    z, c = torch.randn(2, 6, dtype=torch.float64, generator=seeded())
    torch.testing.assert_close(matrix(z, c) @ z, c)


def test_without_a_direction_the_gradient_goes_straight_through():
    zero, one = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    upstream = torch.tensor([[5.0, -7.0]])
    assert torch.equal(rotate_back(upstream, zero, one), upstream)
    assert torch.equal(rotate_back(upstream, one, zero), upstream)
    assert torch.equal(rotate_back(upstream, zero, zero), upstream)


def test_opposite_vectors_reflect():
    z, c = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    assert rotate_back(torch.tensor([[4.0, 6.0]]), z, c).tolist() == [[-2.0, 3.0]]


def test_half_precision_computes_in_float32():
    z = torch.full((1, 400), 60.0, dtype=torch.float16, requires_grad=True)
    book = torch.full((1, 400), 30.0, dtype=torch.float16)
    RotationTrick().estimate(z, book, torch.tensor([0]), None).sum().backward()
    assert z.grad.dtype == torch.float16
    torch.testing.assert_close(z.grad, torch.full_like(z, 0.5))
    assert math.isinf(float((book * book).sum()))


def test_the_codebook_may_change_before_the_gradient_is_taken():
    """Shared codebooks and two losses of two batches do that."""
    z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    book = torch.tensor([[2.0, 1.0]])
    value = RotationTrick().estimate(z, book, torch.tensor([0]), None)
    book.fill_(7.0)
    value.backward(torch.tensor([[1.0, 1.0]]))
    torch.testing.assert_close(z.grad, torch.tensor([[0.2, 1.4]]))
