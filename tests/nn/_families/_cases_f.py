"""Quantizers without a codebook for test_contract.py."""

from certvq.nn import FSQ, NoiseDropout


def grid(*levels, **fixed):
    return lambda **options: FSQ(levels, **fixed, **options)


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
]
