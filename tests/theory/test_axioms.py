"""The axioms of rounding hold on this machine: exhaustively for short operands, else at random."""

import ctypes
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from certvq.theory import AXIOMS, _narrow
from certvq.theory._evaluate import evaluate
from certvq.theory._kernel import TREE
from certvq.theory._narrow import (
    ACCUMULATES,
    BEGINS,
    ERRORS,
    U32,
    W32,
    accumulates,
    begins,
    ordinary,
    ordinary_pair,
    tensor_core_errs_little,
)
from certvq.theory._operators import NAT, REAL
from certvq.theory._rounding import computed as computed_at
from certvq.theory._rounding import product_rounds, sum_rounds
from certvq.theory._terms import leaf, node, variables

ROUNDOFF = {np.float32: Fraction(1, 2**24), np.float64: Fraction(1, 2**53)}
UNDERFLOW = {np.float32: Fraction(1, 2**150), np.float64: Fraction(1, 2**1075)}


def numpy_product(x, y):
    return x @ y


def torch_product(x, y):
    return (torch.from_numpy(x) @ torch.from_numpy(y)).numpy()


PRODUCTS = pytest.mark.parametrize("product", [numpy_product, torch_product])
WIDE = pytest.mark.parametrize("wide", [np.float32, np.float64])


OF_EXP = {"ax_exp_add", "ax_exp_tangent", "ax_exp_tanh"}


def test_axioms_are_those_that_are_tested_or_say_that_they_are_not():
    """Here, and those of functions in test_function_axioms."""
    tested = {"ax_ieee754_product", "ax_ieee754_sum", "ax_narrow_product_exact", "ax_vdpbf16ps"}
    tested |= {*OF_EXP, "ax_exp_eleven", "ax_sine", "ax_normal_cdf"}
    assert set(AXIOMS) == tested | {"ax_tensor_core_accumulate"}
    assert not [name for name in tested if "Not tested" in AXIOMS[name].source]


def test_no_proof_assumes_an_axiom():
    """An axiom is true of one machine or function; no theorem is about that one alone.

    So an axiom may stand among the hypotheses of a theorem, for any functions, but is not taken for
    one. (If it were, the kernel would let nobody replace the functions that it speaks of.)
    """
    files = Path(_narrow.__file__).parent.glob("*.py")
    assert [file.name for file in files if "assume(" in file.read_text()] == ["_kernel.py"]


def test_the_axioms_have_a_model_in_common():
    """Of machines where all products are 0, of functions at 0: they prove nothing false.

    The exponential has another value at 12/5, of which one axiom speaks.
    """
    zero = dict.fromkeys(("x", "y", "computed", "delta", "eta"), lambda _: Fraction(0))
    first, second = ("leaf", 0), ("leaf", 1)
    trees, starts = (first, second, ("node", first, second)), (Fraction(0), Fraction(-3))
    model = {**zero, "tensorcore": lambda start, _: start, "nats": 3}
    model |= {"exp": lambda x: Fraction(11 if x else 1), "sin": lambda _: Fraction(0)}
    model |= {"normalcdf": lambda _: Fraction(1, 2)}
    of_functions = {*OF_EXP, "ax_sine", "ax_normal_cdf"}
    for name, axiom in AXIOMS.items():
        everything = starts if name == "ax_tensor_core_accumulate" else trees
        everything = (Fraction(0),) if name in of_functions else everything
        assert evaluate(axiom.formula, {**model, "trees": everything}) is True


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
@pytest.mark.rows("dim", [1, 7, 64, 300])
@pytest.mark.rows("exponent", [-0.51, 0.0])
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


