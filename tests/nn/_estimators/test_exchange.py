"""The value of one, the gradient of the other."""

import torch

from certvq.nn import exchange


def test_value_and_gradient(same_bits):
    source = torch.tensor([0.1, -0.0], dtype=torch.bfloat16, requires_grad=True)
    value = torch.tensor([0.3, -0.0])
    result = exchange(source * 3, value)
    assert same_bits(result, value)
    result.backward(torch.tensor([1.0, 2.0]))
    assert source.grad.tolist() == [3.0, 6.0]
    assert source.grad.dtype == torch.bfloat16


def test_value_gets_no_gradient():
    source, value = (torch.ones(2, requires_grad=True) for _ in range(2))
    exchange(source, value).sum().backward()
    assert value.grad is None


def test_under_vmap_and_functional_gradients():
    sources = torch.randn(3, 2)
    slopes = torch.func.vmap(torch.func.grad(lambda s: exchange(2 * s, s.detach()).sum()))(sources)
    assert torch.equal(slopes, torch.full((3, 2), 2.0))
