"""Functions are applied with the same numbers and derivatives by whoever follows them."""

import pytest
import torch

from certvq.nn._torch.modes import applied

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own


class _Cube(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, factor):
        return factor * x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        del output
        ctx.save_for_backward(inputs[0])
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, *cotangents):
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return 3 * ctx.factor * x**2 * cotangents[0], None


class _CubeBothWays(_Cube):
    @staticmethod
    def setup_context(ctx, inputs, output):
        _Cube.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx, *tangents):
        (x,) = ctx.saved_tensors
        return 3 * ctx.factor * x**2 * tangents[0]


def cube(x):
    return applied(_Cube, _CubeBothWays, x, 2.0)


def test_first_and_second_derivatives():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    (first,) = torch.autograd.grad(cube(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.tolist() == [6.0, 24.0]
    assert second.tolist() == [12.0, -24.0]


def test_torch_func_and_forward_mode():
    x = torch.tensor([1.0, -2.0])
    assert torch.func.vmap(torch.func.grad(cube))(x).tolist() == [6.0, 24.0]
    assert torch.func.jvp(cube, (x,), (torch.ones(2),))[1].tolist() == [6.0, 24.0]
    assert torch.func.jacfwd(cube)(x).tolist() == [[6.0, 0.0], [0.0, 24.0]]


def test_what_nobody_follows_has_no_graph():
    assert cube(torch.tensor(3.0)).item() == 54.0
    assert not cube(torch.tensor(3.0)).requires_grad
    with torch.no_grad():
        assert not cube(torch.tensor(3.0, requires_grad=True)).requires_grad


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping serialization:UserWarning")  # torch 2.6's compiler
def test_a_compiler_follows_it():
    torch.compiler.reset()
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    compiled = torch.compile(cube, fullgraph=True)
    assert compiled(x).tolist() == [2.0, -16.0]
    compiled(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 24.0]