# ---- VDPBF16PS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vdpbf16ps(tmp_path_factory):
    """The processor's own instruction on arrays; a missing compiler is a failure."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists() or "avx512_bf16" not in cpuinfo.read_text().split():
        pytest.skip("the processor has no VDPBF16PS")
    source = Path(__file__).with_name("vdpbf16ps.c")
    built = tmp_path_factory.mktemp("vdpbf16ps") / "vdpbf16ps.so"
    flags = ["-O2", "-Wall", "-Werror", "-mavx512f", "-mavx512bf16", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(source), "-o", str(built)], check=True)
    function = ctypes.CDLL(str(built)).vdpbf16ps
    function.restype = None

    def run(sums, high, low):
        """Add to `sums` the products of two pairs of arrays of bit patterns of bfloat16."""
        halves = zip(high, low, strict=True)
        packed = [(h.astype(np.uint32) << 16) | lo.astype(np.uint32) for h, lo in halves]
        out = np.full(sums.shape, np.nan, np.float32)
        assert sums.dtype == np.float32
        assert sums.size % 16 == 0
        arrays = (np.ascontiguousarray(sums), *packed, out)
        assert {a.shape for a in arrays} == {sums.shape}
        function(ctypes.c_int64(sums.size), *(a.ctypes.data_as(ctypes.c_void_p) for a in arrays))
        return out

    return run


def values(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def all_significands(exponent, others):
    """Bit patterns: all pairs of significands, one number with each of the exponents `others`."""
    exponents, left, right = np.meshgrid(others, np.arange(128), np.arange(128), indexing="ij")
    signs = (left + right) % 2
    return (exponents << 7 | left).ravel(), (signs << 15 | exponent << 7 | right).ravel()


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("exponent", [1, 63, 64, 127, 190, 254])
def test_vdpbf16ps_returns_one_product_exactly_or_flushes_it(vdpbf16ps, exponent, upper):
    """All pairs of significands, with every exponent of one factor; the other product is 0."""
    left, right = all_significands(exponent, np.arange(1, 255))
    none = np.zeros_like(left), np.zeros_like(left)
    pairs = ((left, right), none) if upper else (none, (left, right))
    computed = vdpbf16ps(np.zeros(left.size, np.float32), *pairs).astype(np.float64)
    exact = values(left) * values(right)  # 16 significant bits: exact in float64
    small, finite = np.abs(exact) < 2.0**-126, np.abs(exact) < 2.0**128
    assert (finite & ~small).any()
    assert np.array_equal(computed[finite], np.where(small, 0, exact)[finite])


@pytest.mark.parametrize("upper", [True, False])
def test_vdpbf16ps_adds_one_product_with_one_rounding(vdpbf16ps, rng, upper):
    """All pairs of significands, with accumulators from 2^-24 to 2^24 times the product."""
    shifts = np.arange(-24, 25)
    left, right = all_significands(127, np.full(shifts.size, 127))
    scale = np.exp2(np.repeat(shifts, 128 * 128) - 23)
    sums = (rng.integers(-(2**24) + 1, 2**24, left.size) * scale).astype(np.float32)
    none = np.zeros_like(left), np.zeros_like(left)
    pairs = ((left, right), none) if upper else (none, (left, right))
    exact = sums.astype(np.float64) + values(left) * values(right)  # 49 bits: exact in float64
    assert np.array_equal(vdpbf16ps(sums, *pairs), exact.astype(np.float32))


def flushed_step(total):
    """Round to 24 significant bits, to nearest and even, and flush what is then subnormal."""
    if total == 0:
        return total
    size = abs(total)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > size
    unit = Fraction(2) ** (exponent - 23)
    rounded = round(total / unit) * unit  # Python rounds a tie to even
    return rounded if abs(rounded) >= W32 else Fraction(0)


def random_bfloat16(rng, size, exponents):
    signs, fractions = rng.integers(0, 2, size), rng.integers(0, 128, size)
    return signs << 15 | rng.integers(*exponents, size) << 7 | fractions


def random_instructions(rng, size, exponents):
    """Accumulators and pairs; half of the accumulators nearly cancel the first product."""
    left, right, left2, right2 = (random_bfloat16(rng, size, exponents) for _ in range(4))
    product = values(left) * values(right)
    near = -product * (1 + rng.integers(-3, 4, size) * 2.0**-23)
    away = values(random_bfloat16(rng, size, exponents)) * rng.standard_normal(size)
    sums = np.where(rng.integers(0, 2, size) == 1, near, away)
    sums[np.abs(sums) < 2.0**-126] = 0  # ordinary numbers only, as the axiom says
    return sums.astype(np.float32), (left, right), (left2, right2)


EXPONENTS = pytest.mark.parametrize("exponents", [(120, 134), (40, 190), (50, 76)])


@EXPONENTS
def test_vdpbf16ps_adds_the_upper_product_first_and_rounds_twice(vdpbf16ps, rng, exponents):
    """Random pairs, with cancellation and, at the least exponents, underflow of every result."""
    sums, high, low = random_instructions(rng, 4096, exponents)
    computed = vdpbf16ps(sums, high, low)
    starts, results = ([Fraction(v) for v in column.tolist()] for column in (sums, computed))
    products = [
        [Fraction(a) * Fraction(b) for a, b in zip(*map(list, map(values, pair)), strict=True)]
        for pair in (high, low)
    ]
    orders = {"upper first": 0, "lower first": 0, "once": 0}
    for start, upper, lower, result in zip(starts, *products, results, strict=True):
        orders["upper first"] += result == flushed_step(flushed_step(start + upper) + lower)
        orders["lower first"] += result == flushed_step(flushed_step(start + lower) + upper)
        orders["once"] += result == flushed_step(start + upper + lower)
    assert orders["upper first"] == 4096
    assert max(orders["lower first"], orders["once"]) < 4096  # so the test can tell them apart


def error_terms(exact, result):
    """The delta and the eta of a rounded value."""
    if result == 0:
        return Fraction(0), -exact
    return (result - exact) / exact if exact else Fraction(0), Fraction(0)


@EXPONENTS
def test_the_formula_of_ax_vdpbf16ps_is_true_of_what_the_processor_computes(
    vdpbf16ps, rng, exponents
):
    sums, high, low = random_instructions(rng, 256, exponents)
    none = np.zeros_like(high[0]), np.zeros_like(high[0])
    ran = [vdpbf16ps(*args) for args in ((sums, high, none), (sums, high, low))]
    ran.append(vdpbf16ps(np.zeros_like(sums), high, none))
    (s,), (k,) = variables(TREE, "s"), variables(NAT, "k")
    held, first, alone = ("leaf", 9), ("node", ("leaf", 9), ("leaf", 1)), ("leaf", 1)
    both = ("node", first, ("leaf", 0))
    for i in range(sums.size):
        factors = [[Fraction(values(pair[side])[i]) for pair in (low, high)] for side in (0, 1)]
        lower, upper = (factors[0][j] * factors[1][j] for j in (0, 1))
        results = [Fraction(column[i].item()) for column in (sums, *ran)]
        of = dict(zip((held, first, both, alone), results, strict=True))
        exact = {first: of[held] + upper, both: of[first] + lower, alone: upper}
        deltas, etas = ({t: error_terms(v, of[t])[j] for t, v in exact.items()} for j in (0, 1))
        assert max(map(abs, deltas.values())) <= U32
        assert max(map(abs, etas.values())) <= W32
        given = {
            "x": factors[0].__getitem__,
            "y": factors[1].__getitem__,
            "computed": of.__getitem__,
            "delta": deltas.__getitem__,
            "eta": etas.__getitem__,
            "s": held,
        }
        assert evaluate(accumulates(s, k), {**given, "k": 0}) is True
        assert evaluate(begins(k), {**given, "k": 1}) is True


def test_vdpbf16ps_takes_subnormal_operands_for_zero(vdpbf16ps):
    """Which is why the axiom speaks of none: what is lost may be far more than 2^-126."""
    subnormal, great, zero = (np.full(16, bits) for bits in (0x0040, 0x7F00, 0))
    assert values(subnormal)[0] == 2.0**-127
    assert values(great)[0] == 2.0**127
    none = (zero, zero)
    for high, low in (((subnormal, great), none), (none, (great, subnormal))):
        assert not vdpbf16ps(np.zeros(16, np.float32), high, low).any()
    assert not vdpbf16ps(np.full(16, 2.0**-127, np.float32), none, none).any()


@pytest.mark.solver
def test_vdpbf16ps_computes_as_dot_rounding_error_le_takes_for_granted(proof):
    """From the formula of the axiom, as a hypothesis: first product and both sums are rounded."""
    (s,), (k,) = variables(TREE, "s"), variables(NAT, "k")
    high, low = k + k + 1, k + k
    first = node(s, leaf(high))
    ready = ordinary_pair(high) & ordinary_pair(low)
    at_s = proof.at(ACCUMULATES, s)
    facts = [at_s, proof.at(at_s.formula.args[1], k), proof.at(BEGINS, high)]
    sums = sum_rounds(s, leaf(high)) & sum_rounds(first, leaf(low))
    goal = product_rounds(high) & (ordinary(computed_at(s)) >> sums)
    assert AXIOMS["ax_vdpbf16ps"].formula == ERRORS & BEGINS & ACCUMULATES
    proof.smt((BEGINS & ACCUMULATES & ready) >> goal, *facts)


# ---- tensor cores: no device, so nothing but the text and the derivation is tested -------------


def test_ax_tensor_core_accumulate_is_recorded_as_untested():
    assert (
        "Not tested on hardware here: no such device." in AXIOMS["ax_tensor_core_accumulate"].source
    )
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()
    assumed, tested = (
        " ".join(re.split(r"^## ", page.split(title)[1], flags=re.MULTILINE)[0].split())
        for title in ("## Assumed", "## Tested")
    )
    assert "`ax_tensor_core_accumulate`" in assumed
    assert "has not been tested on hardware here" in assumed
    assert "ax_tensor_core_accumulate" in tested.split("**Not tested:**")[1]


def truncated(value, bits, top):
    """Cut a value off, towards zero, `bits` places below the leading bit of `top`."""
    if top == 0:
        return Fraction(0)
    size = abs(top)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > size
    unit = Fraction(2) ** (exponent - bits)
    return int(value / unit) * unit


def modelled_step(start, products, bits):
    """One step as Fasi et al. and Xie et al. found it: align, cut off, add, cut off to float32."""
    top = max((start, *products), key=abs)
    total = sum(truncated(addend, bits, top) for addend in (start, *products))
    return truncated(total, 23, total)


def modelled(start, products, width, bits):
    """One instruction, `width` products at a time; each step errs by what the axiom's text says."""
    for at in range(0, len(products), width):
        addends = products[at : at + width]
        stepped = modelled_step(start, addends, bits)
        error = abs(stepped - start - sum(addends))
        assert error <= width * Fraction(1, 2**bits) * max(map(abs, (start, *addends))) + abs(
            stepped
        ) * Fraction(1, 2**23)
        start = stepped
    return start


