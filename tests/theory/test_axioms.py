"""The axioms of rounding hold on this machine: exhaustively for short operands, else at random."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from certvq.theory import AXIOMS

ROUNDOFF = {np.float32: Fraction(1, 2**24), np.float64: Fraction(1, 2**53)}
UNDERFLOW = {np.float32: Fraction(1, 2**150), np.float64: Fraction(1, 2**1075)}


def numpy_product(x, y):
    return x @ y


def torch_product(x, y):
    return (torch.from_numpy(x) @ torch.from_numpy(y)).numpy()


PRODUCTS = pytest.mark.parametrize("product", [numpy_product, torch_product])
WIDE = pytest.mark.parametrize("wide", [np.float32, np.float64])


def test_axioms_are_those_that_are_tested_here():
    assert set(AXIOMS) == {"ax_ieee754_product", "ax_ieee754_sum", "ax_narrow_product_exact"}


@pytest.mark.parametrize("scales", [(-24, -24), (-24, 5), (0, 0), (5, 5)])
@WIDE
def test_products_of_float16_are_exact_for_all_pairs_of_significands(wide, scales):
    """All 2047^2 pairs, from the smallest subnormal numbers to the largest numbers."""
    significands = np.arange(1, 2048, dtype=np.int64)
    narrow = [np.ldexp(significands.astype(np.float64), s).astype(np.float16) for s in scales]
    for numbers, scale in zip(narrow, scales, strict=True):
        assert np.array_equal(np.ldexp(numbers.astype(np.float64), -scale), significands)
    left, right = (numbers.astype(wide) for numbers in narrow)
    products = np.ldexp(left[:, None] * right[None, :], -sum(scales)).astype(np.float64)
    assert np.array_equal(products, significands[:, None] * significands[None, :])


@pytest.mark.parametrize("right_exponent", [-133, -126, -63, -7, 0, 60, 120])
def test_products_of_bfloat16_are_exact_in_float32_or_underflow_as_the_axiom_says(right_exponent):
    """All pairs of significands, with every exponent of the left factor."""
    significands = np.arange(128, 256, dtype=np.float64)
    exponents = np.arange(-133, 121)
    left = np.ldexp(significands[None, :], exponents[:, None]).ravel()
    right = np.ldexp(significands, right_exponent)
    for wide_numbers in (left, right):
        bits = wide_numbers.astype(np.float32).view(np.uint32)
        assert not (bits & 0xFFFF).any()  # each is a bfloat16, the upper half of a float32
    exact = left[:, None] * right[None, :]  # 16 significant bits: exact in float64
    with np.errstate(over="ignore", under="ignore"):
        computed = left.astype(np.float32)[:, None] * right.astype(np.float32)[None, :]
    finite = exact < 2.0**128
    normal = finite & (exact >= 2.0**-126)
    assert normal.any()
    assert np.array_equal(computed[normal].astype(np.float64), exact[normal])
    small = exact < 2.0**-126
    assert (np.abs(computed[small].astype(np.float64) - exact[small]) <= 2.0**-150).all()


@PRODUCTS
@pytest.mark.parametrize("significand", [8, 11])
def test_two_terms_of_narrow_numbers_are_exact_in_float64(product, significand):
    """All pairs of significands of bfloat16 (8 bits) and float16 (11 bits), times two others."""
    numbers = np.arange(2 ** (significand - 1), 2**significand)
    left = np.stack([numbers, numbers[::-1]], axis=1)
    right = np.stack([numbers, np.full_like(numbers, numbers[-1])])
    computed = product(left.astype(np.float64), right.astype(np.float64))
    assert np.array_equal(computed, left @ right)


@PRODUCTS
def test_two_terms_of_float16_in_float32_err_by_one_rounding(product):
    """The products are exact, so that the sum alone is rounded: at most 2^-24 of its size."""
    numbers = np.arange(1024, 2048, dtype=np.int64)
    left = np.stack([numbers, numbers[::-1]], axis=1)
    right = np.stack([numbers, -numbers[::-1] - 3])
    exact = left @ right
    computed = product(left.astype(np.float32), right.astype(np.float32)).astype(np.float64)
    assert (np.abs(computed - exact) * 2.0**24 <= np.abs(exact)).all()


@WIDE
@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.3])
def test_sums_and_products_round_as_the_axioms_say(wide, exponent, rng):
    """Random numbers, some so small that their products underflow."""
    scale = exponent * np.finfo(wide).maxexp
    numbers = rng.standard_normal((2, 3000)) * np.exp2(scale + rng.uniform(-20, 20, (2, 3000)))
    left, right = numbers.astype(wide)
    u, w = ROUNDOFF[wide], UNDERFLOW[wide]
    with np.errstate(under="ignore"):
        products, sums = left * right, left + right
    columns = (values.tolist() for values in (left, right, products, sums))
    for a, b, product, total in zip(*columns, strict=True):
        exact = Fraction(a) * Fraction(b)
        assert abs(Fraction(product) - exact) <= u * abs(exact) + w
        whole = Fraction(a) + Fraction(b)
        assert abs(Fraction(total) - whole) <= u * abs(whole)


@PRODUCTS
@WIDE
@pytest.mark.parametrize("dim", [1, 7, 64, 300])
@pytest.mark.parametrize("exponent", [-0.51, 0.0])
def test_dot_products_are_within_the_bound_that_is_proved(product, wide, dim, exponent, rng):
    """gamma_m sum |x_k y_k| + m w (1 + gamma_m), in whatever order NumPy and torch add."""
    scale = np.exp2(exponent * np.finfo(wide).maxexp)
    left = (rng.standard_normal((6, dim)) * scale).astype(wide)
    right = (rng.standard_normal((dim, 6)) * scale).astype(wide)
    with np.errstate(under="ignore"):
        computed = product(left, right)
    gamma = dim * ROUNDOFF[wide] / (1 - dim * ROUNDOFF[wide])
    for row, column in np.ndindex(6, 6):
        terms = [
            Fraction(a) * Fraction(b)
            for a, b in zip(left[row].tolist(), right[:, column].tolist(), strict=True)
        ]
        bound = gamma * sum(map(abs, terms)) + dim * UNDERFLOW[wide] * (1 + gamma)
        assert abs(Fraction(computed[row, column].item()) - sum(terms)) <= bound
