"""Vector quantizers for test_contract.py: each way to learn, start, revive and estimate."""

from certvq.nn import EMA, Gradient, Uniform, VectorQuantize


def vector(**fixed):
    return lambda **options: VectorQuantize(4, 6, **fixed, **options)


CASES = [
    ("vector", vector()),
    ("vector-gradient", vector(update=Gradient())),
    ("vector-uniform", vector(start=Uniform(), revive=None)),
    ("vector-fast", vector(update=EMA(decay=0.0))),
]