def share(start, products, made):
    """Return the error over what the axiom allows, short of flushing."""
    error = abs(made - start - sum(products))
    magnitude = abs(start) + sum(map(abs, products))
    return error / ((len(products) + 1) * Fraction(1, 2**23) * magnitude)


@pytest.mark.parametrize(("width", "bits"), [(8, 24), (16, 25)])
@pytest.mark.parametrize("cancelling", [True, False])
def test_the_bound_for_tensor_cores_holds_of_the_arithmetic_that_was_measured(
    rng, width, bits, cancelling
):
    (start,), (m,) = variables(REAL, "start"), variables(NAT, "m")
    statement = tensor_core_errs_little(start, m)
    for _ in range(50):
        numbers = rng.standard_normal((2, 16)) * np.exp2(rng.uniform(-8, 8, (2, 16)))
        x, y = ([Fraction(float(v)) for v in row] for row in numbers.astype(np.float16))
        products = [a * b for a, b in zip(x, y, strict=True)]
        first = Fraction(float(np.float32(-sum(products) if cancelling else rng.normal())))
        made = modelled(first, products, width, bits)
        given = {"start": first, "m": 16, "x": x.__getitem__, "y": y.__getitem__}
        given["tensorcore"] = lambda *_, made=made: made
        assert evaluate(statement, given) is True


def test_half_the_bound_for_tensor_cores_would_be_too_little():
    """One great addend, products just below the last place kept, and one of each eight above it."""
    product = Fraction(2047, 2**11) * Fraction(1, 2**24)
    products = [product * (2 if k % 8 == 0 else 1) for k in range(16)]
    made = modelled(Fraction(1), products, width=8, bits=24)
    assert 0.529 < share(Fraction(1), products, made) < 1
