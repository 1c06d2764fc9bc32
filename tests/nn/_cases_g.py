"""Mapped codebooks, random projections, bits and perturbed scalars for test_contract.py."""

from certvq.nn import FSP, BinaryMapper, RandomProjectionQuantizer, ResidualSimVQ, SimVQ


def sim(**fixed):
    return lambda **options: SimVQ(4, 6, **fixed, **options)


def residual_sim(**options):
    return ResidualSimVQ(4, 6, num_quantizers=3, **options)


def projection(code_dim, **fixed):
    return lambda **options: RandomProjectionQuantizer(4, 6, code_dim, **fixed, **options)


def fsp(**fixed):
    return lambda **options: FSP([3, 4, 2, 7], **fixed, **options)


def mapper(**options):
    return BinaryMapper(4, **options)


CASES = [
    ("sim", sim()),
    ("sim-narrow", sim(code_dim=2)),
    ("residual-sim", residual_sim),
    ("projection", projection(4)),
    ("projection-two", projection(2, codebooks=2, normalize=False)),
    ("mapper", mapper, {"samples"}),
    ("fsp", fsp(), {"noisy"}),
    ("fsp-rounded", fsp(quantize_rate=1.0, moments=None)),
    ("fsp-inverted", fsp(invert=True, activation="normal"), {"noisy"}),
]
