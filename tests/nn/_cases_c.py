"""Vector quantizers for test_contract.py: each way to learn, start, revive and estimate."""

import functools

import torch

from certvq.nn import (
    EMA,
    Affine,
    Diversity,
    Gradient,
    Gumbel,
    Heads,
    KMeans,
    Online,
    Orthogonal,
    Project,
    Reparam,
    Revive,
    RotationTrick,
    Uniform,
    VectorQuantize,
)

ADAM = functools.partial(torch.optim.Adam, lr=0.05)
SGD = functools.partial(torch.optim.SGD, lr=0.5, momentum=0.5)


def vector(**fixed):
    return lambda **options: VectorQuantize(4, 6, **fixed, **options)


def heads(**options):
    part = VectorQuantize(2, 6, generator=options.pop("generator"))
    return Heads(part, 2, **options)


def projected(norm, **fixed):
    def make(*, layout, generator):
        with torch.random.fork_rng():
            torch.manual_seed(generator.initial_seed() if generator else 0)
            part = VectorQuantize(3, 6, generator=generator, **fixed)
            return Project(part, 4, norm=norm, layout=layout)

    return make


def projected_heads(*, layout, generator):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part = Heads(VectorQuantize(3, 6, generator=generator), 2)
        return Project(part, 4, bias=False, layout=layout)


CASES = [
    ("heads", heads),
    ("project", projected(norm=False)),
    ("project-norm", projected(norm=True, metric="cosine")),
    ("project-heads", projected_heads),
    ("vector", vector()),
    ("vector-gradient", vector(update=Gradient(weight=0.5))),
    ("vector-uniform", vector(start=Uniform(bound=2.0), revive=None)),
    ("vector-fast", vector(update=EMA(decay=0.0))),
    ("vector-biased", vector(update=EMA(0.8, debias=False), revive=Revive(1.0, unit="tokens"))),
    ("vector-online", vector(update=Online(ADAM))),
    ("vector-online-immediate", vector(update=Online(SGD, immediate=True))),
    ("vector-cosine", vector(metric="cosine")),
    ("vector-cosine-gradient", vector(metric="cosine", update=Gradient())),
    ("vector-cosine-online", vector(metric="cosine", update=Online(SGD), start=Uniform())),
    ("vector-affine", vector(update=EMA(affine=Affine()))),
    ("vector-affine-gradient", vector(update=Gradient(affine=Affine()))),
    ("vector-affine-online", vector(update=Online(SGD, affine=Affine()))),
    ("vector-rotation", vector(estimator=RotationTrick())),
    ("vector-cosine-rotation", vector(metric="cosine", estimator=RotationTrick())),
    ("vector-gumbel", vector(estimator=Gumbel()), {"samples"}),
    ("vector-gumbel-soft", vector(estimator=Gumbel(soft=True), update=Gradient()), {"samples"}),
    (
        "vector-gumbel-cosine",
        vector(estimator=Gumbel(soft=True, cosine=True), metric="cosine"),
        {"samples"},
    ),
    ("vector-reparam", vector(estimator=Reparam(), update=Gradient(weight=0.0)), {"noisy"}),
    (
        "vector-regularized",
        vector(
            update=Gradient(),
            start=KMeans(iterations=2),
            regularizers=(Orthogonal(max_codes=4, active_only=True), Diversity()),
        ),
    ),
    ("vector-diverse", vector(metric="cosine", regularizers=(Diversity(temperature=1.0),))),
]
