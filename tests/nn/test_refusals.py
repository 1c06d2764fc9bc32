"""A later level that refuses, or a user's own part that raises, leaves no level changed."""

import functools
from dataclasses import dataclass

import pytest
import torch

from certvq.errors import FloatEnvironmentError, NonFiniteError
from certvq.nn import (
    EachLevel,
    Gumbel,
    LevelDropout,
    Online,
    ProductQuantize,
    Residual,
    Revive,
    Scaled,
    StraightThrough,
    VectorQuantize,
)

ADAM = functools.partial(torch.optim.Adam, lr=0.1)


@dataclass(frozen=True)
class Refuses(StraightThrough):
    """An estimator of the user's own that finds something wrong, on demand."""

    wrong: list

    def estimate(self, latents, codebook, codes, generator):
        if self.wrong:
            raise FloatEnvironmentError
        return super().estimate(latents, codebook, codes, generator)


class Stumbles(torch.optim.Adam):
    """An optimiser that fails after it has moved what it optimises, from the second step on."""

    def step(self, closure=None):
        result = super().step(closure)
        (vectors,) = self.param_groups[0]["params"]
        if self.state[vectors]["step"] > 1:
            text = "the disk is full"
            raise OSError(text)
        return result


def batch(seeded, seed):
    return torch.randn(2, 16, 4, generator=seeded(seed))


def levels_of(seeded, wrong, **options):
    first = VectorQuantize(4, 6, update=Online(ADAM), revive=Revive(0.9), generator=seeded(1))
    drawn = VectorQuantize(4, 6, estimator=Gumbel(), generator=seeded(2))
    last = VectorQuantize(4, 6, estimator=Refuses(wrong), generator=seeded(3))
    return Residual([first, drawn, last], generator=seeded(4), **options)


def product_of(seeded, wrong):
    halves = [
        VectorQuantize(2, 6, update=Online(ADAM), generator=seeded(1)),
        VectorQuantize(2, 6, estimator=Refuses(wrong), generator=seeded(2)),
    ]
    return ProductQuantize(halves)


MAKERS = {
    "residual": levels_of,
    "each-level": functools.partial(levels_of, estimator=EachLevel(0.5)),
    "dropout": functools.partial(levels_of, dropout=LevelDropout(min_levels=3)),
    "product": product_of,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_later_part_that_refuses_undoes_the_earlier_ones(
    make, steps, seeded, snapshot, unchanged
):
    """Buffers, the inner optimiser and generators: training goes on as if nothing had come."""
    wrong = []
    layer, twin = make(seeded, wrong), make(seeded, [])
    for step in range(steps):
        layer(batch(seeded, step))
        twin(batch(seeded, step))
    before = snapshot(layer)
    wrong.append("now")
    with pytest.raises(FloatEnvironmentError):
        layer(batch(seeded, 99))
    assert unchanged(layer, before)
    wrong.clear()
    for step in range(5, 8):
        ours, theirs = layer(batch(seeded, step)), twin(batch(seeded, step))
        assert torch.equal(ours.codes, theirs.codes)
    assert unchanged(layer, snapshot(twin))


@pytest.mark.parametrize("immediate", [False, True])
def test_an_inner_optimiser_that_raises_undoes_its_step(immediate, seeded, snapshot, unchanged):
    update = Online(functools.partial(Stumbles, lr=0.1), immediate=immediate)
    part = VectorQuantize(4, 6, update=update, generator=seeded())
    layer = Residual([VectorQuantize(4, 6, generator=seeded(1)), part])
    steps = 1 if immediate else 2
    for step in range(steps):
        layer(batch(seeded, step))
    before = snapshot(layer)
    with pytest.raises(OSError, match="disk is full"):
        layer(batch(seeded, steps))
    assert unchanged(layer, before)
    assert part.inner_optimizer.vectors.grad is None
    if not immediate:
        with pytest.raises(OSError, match="disk is full"):
            part.eval().settle()
        assert unchanged(layer, before)


@pytest.mark.parametrize("scale", [1e-39, 1e-30, 3e38])
def test_scales_near_underflow_and_overflow_refuse_before_they_learn(
    scale, seeded, snapshot, unchanged
):
    """What a level is given may be far from overflow, and what its part is given not."""
    parts = [VectorQuantize(4, 6, generator=seeded(seed)) for seed in range(3)]
    layer = Residual([parts[0], Scaled(parts[1], scale), parts[2]])
    before = snapshot(layer)
    latents = 1e9 * batch(seeded, 0)
    if scale > 1.0:
        layer(latents)  # what is left over is divided by it, and vectors are multiplied by it
        assert all(part.codebook.isfinite().all() for part in parts)
        return
    with pytest.raises(NonFiniteError, match="level 1 of 3: latents"):
        layer(latents)
    assert unchanged(layer, before)
