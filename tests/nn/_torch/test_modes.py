"""Only tensors that hold numbers may be looked at."""

import pytest
import torch
import torch.utils.checkpoint
from torch._subclasses.fake_tensor import FakeTensorMode

from certvq.nn._torch.modes import (
    beneath,
    beyond_backward,
    has_memory,
    holds_numbers,
    is_batched,
    is_differentiated,
    recomputing,
    transforming,
    wants_derivative,
)


def test_ordinary_tensors_and_parameters_do():
    assert holds_numbers(torch.zeros(2))
    assert holds_numbers(torch.nn.Parameter(torch.zeros(2)))


def test_those_without_memory_do_not():
    assert not holds_numbers(torch.zeros(2, device="meta"))
    with FakeTensorMode():
        assert not holds_numbers(torch.zeros(2))


def test_those_that_a_compiler_follows_do_not():
    compiled = torch.compile(lambda x: x + holds_numbers(x), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0.0


def test_numbers_beneath_those_of_samples():
    """The axes of `vmap` come first, that of the outermost one before the others."""
    numbers = torch.arange(120.0).reshape(2, 3, 4, 5)
    seen = []

    def look(part):
        seen.append((beneath(part), is_batched(part), transforming(), has_memory(part)))
        return part.sum()

    inner = torch.func.vmap(torch.func.grad(look), in_dims=1)
    torch.func.vmap(inner, in_dims=1)(numbers)
    torch.func.grad(look)(numbers.requires_grad_())
    (moved, *batched), (same, *alone) = seen
    assert batched == [True, True, False]
    assert alone == [False, True, False]
    assert torch.equal(moved, numbers.permute(1, 2, 0, 3))
    assert torch.equal(same, numbers)
    assert not moved.requires_grad
    assert all(has_memory(part) for part in (moved, same))


def test_who_may_ask_for_a_derivative():
    plain, marked = torch.zeros(2), torch.zeros(2, requires_grad=True)
    assert [wants_derivative(part) for part in (plain, marked)] == [False, True]
    with torch.no_grad():
        assert not wants_derivative(marked)
    with torch.autograd.forward_ad.dual_level():
        assert wants_derivative(plain)
        assert not transforming()
    torch.func.vmap(lambda part: part + wants_derivative(part))(plain)
    assert not beyond_backward()


def test_compilers_go_the_ordinary_way():
    compiled = torch.compile(lambda x: x + beyond_backward(), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0.0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's
def test_who_follows_a_tensor():
    """Through samples, too, which do not show it themselves."""
    x, seen = torch.zeros(3), []

    def look(x):
        seen.append(is_differentiated(x))
        return x.sum()

    look(x)
    look(x.clone().requires_grad_())
    torch.func.vmap(look)(x)
    torch.func.vmap(look)(x.clone().requires_grad_())
    torch.func.grad(look)(x)
    torch.func.vmap(torch.func.grad(look))(x)
    torch.func.grad(lambda x: torch.func.vmap(look)(x).sum())(x)
    torch.func.jvp(look, (x,), (x,))
    torch.func.jvp(torch.func.vmap(look), (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        look(x)
    assert seen == [False, True, False, True, True, True, True, True, True, True]


def test_a_forward_pass_within_a_backward_pass_is_known():
    seen = []

    def look(part):
        seen.append(recomputing())
        return part.exp()

    x = torch.zeros(2, requires_grad=True)
    torch.utils.checkpoint.checkpoint(look, x, use_reentrant=False).sum().backward()
    look(x)
    compiled = torch.compile(lambda x: x + recomputing(), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0.0
    assert seen == [False, True, False]
