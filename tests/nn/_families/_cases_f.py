"""Quantizers without a codebook for test_contract.py."""

from certvq.nn import FSQ, LFQ, Entropy, LatentQuantize, NoiseDropout


def grid(*levels, **fixed):
    return lambda **options: FSQ(levels, **fixed, **options)


def signs(**fixed):
    """Nothing about signs is random."""
    return lambda *, layout, generator: LFQ(4, layout=layout, **fixed)


def values(*levels, **fixed):
    return lambda *, layout, generator: LatentQuantize(levels, layout=layout, **fixed)


CASES = [
    ("fsq", grid(8, 5, 5, 3)),
    ("fsq-symmetric", grid(8, 2, 5, 3, preserve_symmetry=True)),
    ("fsq-clamp", grid(8, 5, 5, 3, hard_clamp=True)),
    (
        "fsq-noise",
        grid(4, 4, 4, 4, preserve_symmetry=True, noise=NoiseDropout()),
        ["noisy"],
    ),
    ("fsq-many", grid(64, 33, 4, 100)),
    ("lfq", signs()),
    ("lfq-spherical", signs(spherical=True, commitment_weight=0.25)),
    ("lfq-clamped", signs(scale=0.5, soft_clamp=2.0, entropy=Entropy(group_bits=3))),
    ("lfq-plain", signs(entropy=None)),
    ("latent", values(8, 5, 5, 3)),
    ("latent-fixed", values(8, 1, 40, 3, learn_values=False)),
]
