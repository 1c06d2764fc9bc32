"""The value is the code vector itself; the gradient goes to the latents as it is."""

import pytest
import torch

from certvq.nn import straight_through

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_value_is_the_code_vector_to_the_bit(dtype, same_bits, seeded):
    """Also where z + (c - z) is not: huge latents, tiny codes, minus zero."""
    codebook = torch.tensor([[-0.0, 1e-3], [0.1, -0.0]], dtype=dtype)
    latents = torch.full((3, 2), 1e4, dtype=dtype, requires_grad=True)
    codes = torch.tensor([0, 1, 0])
    result = straight_through(latents, codebook, codes)
    assert same_bits(result, codebook[codes])
    assert not same_bits(latents + (codebook[codes] - latents), codebook[codes])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_is_the_cotangent_in_the_latents_type(dtype, seeded):
    latents = torch.zeros(5, 3, dtype=dtype, requires_grad=True)
    codebook = torch.rand(4, 3, generator=seeded(), requires_grad=True)
    cotangent = torch.randn(5, 3, generator=seeded(1))
    result = straight_through(latents, codebook, torch.tensor([0, 1, 2, 3, 0]))
    assert result.dtype == codebook.dtype
    result.backward(cotangent)
    assert latents.grad is not None
    assert latents.grad.dtype == dtype
    assert torch.equal(latents.grad, cotangent.to(dtype))
    assert codebook.grad is None


def test_vmap_and_grad_of_torch_func(seeded):
    latents = torch.randn(6, 5, 3, generator=seeded())
    codebook = torch.randn(4, 3, generator=seeded(1))
    codes = torch.randint(4, (6, 5), generator=seeded(2))

    def gradient(z, k):
        return torch.func.grad(lambda x: straight_through(x, codebook, k).pow(2).sum())(z)

    found = torch.func.vmap(gradient)(latents, codes)
    assert torch.equal(found, 2 * codebook[codes])


def test_the_second_derivative_is_that_of_what_follows():
    latents = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    codebook = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    result = straight_through(latents, codebook, torch.tensor([0])).pow(3).sum()
    (first,) = torch.autograd.grad(result, latents, create_graph=True)
    assert torch.equal(first, 3 * codebook**2)
    (second,) = torch.autograd.grad(first.sum(), latents)
    assert torch.equal(second, 6 * codebook)
