"""On a device without float64, as MPS, layers train, encode and decode."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from certvq import _float64
from certvq.nn import (
    EMA,
    FSP,
    FSQ,
    LFQ,
    Affine,
    Beam,
    BinaryMapper,
    Gradient,
    Gumbel,
    LatentQuantize,
    Neural,
    Online,
    RandomProjectionQuantizer,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)
from certvq.nn._torch import modes

ADAM = functools.partial(torch.optim.Adam, lr=0.01)
FAMILIES = {
    "ema": lambda: VectorQuantize(4, 6),
    "cosine": lambda: VectorQuantize(4, 6, metric="cosine"),
    "affine": lambda: VectorQuantize(4, 6, update=EMA(affine=Affine())),
    "gradient": lambda: VectorQuantize(4, 6, update=Gradient(), estimator=Gumbel()),
    "online": lambda: VectorQuantize(4, 6, update=Online(ADAM)),
    "immediate": lambda: VectorQuantize(4, 6, update=Online(ADAM, immediate=True)),
    "beam": lambda: ResidualVQ(4, 6, num_quantizers=2, beam=Beam(3)),
    "neural": lambda: ResidualVQ(4, 6, num_quantizers=2, neural=Neural(depth=1)),
    "sim": lambda: SimVQ(4, 6),
    "projection": lambda: RandomProjectionQuantizer(4, 6, code_dim=2),
    "scalars": lambda: LatentQuantize((5, 5, 3, 3)),
    "grid": lambda: FSQ((5, 5, 3, 3)),
    "perturbed": lambda: FSP((5, 5, 3, 3)),
    "inverted": lambda: FSP((5, 5, 3, 3), invert=True),
    "bits": lambda: LFQ(4),
    "mapper": lambda: BinaryMapper(4),
}


class Without(TorchDispatchMode):
    """Refuse float64 as such a device does; `allowed` is what runs on the CPU instead."""

    allowed = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = kinds((args, kwargs))
        made = kinds(result)
        if torch.float64 in made and torch.float64 not in given and not self.allowed:
            text = f"{func} made a float64 tensor"
            raise RuntimeError(text)
        copies = ("aten::copy_", "aten::_to_copy")
        if {torch.float64, torch.float32} <= given and func.name() not in copies:
            text = f"{func} was given tensors of two devices"
            raise RuntimeError(text)
        return result


def kinds(tree):
    """Return the types of float of tensors with axes; those without mix with all."""
    leaves = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    return {leaf.dtype for leaf in leaves}


@pytest.fixture
def without(monkeypatch):
    """Let the CPU be a device without float64, but for what `widened` hands out."""
    mode = Without()

    def cast(numbers):
        mode.allowed = True
        try:
            return numbers.to(torch.float64)
        finally:
            mode.allowed = False

    monkeypatch.setattr(_float64, "WITHOUT_FLOAT64", {"cpu"})
    monkeypatch.setattr(modes, "_cast", cast)
    return mode


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_layers_make_float64_tensors_on_the_host_alone(make, without, seeded):
    layer = make()  # on the CPU, as usual
    with without:
        optimizer = torch.optim.SGD([torch.zeros(1), *layer.parameters()], lr=0.1)
        for step in range(3):
            x = torch.randn(2, 10, 4, generator=seeded(step)).requires_grad_()
            result = layer(x)
            without.allowed = isinstance(layer, RandomProjectionQuantizer)  # torch's way back
            (result.quantized.sum() + result.loss).backward()
            without.allowed = False
            optimizer.step()
        codes = layer.eval().encode(x)
        assert torch.equal(layer(x).quantized, layer.decode(codes))


def test_the_pretence_works(without):
    with without:
        with pytest.raises(RuntimeError, match="made a float64 tensor"):
            torch.ones(2).double()
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            torch.ones(2) + modes.widened(torch.ones(2))


def test_results_that_are_float64_stay_on_the_host():
    """`certvq.assign` of a tensor there: squared distances are those of any device."""
    assert _float64.float64_home(torch.device("mps")) == "cpu"
    assert _float64.float64_home(torch.device("cuda", 1)) == torch.device("cuda", 1)
    brought = modes.brought(torch.tensor([0.1], dtype=torch.float64), torch.device("cpu"))
    assert brought.dtype == torch.float64
