"""Two processes keep one state to the bit; where it is promised, that of one with all latents.

What is promised: counts are sums over processes, exactly; so are sums, means and variances but for
the order of their additions (float64, rounded to float32), which numbers of few bits do not feel.
What is not: k-means and revived codes look at the latents of the first process alone, so that one
process with the whole batch may start and revive otherwise.
"""

import functools

import pytest
import torch
from torch.utils._pytree import tree_leaves

from certvq.nn import (
    EMA,
    Affine,
    Gradient,
    KMeans,
    Online,
    ResidualVQ,
    Revive,
    Uniform,
    VectorQuantize,
)
from certvq.nn._torch.generators import without_generators

pytestmark = pytest.mark.slow

SGD = functools.partial(torch.optim.SGD, lr=0.5, momentum=0.5)
ADAM = functools.partial(torch.optim.Adam, lr=0.05)
FIXED = {"start": Uniform(1.0), "revive": None}
FAR = {"start": Uniform(9.0), "revive": Revive(0.9)}


def vector(**options):
    return lambda generator: VectorQuantize(2, 8, generator=generator, **options)


def residual(**options):
    return lambda generator: ResidualVQ(2, 8, num_quantizers=3, generator=generator, **options)


ONE_AS_WHOLE = {
    "ema": vector(**FIXED),
    "cosine": vector(metric="cosine", **FIXED),
    "affine": vector(update=EMA(affine=Affine()), **FIXED),
    "online": vector(update=Online(SGD), **FIXED),
    "online-immediate": vector(update=Online(ADAM, immediate=True), **FIXED),
    "affine-online": vector(update=Online(SGD, affine=Affine()), **FIXED),
    "shared": residual(shared=True, **FIXED),
    "residual": residual(**FIXED),
}
OF_THE_FIRST = {
    "revive": vector(**FAR),
    "revive-gradient": vector(update=Gradient(), **FAR),
    "revive-online": vector(update=Online(ADAM), **FAR),
    "kmeans": vector(start=KMeans(), revive=None),
    "shared-kmeans": residual(shared=True, revive=Revive(0.5)),
}


def batch(step, half):
    # Multiples of 1/8: sums of a few are exact in any order.
    seed = torch.Generator().manual_seed(10 * step + half)
    return torch.randn(1, 32, 2, generator=seed).mul_(8).round_().div_(8) + half


def flat(layer):
    state = without_generators(layer.state_dict())
    leaves = tree_leaves(state)  # those of inner optimisers, too
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def train_halves(rank, kind):
    """Return how far the state is from that of one process with all latents."""
    from pair import agree

    make = (ONE_AS_WHOLE | OF_THE_FIRST)[kind]
    # All start alike; then each process draws from a seed of its own.
    whole, layer = (make(torch.Generator().manual_seed(0)) for _ in range(2))
    for step in range(5):
        whole(torch.cat([batch(step, 0), batch(step, 1)], dim=1))
    yield
    for part in layer.modules():
        if isinstance(getattr(part, "generator", None), torch.Generator):
            part.generator.manual_seed(100 + rank)
    start = flat(layer)
    for step in range(5):
        layer(batch(step, rank))
        mine = agree(layer.state_dict(), f"{kind}: step {step}")
    assert not torch.equal(start, mine)
    return float((flat(whole) - mine).abs().max())


@pytest.mark.parametrize("kind", ONE_AS_WHOLE)
def test_two_processes_learn_what_one_does_from_both(kind, pair):
    assert pair.run(train_halves, kind) == [0.0, 0.0]


@pytest.mark.parametrize("kind", OF_THE_FIRST)
def test_two_processes_keep_the_choices_of_the_first(kind, pair):
    """One state all the same, and not that of one process, as documented."""
    first, second = pair.run(train_halves, kind)
    assert first == second > 0.0
