"""The axiom of tensor cores against the hardware: sums of products whose exact value is known.

In Triton's interpreter the same tests run on float32 sums of the CPU; `make gpu-test` compiles them
and reports the greatest share of the bound that an error took.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch

from certvq import bounds
from certvq._triton import INTERPRETED
from certvq._triton._kernels import accumulate

from ._on import DEVICE, to_device

SIZE = 64
STEP, LEAST_NORMAL = Fraction(1, 2**23), Fraction(1, 2**126)


def random_numbers(rng, terms, spread):
    exponents = rng.integers(-spread, spread + 1, (SIZE, terms))
    return (rng.standard_normal((SIZE, terms)) * np.exp2(exponents)).astype(np.float16)


def cancelling(rng, terms):
    """Great products that cancel, and small ones that an aligned sum cuts off."""
    left = random_numbers(rng, terms, 3)
    left[:, ::2] = np.float16(2.0**10)
    right = random_numbers(rng, terms, 3)
    right[:, ::4] = np.float16(2.0**9)
    right[:, 2::4] = -np.float16(2.0**9)
    return left, right


def all_of_one_sign(rng, terms):
    """Every cut goes the same way, so that errors add up."""
    odd = rng.integers(512, 1024, (2, SIZE, terms)) * 2 + 1
    return tuple((numbers * 2.0**-10).astype(np.float16) for numbers in odd)


def one_great_one(rng, terms):
    left, right = all_of_one_sign(rng, terms)
    left[:, rng.integers(0, terms)] = np.float16(2.0**15)
    return left, right


def falling(_, terms):
    """Products fall by a factor of 2 from place to place, each with all its bits set."""
    powers = np.exp2(14.0 - np.arange(terms) % 24)
    left = np.tile(powers * (2 - 2.0**-10), (SIZE, 1)).astype(np.float16)
    return left, np.full((SIZE, terms), 2 - 2.0**-10, dtype=np.float16)


MAKERS = {
    "spread": lambda rng, terms: (random_numbers(rng, terms, 6), random_numbers(rng, terms, 6)),
    "cancelling": cancelling,
    "one sign": all_of_one_sign,
    "one great": one_great_one,
    "falling": falling,
}


def integers(numbers, bits):
    """Return floats times 2**bits as integers of Python; exact, for they are multiples."""
    scaled = np.ldexp(numbers.astype(np.float64), bits)
    return np.vectorize(int, otypes=[object])(scaled.astype(object))


def exact_sums(left, right, start):
    """Return exact values and magnitudes, in units of 2**-48: float16 are multiples of 2**-24."""
    a, b = (
        np.ldexp(x.astype(np.float64), 24).astype(np.int64).astype(object) for x in (left, right)
    )
    begin = np.ldexp(start.astype(np.float64), 48).astype(object)
    begin = np.vectorize(int, otypes=[object])(begin)
    return a @ b.T + begin, np.abs(a) @ np.abs(b.T) + np.abs(begin)


def worst_share(computed, exact, magnitude, factor):
    """Return the greatest ``error / (factor * magnitude)`` of all sums."""
    got = np.vectorize(int, otypes=[object])(
        np.ldexp(computed.astype(np.float64), 48).astype(object)
    )
    shares = [
        Fraction(abs(g - e)) / (factor * m + LEAST_NORMAL * 2**48)
        for g, e, m in zip(got.ravel(), exact.ravel(), magnitude.ravel(), strict=True)
    ]
    return max(shares)


def run(left, right, start):
    results = to_device(np.zeros((SIZE, SIZE), dtype=np.float32))
    terms = left.shape[1]
    given = (to_device(left), to_device(right), to_device(start))
    accumulate[(1,)](*given, results, TERMS=terms, CHUNK=min(terms, 64), SIZE=SIZE)
    return results.cpu().numpy()


def report(record_property, share):
    record_property("share of the bound", float(share))
    record_property("device", str(DEVICE) if INTERPRETED else torch.cuda.get_device_name(DEVICE))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("begin", [0.0, 1.0, 2.0**24, -(2.0**30)])
def test_one_instruction_errs_by_at_most_what_the_axiom_says(rng, record_property, maker, begin):
    left, right = MAKERS[maker](rng, 16)
    start = np.full((SIZE, SIZE), begin, dtype=np.float32)
    exact, magnitude = exact_sums(left, right, start)
    share = worst_share(run(left, right, start), exact, magnitude, 17 * STEP)
    report(record_property, share)
    assert share <= 1


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("terms", [64, 256, 1024])
def test_long_sums_err_by_at_most_the_bound_of_the_scan(rng, record_property, maker, terms):
    left, right = MAKERS[maker](rng, terms)
    start = np.zeros((SIZE, SIZE), dtype=np.float32)
    exact, magnitude = exact_sums(left, right, start)
    factor = Fraction(bounds.tensor_relative_error(terms, 0.0)) - 4 * Fraction(1, 2**24)
    share = worst_share(run(left, right, start), exact, magnitude, factor)
    report(record_property, share)
    assert share <= 1


def test_a_sum_that_is_off_by_more_is_found(rng):
    """The test can fail: 19 bits of a sum are not enough."""
    left, right = all_of_one_sign(rng, 16)
    start = np.full((SIZE, SIZE), 2.0**10, dtype=np.float32)
    exact, magnitude = exact_sums(left, right, start)
    coarse = run(left, right, start)
    coarse = (coarse.view(np.int32) & ~np.int32(0x1F)).view(np.float32)
    assert worst_share(coarse, exact, magnitude, 17 * STEP) > 1
