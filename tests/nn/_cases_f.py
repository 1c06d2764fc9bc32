"""Quantizers without a codebook for test_contract.py."""

from certvq.nn import (
    FSQ,
    LFQ,
    EachLevel,
    Entropy,
    GroupedResidualFSQ,
    GroupedResidualLFQ,
    LatentQuantize,
    NoiseDropout,
    ResidualFSQ,
    ResidualLFQ,
    Rotated,
    Scaled,
    VectorQuantize,
)


def grid(*levels, **fixed):
    return lambda **options: FSQ(levels, **fixed, **options)


def signs(**fixed):
    """Nothing about signs is random."""
    return lambda *, layout, generator: LFQ(4, layout=layout, **fixed)


def values(*levels, **fixed):
    return lambda *, layout, generator: LatentQuantize(levels, layout=layout, **fixed)


def scaled(*, layout, generator):
    part = VectorQuantize(4, 6, generator=generator)
    return Scaled(part, (0.5, 3.0, 1.0, 0.1), layout=layout)


def rotated(**options):
    return Rotated(FSQ((8, 5, 4, 3)), **options)


def residual_fsq(*args, **fixed):
    return lambda **options: ResidualFSQ((8, 5, 2, 3), *args, **fixed, **options)


CASES = [
    ("fsq", grid(8, 5, 5, 3)),
    ("fsq-symmetric", grid(8, 2, 5, 3, preserve_symmetry=True)),
    ("fsq-clamp", grid(8, 5, 5, 3, hard_clamp=True)),
    (
        "fsq-noise",
        grid(4, 4, 4, 4, preserve_symmetry=True, noise=NoiseDropout()),
        ["noisy"],
    ),
    ("fsq-many", grid(64, 33, 4, 200)),
    ("lfq", signs()),
    ("lfq-spherical", signs(spherical=True, commitment_weight=0.25)),
    ("lfq-clamped", signs(scale=0.5, soft_clamp=2.0, entropy=Entropy(group_bits=3))),
    ("lfq-plain", signs(entropy=None)),
    ("scaled", scaled),
    ("rotated", rotated),
    ("residual-fsq", residual_fsq(3)),
    ("residual-fsq-each", residual_fsq(2, estimator=EachLevel(), soft_clamp=False)),
    ("residual-lfq", lambda **options: ResidualLFQ(4, 3, commitment_weight=0.1, **options)),
    ("residual-lfq-spherical", lambda **options: ResidualLFQ(4, 2, spherical=True, **options)),
    ("grouped-residual-fsq", lambda **options: GroupedResidualFSQ((5, 4), 2, groups=2, **options)),
    ("grouped-residual-lfq", lambda **options: GroupedResidualLFQ(4, 2, groups=2, **options)),
    ("latent", values(8, 5, 5, 3)),
    ("latent-fixed", values(8, 1, 40, 3, learn_values=False)),
]
