"""Averages follow the optimiser's steps, not its batches; frozen codebooks follow nothing."""

import copy
import functools

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import (
    EMA,
    FSQ,
    Affine,
    Given,
    Gradient,
    LatentQuantize,
    Neural,
    Online,
    Project,
    ResidualVQ,
    Revive,
    SimVQ,
    VectorQuantize,
    accumulate,
)

SGD = functools.partial(torch.optim.SGD, lr=0.5)
BOOK = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [90.0, 90.0]])


def batches(seeded, count=4):
    return [3.0 * torch.randn(1, 20, 2, generator=seeded(step)) for step in range(count)]


def layer_of(update, **options):
    return VectorQuantize(2, 4, update=update, start=Given(BOOK), revive=None, **options)


@pytest.mark.parametrize("update", [EMA(0.5), Online(SGD)], ids=["ema", "online"])
def test_the_batches_of_the_body_count_as_one(update, seeded):
    parts = batches(seeded)
    layer, whole = layer_of(update), layer_of(update)
    for each in (layer, whole):
        each(parts[0])
    with accumulate(torch.nn.Sequential(layer)):
        settled = layer.codebook.clone()
        codes = [layer(part).codes for part in parts]
        assert torch.equal(layer.codebook, settled)
    assert torch.equal(torch.cat(codes, dim=1), whole(torch.cat(parts, dim=1)).codes)
    for each in (layer, whole):
        each(parts[1])
    torch.testing.assert_close(layer.codebook, whole.codebook)
    assert not torch.equal(layer.codebook, settled)


def test_so_do_those_of_an_option_also_after_loading(seeded):
    """``EMA(every=2)`` over 2 n batches is `EMA` over n of twice the size."""
    parts = batches(seeded, 8)
    layer, whole = layer_of(EMA(0.5, every=2)), layer_of(EMA(0.5))
    for step in range(4):
        layer(parts[2 * step])
        resumed = layer_of(EMA(0.5, every=2))
        resumed.load_state_dict(layer.state_dict())
        layer = resumed
        layer(parts[2 * step + 1])
        whole(torch.cat(parts[2 * step : 2 * step + 2], dim=1))
        torch.testing.assert_close(layer.codebook, whole.codebook)
    assert not torch.equal(layer.codebook, BOOK)
    with pytest.raises(OptionError, match="every must be at least 1, got 0"):
        EMA(every=0)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_run_may_go_on_with_another_number(before, after, seeded):
    saved, resumed = (layer_of(EMA(0.5, every=every)) for every in (before, after))
    saved(batches(seeded)[0])
    resumed.load_state_dict(saved.state_dict())
    assert resumed.waiting is None or float(resumed.waiting) == 1.0
    assert torch.equal(resumed.statistics.pending_counts, saved.statistics.pending_counts)


def test_no_code_is_revived_within(seeded):
    layer = VectorQuantize(2, 4, start=Given(BOOK), revive=Revive(0.9), generator=seeded())
    parts = batches(seeded)
    for part in parts:
        layer(part)
    with accumulate(layer):
        layer(parts[0])
        settled = layer.codebook.clone()
        for part in parts:
            layer(part)
        assert torch.equal(layer.codebook, settled)


FROZEN = {
    "ema": lambda: VectorQuantize(2, 4),
    "affine": lambda: VectorQuantize(2, 4, update=EMA(affine=Affine())),
    "gradient": lambda: VectorQuantize(2, 4, update=Gradient()),
    "online": lambda: VectorQuantize(2, 4, update=Online(SGD)),
    "neural": lambda: ResidualVQ(2, 4, num_quantizers=2, neural=Neural(depth=1)),
    "shared": lambda: ResidualVQ(2, 4, num_quantizers=2, shared=True),
    "sim": lambda: SimVQ(2, 4),
    "scalars": lambda: LatentQuantize((4, 4)),
    "projected": lambda: Project(FSQ((4, 4)), 2),
}


@pytest.mark.parametrize("make", FROZEN.values(), ids=FROZEN)
def test_a_frozen_layer_keeps_its_state_and_teaches_the_encoder(make, seeded, snapshot, unchanged):
    """Also before its first batch, with what waits of the latest one, and in a copy."""
    for trained in (0, 2):
        layer = make()
        for part in batches(seeded, trained):
            layer(part)
        layer.freeze()
        before = snapshot(layer)
        for each in (layer.eval().train(), copy.deepcopy(layer)):
            for part in batches(seeded):
                x = part.clone().requires_grad_()
                result = each(x)
                (result.quantized.sum() + result.loss).backward()
                assert x.grad.any()
                each.metrics()
            assert unchanged(each, before)
            assert not any(parameter.requires_grad for parameter in each.parameters())
        torch.func.vmap(layer)(batches(seeded, 1)[0][:, None])  # as it learns nothing


def test_it_learns_again(seeded):
    layer = VectorQuantize(2, 4, update=Gradient()).freeze()
    assert layer.freeze(frozen=False) is layer
    assert layer.codebook.requires_grad
    before = layer.codebook.detach().clone()
    layer(batches(seeded)[0])
    assert not torch.equal(before, layer.codebook)
