"""Axioms on narrow arithmetic: instructions that add products of bfloat16 or float16 in float32.

Out: two axioms with their sources. No theorem uses them; at run time the Triton backend relies on
the second. The first has the form that `dot_rounding_error_le` takes. Imports the rounding model.
"""

from fractions import Fraction

from certvq.theory._distance import x, y
from certvq.theory._kernel import TREE, Term
from certvq.theory._ledger import assumes
from certvq.theory._operators import NAT, REAL
from certvq.theory._rounding import computed, delta, eta
from certvq.theory._terms import (
    Function,
    abs_le,
    absolute,
    conj,
    forall,
    forall_below,
    leaf,
    node,
    real,
    to_real,
    total,
)

U32, W32 = Fraction(1, 2**24), Fraction(1, 2**126)
"""Half a unit in the last place of float32, and its least normal number."""


def ordinary(value: Term) -> Term:
    """0, or of absolute value at least 2^-126: no subnormal number of float32 or bfloat16."""
    return value.eq(0) | (absolute(value) >= W32)


def ordinary_pair(k: Term) -> Term:
    """Both factors of a product are ordinary."""
    return ordinary(x(k)) & ordinary(y(k))


def flushed(place: Term, value: Term) -> Term:
    """What is computed at a place is value (1 + delta) + eta, and ordinary."""
    rounded = value * (1 + delta(place)) + eta(place)
    return computed(place).eq(rounded) & ordinary(computed(place))


def adds(s: Term, k: Term) -> Term:
    """A product is added to a partial sum without being rounded itself."""
    return flushed(node(s, leaf(k)), computed(s) + x(k) * y(k))


def low_product(s: Term, k: Term) -> Term:
    """After the product at place 2 k + 1, the instruction adds the one at place 2 k."""
    return adds(node(s, leaf(k + k + 1)), k + k)


def accumulates(s: Term, k: Term) -> Term:
    """One instruction adds the pair of products k to a partial sum, the higher place first."""
    given = conj(ordinary(computed(s)), ordinary_pair(k + k + 1), ordinary_pair(k + k))
    return given >> (adds(s, k + k + 1) & low_product(s, k))


def begins(k: Term) -> Term:
    """To an accumulator of 0 the first product is added as it is."""
    return ordinary_pair(k) >> flushed(leaf(k), x(k) * y(k))


ERRORS = forall(lambda t: abs_le(delta(t), real(U32)) & abs_le(eta(t), real(W32)), TREE)
BEGINS = forall(begins)
ACCUMULATES = forall(lambda s: forall(lambda k: accumulates(s, k)), TREE)
assumes(
    "ax_vdpbf16ps",
    conj(ERRORS, BEGINS, ACCUMULATES),
    "Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VDPBF16PS: to each "
    "float32 accumulator one instruction adds two products of bfloat16 numbers, first that of the "
    "upper halves, then that of the lower halves, each by a fused multiply-add that rounds to "
    "nearest even, takes subnormal operands for 0 and returns 0 for subnormal results, whatever "
    "MXCSR says. So each step is exact (1 + delta) + eta with abs(delta) <= 2^-24 and abs(eta) <= "
    "2^-126, short of overflow and of subnormal operands (a subnormal factor loses its whole "
    "product, which may be more than 2^-126). Tested where the processor has the instruction. "
    "Nothing at run time relies on it.",
)


tensor_core = Function("tensorcore", (REAL, NAT), REAL)
"""What one instruction makes of an accumulator and the first m products."""


def tensor_core_errs_little(start: Term, m: Term) -> Term:
    """The error of one instruction is at most (m + 1) (2^-23 of all magnitudes + 2^-126)."""
    exact = start + total(m, lambda k: x(k) * y(k))
    magnitude = absolute(start) + total(m, lambda k: absolute(x(k) * y(k)))
    bound = (to_real(m) + 1) * (Fraction(1, 2**23) * magnitude + W32)
    given = conj(m <= 16, ordinary(start), forall_below(m, ordinary_pair))
    return given >> abs_le(tensor_core(start, m) - exact, bound)


assumes(
    "ax_tensor_core_accumulate",
    forall(lambda start: forall(lambda m: tensor_core_errs_little(start, m)), REAL),
    "NVIDIA PTX ISA, mma and wgmma: products and sums have at least single precision; the order, "
    "the rounding and the handling of subnormal inputs are unspecified. So the bound rests on "
    "measurements of others: Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA "
    "tensor cores, PeerJ Computer Science 7:e330, 2021; Xie et al., MMA-Sim, arXiv 2511.10909, "
    "whose models agree with the devices bit for bit in their authors' tests. Products are exact; "
    "addends are aligned to the largest one and cut off 24 bits below its leading bit (compute "
    "capability 8.0 to 8.9, 8 products at a time) or 25 (9.0 and later, 16 at a time), and the "
    "sum is cut off to float32. So a step of n products errs by at most n 2^-24, or n 2^-25, of "
    "the largest magnitude and 2^-23 of its sum, and 16 products by at most 10 2^-23 of the sum "
    "of all magnitudes, of which 9 occur. Assumed is (m + 1) 2^-23 of it, 17 for 16 products, and "
    "besides (m + 1) 2^-126 for flushing; for m <= 16, short of overflow and of subnormal "
    "operands (of float32 or bfloat16). Not assumed of older devices, which the Triton backend "
    "refuses. Not tested on hardware here: no such device. The Triton backend relies on it "
    "(certvq.bounds.tensor_relative_error), and compares it with each device before the first "
    "use; `make gpu-test` compares it at length.",
)
