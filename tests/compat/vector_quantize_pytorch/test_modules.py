"""The original's modules under their own paths: every name is there, or an error says why not."""

import importlib
import math
import pkgutil
import re
import types

import pytest
import torch
import vector_quantize_pytorch as original

from certvq.compat import vector_quantize_pytorch as ours
from certvq.errors import OptionError, ShapeError

MODULES = sorted(module.name for module in pkgutil.iter_modules(original.__path__))


def both(name):
    return tuple(importlib.import_module(f"{p.__name__}.{name}") for p in (original, ours))


def its_own(module):
    """Public names that a module defines, and classes of other modules of its package."""
    for name, value in vars(module).items():
        origin = getattr(value, "__module__", None) or ""
        if name[0] != "_" and (origin == module.__name__ or name.isupper() or name == "_Phi"):
            if not isinstance(value, types.ModuleType) and name != "F":
                yield name
        elif isinstance(value, type) and origin.startswith("vector_quantize_pytorch"):
            yield name


@pytest.mark.rows("name", MODULES)
def test_every_name_is_there_or_says_why_not(name):
    theirs, module = both(name)
    for wanted in its_own(theirs):
        words = f"has no {wanted} of vector_quantize_pytorch.{name}: .*; see docs/migration.md"
        try:
            found = getattr(module, wanted)
        except ImportError as error:
            assert re.search(words, str(error))  # noqa: PT017 (most names are there)
        else:
            assert found is not None


def test_an_import_shows_the_reason():
    with pytest.raises(ImportError, match="has no Codebook of .*: codebooks are layers of certvq"):
        from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import (
            Codebook as _,
        )
    with pytest.raises(AttributeError, match="no attribute 'spam'"):
        _ = importlib.import_module(f"{ours.__name__}.sim_vq").spam


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "normal", "laplace", "cauchy"])
def test_activations_are_the_original_s(name):
    theirs, module = both("finite_scalar_perturbation")
    points = torch.linspace(-3, 3, 41, dtype=torch.float64)
    (onto, back), (wanted, inverse) = module.build_cdf_act(name), theirs.build_cdf_act(name)
    torch.testing.assert_close(onto(points), wanted(points))
    torch.testing.assert_close(back(onto(points)), inverse(wanted(points)))
    with pytest.raises(OptionError, match="activation must be one of 'tanh', .*; got 'relu'"):
        module.build_cdf_act("relu")


def test_functions_give_what_the_original_s_give():
    theirs, module = both("vector_quantize_pytorch")
    src, tgt = torch.randn(2, 2, 5, 3).unbind(0)
    slope = torch.randn(2, 5, 3)
    for name in ("straight_through", "rotate_to"):
        inputs = [src.clone().requires_grad_() for _ in range(2)]
        found, wanted = (
            getattr(m, name)(x, tgt) for m, x in zip((module, theirs), inputs, strict=True)
        )
        assert torch.equal(found, tgt)
        gradients = [
            torch.autograd.grad(out, x, slope)[0]
            for out, x in zip((found, wanted), inputs, strict=True)
        ]
        torch.testing.assert_close(*gradients)
    assert module.directional_reparam(src, tgt).shape == src.shape
    with pytest.raises(ShapeError, match="src and tgt must have one shape"):
        module.rotate_to(src, tgt[0])
    torch.testing.assert_close(module.orthogonal_loss_fn(src), theirs.orthogonal_loss_fn(src))
    assert torch.equal(module.l2norm(src), theirs.l2norm(src))
    lens = torch.tensor([0, 2, 5])
    assert torch.equal(module.lens_to_mask(lens, 5), theirs.lens_to_mask(lens, 5))


def test_small_functions_give_what_the_original_s_give():
    theirs, module = both("finite_scalar_quantization")
    z = torch.randn(9, requires_grad=True)
    for name in ("round_ste", "floor_ste"):
        torch.testing.assert_close(getattr(module, name)(z), getattr(theirs, name)(z))
        assert torch.equal(torch.autograd.grad(getattr(module, name)(z).sum(), z)[0], z * 0 + 1)
    theirs, module = both("residual_vq")
    assert [module.round_up_multiple(n, 4) for n in (1, 4, 5)] == [4, 4, 8]
    shared = module.frac_gradient(z, 0.25)
    assert torch.equal(torch.autograd.grad(shared.sum(), z)[0], z * 0 + 0.25)
    seeds = []
    for each in (module, theirs):
        torch.manual_seed(3)
        seeds.append(each.get_maybe_sync_seed(z.device, 77))
    assert seeds[0] == seeds[1]
    theirs, module = both("binary_mapper")
    logits = torch.randn(4, 3)
    torch.testing.assert_close(module.binary_entropy(logits), theirs.binary_entropy(logits))
    assert math.isclose(module.NAT, theirs.NAT)
    assert both("lookup_free_quantization")[1].maybe_distributed_mean(z) is z
