"""The value of the grid, the gradient of the bounding function, by autograd and by hand."""

import pytest
import torch

from certvq.nn._estimators.through_bound import Bound, through_bound


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_value_and_gradient(hard, plain, seeded, same_bits):
    curve = torch.rand(3, 4, generator=seeded())
    bound = Bound(*((None,) * 3 if plain else curve), hard=hard)
    latents = torch.randn(20, 4, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(4, 20, generator=seeded(2), dtype=torch.float64).T
    result = through_bound(latents, vectors, bound)
    assert same_bits(result, vectors)
    assert result.is_contiguous()
    weights = torch.randn(20, 4, generator=seeded(3), dtype=torch.float64)
    (result * weights).sum().backward()
    expected = latents.detach().requires_grad_()
    (bound(expected) * weights).sum().backward()
    torch.testing.assert_close(latents.grad, expected.grad, rtol=1e-12, atol=1e-12)


def test_the_ends_of_the_clamp_belong_to_it():
    latents = torch.tensor([[-1.0, 1.0, 1.5]], requires_grad=True)
    bound = Bound(None, None, None, hard=True)
    through_bound(latents, torch.zeros(1, 3), bound).sum().backward()
    assert latents.grad.tolist() == [[1.0, 1.0, 0.0]]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_a_gradient_that_is_differentiated_again(hard, plain, seeded):
    """It takes another way than one that is not; both are those of the bounding function."""
    curve = torch.rand(3, 4, generator=seeded(), dtype=torch.float64)
    bound = Bound(*((None,) * 3 if plain else curve), hard=hard)
    latents = torch.randn(20, 4, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    weights = torch.randn(20, 4, generator=seeded(2), dtype=torch.float64)
    found = []
    for vectors in (through_bound(latents, torch.zeros_like(latents), bound), bound(latents)):
        (slope,) = torch.autograd.grad((vectors * weights).sum(), latents, create_graph=True)
        found.append(slope)
        if not hard:
            found.append(torch.autograd.grad(slope.square().sum(), latents)[0])
    half = len(found) // 2
    for mine, expected in zip(found[:half], found[half:], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-11, atol=1e-11)
