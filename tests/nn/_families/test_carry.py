"""A value with the gradient of another tensor: bits forward, the cotangent back."""

import torch

from certvq.nn._families.carry import carry


def test_the_value_keeps_its_bits(same_bits):
    value = torch.tensor([0.1, -0.0, 3e-45, 1e30])
    result = carry(value, torch.tensor([7.0, 1.0, 1.0, 1e-30], requires_grad=True))
    assert same_bits(result, value)
    assert result.data_ptr() != value.data_ptr()


def test_the_gradient_goes_to_the_surrogate_in_its_type():
    value = torch.ones(2, dtype=torch.float64, requires_grad=True)
    surrogate = torch.zeros(2, dtype=torch.float16, requires_grad=True)
    (carry(value, surrogate) * torch.tensor([2.0, -3.0])).sum().backward()
    assert value.grad is None
    assert surrogate.grad.dtype == torch.float16
    assert surrogate.grad.tolist() == [2.0, -3.0]


def test_vmap():
    surrogate = torch.arange(6.0).reshape(3, 2)
    grads = torch.func.vmap(torch.func.grad(lambda x: carry(x.detach() + 1, 2.0 * x).sum()))
    assert grads(surrogate).tolist() == [[2.0, 2.0]] * 3
