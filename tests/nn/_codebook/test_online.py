"""The inner optimiser: the steps of torch's own, deferred or at once; its state travels."""

import functools

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.nn import Online, Uniform, VectorQuantize
from certvq.nn._codebook.online import InnerOptimizer, codebook_slope

SGD = functools.partial(torch.optim.SGD, lr=0.3, momentum=0.9)
ADAM = functools.partial(torch.optim.Adam, lr=0.1)


def layer_of(update, seeded, **options):
    return VectorQuantize(
        2, 4, update=update, start=Uniform(1.0), revive=None, generator=seeded(), **options
    )


def batches(seeded):
    return [torch.randn(1, 30, 2, generator=seeded(s)) for s in range(5)]


@pytest.mark.parametrize("factory", [SGD, ADAM])
@pytest.mark.parametrize("immediate", [False, True])
def test_the_codebook_takes_the_steps_of_the_optimiser(factory, immediate, seeded):
    """Against autograd of the codebook loss with a parameter and the same optimiser."""
    layer = layer_of(Online(factory, immediate=immediate), seeded)
    book = torch.nn.Parameter(layer.codebook.clone())
    optimizer = factory([book])
    waits = None
    for x in batches(seeded):
        learns = (x, layer.encode(x)) if immediate else waits
        waits = (x, layer(x).codes)
        if learns is not None:
            optimizer.zero_grad()
            (learns[0] - book[learns[1]]).square().mean().backward()
            optimizer.step()
        torch.testing.assert_close(layer.codebook, book.detach())


def test_settle_takes_the_step_that_waits(seeded):
    layer = layer_of(Online(SGD), seeded)
    x = batches(seeded)[0]
    layer(x)
    before = layer.codebook.clone()
    layer.settle()
    assert not torch.equal(layer.codebook, before)
    after = layer.codebook.clone()
    layer.settle()
    assert torch.equal(layer.codebook, after)


def test_steps_below_the_precision_of_the_module_add_up():
    codebook = torch.ones(1, 1, dtype=torch.float16)
    inner = InnerOptimizer(functools.partial(torch.optim.SGD, lr=1.0), codebook)
    for _ in range(100):
        inner.add(torch.full((1, 1), -1e-4))
        inner.step(codebook)
    assert float(codebook) == pytest.approx(1.01, abs=1e-3)


def test_whoever_writes_the_codebook_overrules_the_copy():
    codebook = torch.ones(2, 1)
    inner = InnerOptimizer(functools.partial(torch.optim.SGD, lr=1.0), codebook)
    codebook[1] = 5.0
    inner.add(torch.ones(2, 1))
    inner.step(codebook)
    assert codebook.tolist() == [[0.0], [4.0]]


def test_a_wider_module_gets_a_wider_copy():
    codebook = torch.ones(1, 1)
    inner = InnerOptimizer(ADAM, codebook)
    inner.add(torch.ones(1, 1))
    inner.step(codebook)
    wide = codebook.double() + 2.0**-40
    inner.add(torch.ones(1, 1))
    inner.step(wide)
    assert inner.vectors.dtype == torch.float64
    assert float(wide) != float(wide.float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_state_of_another_precision_is_taken_over_whole(dtype, seeded):
    """A layer begins in float32; what it loads may be wider."""
    layer, other = (layer_of(Online(ADAM), seeded).to(dtype) for _ in range(2))
    for x in batches(seeded):
        layer(x.to(dtype))
    other.load_state_dict(layer.state_dict())
    for x in batches(seeded):
        assert torch.equal(layer(x.to(dtype)).quantized, other(x.to(dtype)).quantized)
    assert torch.equal(layer.inner_optimizer.vectors, other.inner_optimizer.vectors)


def test_padding_alone_takes_no_step(seeded):
    """Momentum would move the codebook without any token."""
    for immediate in (False, True):
        layer = layer_of(Online(SGD, immediate=immediate), seeded)
        for x in batches(seeded)[:3]:
            layer(x)
        layer.settle()
        before = layer.codebook.clone()
        for _ in range(2):
            layer(torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool))
        assert torch.equal(layer.codebook, before)


def test_a_bad_batch_takes_no_step(seeded):
    layer = layer_of(Online(ADAM), seeded)
    layer(batches(seeded)[0])
    before, inner = layer.codebook.clone(), layer.inner_optimizer.get_extra_state()
    with pytest.raises(NonFiniteError):
        layer(torch.full((1, 2, 2), float("nan")))
    assert torch.equal(layer.codebook, before)
    assert torch.equal(layer.inner_optimizer.get_extra_state(), inner)


def test_the_slope_of_no_tokens_is_zero():
    assert not codebook_slope(torch.ones(3, 2), torch.zeros(3), torch.zeros(3, 2)).any()
