"""Theorems of part C on dot products: splitting operands, and integers of 8 and 16 bits.

Out: entries of the ledger, and the inequality of Cauchy and Schwarz. Imports lemmas on sums.
"""

from collections.abc import Callable

from certvq.theory._definitions import chosen_dot, dot, entries_within, squared_l2, zero
from certvq.theory._distance import n, sq_nonneg, x, y
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import BOOL, INT, NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    Vector,
    abs_le,
    absolute,
    forall_below,
    integer,
    ite,
    real,
    to_int,
    variables,
    vector,
)

a, b, A, B, P, Q, M, start = variables(REAL, "a b A B P Q M s")
z, c, zh, zr, ch, cr = (vector(name) for name in ("z", "c", "zh", "zr", "ch", "cr"))
chosen = Function("chosen", (NAT,), BOOL)
whole_x, whole_y = Function("x", (NAT,), INT), Function("y", (NAT,), INT)


def norm2(v: Vector) -> Term:
    """The squared norm."""
    return squared_l2(n, v, zero)


def squares(v: Vector) -> Term:
    """The squared norm as v . v."""
    return dot(n, v, v)


def norm_as_dot(p: Proof) -> Theorem:
    """d(x, 0) = x . x."""
    return p.induct(norm2(x).eq(squares(x)), n)


def cauchy_schwarz(p: Proof) -> Theorem:
    """(x . y)^2 <= (x . x)(y . y)."""
    xy, xx, yy = dot(n, x, y), squares(x), squares(y)

    def mixed(k: Term) -> Term:
        return b * x(k) - a * y(k)

    square = dot(n, mixed, mixed)
    spread = p.induct(square.eq(b * b * xx - 2 * a * b * xy + a * a * yy), n)
    positive = [
        p.induct(real(0) <= dot(n, v, v), n, p.use(sq_nonneg, a=v(n))) for v in (x, y, mixed)
    ]
    none = p.induct(
        yy.eq(0) >> xy.eq(0), n, positive[1], p.use(sq_nonneg, a=y(n)), p.get(zero_of_square)
    )
    at = {"a": xy, "b": yy}
    facts = [p.use(spread, **at), p.use(positive[2], **at), none, positive[0], positive[1]]
    form = p.smt(real(0) <= yy * (xx * yy - xy * xy), *facts)
    cancel = p.use(_cancel, a=yy, b=xx * yy - xy * xy)
    return p.smt(xy * xy <= xx * yy, form, cancel, none, positive[1])


def zero_of_square(p: Proof) -> Theorem:
    """y_n y_n <= 0 implies y_n = 0."""
    return p.smt((y(n) * y(n) <= 0) >> y(n).eq(0))


def _cancel(p: Proof) -> Theorem:
    """0 < a and 0 <= a b imply 0 <= b."""
    return p.smt(((real(0) < a) & (real(0) <= a * b)) >> (real(0) <= b))


def abs_le_of_sq_le(p: Proof) -> Theorem:
    """State that a a <= b b and 0 <= b imply abs a <= b."""
    return p.smt(((a * a <= b * b) & (real(0) <= b)) >> abs_le(a, b))


def dot_le_of_norms(p: Proof) -> Theorem:
    """State that x . x <= A A and y . y <= B B imply abs (x . y) <= A B."""
    xy, xx, yy = dot(n, x, y), squares(x), squares(y)
    given = (real(0) <= A) & (real(0) <= B) & (xx <= A * A) & (yy <= B * B)
    facts = [
        p.get(cauchy_schwarz),
        p.induct(real(0) <= xx, n, p.use(sq_nonneg, a=x(n))),
        p.use(mul_mono, a=xx, b=A * A, c=B * B),
        p.use(mul_mono, a=yy, b=B * B, c=xx),
        p.use(sq_nonneg, a=B),
        p.use(abs_le_of_sq_le, a=xy, b=A * B),
        p.smt(((real(0) <= A) & (real(0) <= B)) >> (real(0) <= A * B)),
    ]
    return p.smt(given >> abs_le(xy, A * B), *facts)


_SIGNS = (real(0) <= A) & (real(0) <= B) & (real(0) <= P) & (real(0) <= Q)
SPLIT = Statement(
    name="abs_dot_sub_split_le",
    part="C",
    meaning="Where latent and code vector are split into a part that is kept and a residual, the "
    "dot product of the kept parts errs by at most residual norm times norm, on either side.",
    latex=r"z = z_h + z_r,\; c = c_h + c_r,\; |z_r| \le A,\, |c| \le B,\, |z_h| \le P,\, "
    r"|c_r| \le Q \;\Rightarrow\; |z \cdot c - z_h \cdot c_h| \le A B + P Q",
    hypotheses=(
        ("hz", forall_below(n, lambda k: z(k).eq(zh(k) + zr(k)))),
        ("hc", forall_below(n, lambda k: c(k).eq(ch(k) + cr(k)))),
        ("hzh0", real(0) <= P),
        ("hzr0", real(0) <= A),
        ("hc0", real(0) <= B),
        ("hcr0", real(0) <= Q),
        ("hzh", squares(zh) <= P * P),
        ("hzr", squares(zr) <= A * A),
        ("hnc", squares(c) <= B * B),
        ("hcr", squares(cr) <= Q * Q),
    ),
    conclusion=abs_le(dot(n, z, c) - dot(n, zh, ch), A * B + P * Q),
    relied_on_by=("a filter with residuals of its own (none is built in yet)",),
)
_split = instance(reals="A B P Q", vectors="z c zh zr ch cr", n=1)


@proves(
    SPLIT,
    Mutant("without hz", SPLIT.without("hz"), _split),
    Mutant("without hc", SPLIT.without("hc"), _split),
    Mutant("without hzh0", SPLIT.without("hzh0"), _split),
    Mutant("without hzr0", SPLIT.without("hzr0"), _split),
    Mutant("without hc0", SPLIT.without("hc0"), _split),
    Mutant("without hcr0", SPLIT.without("hcr0"), _split),
    Mutant("without hzr", SPLIT.without("hzr"), _split),
    Mutant("without hnc", SPLIT.without("hnc"), _split),
    Mutant("without hzh", SPLIT.without("hzh"), _split),
    Mutant("without hcr", SPLIT.without("hcr"), _split),
    Mutant(
        "one side alone", SPLIT.concluding(abs_le(dot(n, z, c) - dot(n, zh, ch), A * B)), _split
    ),
    Mutant("< for <=", SPLIT.concluding(dot(n, z, c) - dot(n, zh, ch) < A * B + P * Q), _split),
)
def split(p: Proof) -> Theorem:
    hz, hc = SPLIT.hypothesis("hz"), SPLIT.hypothesis("hc")
    parts = dot(n, zr, c) + dot(n, zh, cr)
    identity = (dot(n, z, c) - dot(n, zh, ch)).eq(parts)
    shrink = [p.widen(p.shift(h, n), h) for h in (hz, hc)]
    seen = [p.at(p.shift(h, n), n) for h in (hz, hc)]
    exact = p.induct((hz & hc) >> identity, n, *shrink, *seen)
    bounds = [
        p.use(dot_le_of_norms, x=zr, y=c),
        p.use(dot_le_of_norms, x=zh, y=cr, A=P, B=Q),
    ]
    return p.smt(SPLIT.formula, exact, *bounds)


# ---- integers ---------------------------------------------------------------------------------

LIMIT = 131071
"""Greatest dimension for entries of absolute value at most 128: 128 * 128 * 131071 < 2^31."""


def small(v: Function, bound: int = 128) -> Term:
    """All entries lie within -bound .. bound."""
    return entries_within(n, v, bound)


def sum_of_chosen(end: Term) -> Term:
    """The sum of the chosen products among the first ones."""
    return chosen_dot(end, chosen, whole_x, whole_y)


INT8 = Statement(
    name="int8_dot_exact",
    part="C",
    meaning="With entries of absolute value at most 128 and at most 131071 terms the sum of no "
    "subset of the products leaves the range of a 32-bit integer, in whatever order and in however "
    "many accumulators they are added.",
    latex=r"n \le 131071,\; |x_k|, |y_k| \le 128 \;\Rightarrow\; "
    r"-2^{31} \le \textstyle\sum_{k \in S} x_k y_k \le 2^{31} - 1",
    hypotheses=(("hdim", n <= LIMIT), ("hx", small(whole_x)), ("hy", small(whole_y))),
    conclusion=(integer(-(2**31)) <= sum_of_chosen(n)) & (sum_of_chosen(n) <= 2**31 - 1),
)


def _ints(dim: int, wide_x: int = 128, wide_y: int = 128) -> Instance:
    """Vectors of one repeated entry, all products chosen."""
    values = {"n": dim, "x": lambda _: -wide_x, "y": lambda _: -wide_y, "chosen": lambda _: True}
    return lambda _: values


@proves(
    INT8,
    Mutant("n up to 131072", INT8.with_hypothesis("hdim", n <= LIMIT + 1), _ints(LIMIT + 1)),
    Mutant("without hdim", INT8.without("hdim"), _ints(LIMIT + 1)),
    Mutant("without hx", INT8.without("hx"), _ints(1, wide_x=2**24)),
    Mutant("without hy", INT8.without("hy"), _ints(1, wide_y=2**24)),
    Mutant(
        "entries of x up to 2^24",
        INT8.with_hypothesis("hx", small(whole_x, 2**24)),
        _ints(1, wide_x=2**24),
    ),
)
def int8(p: Proof) -> Theorem:
    given = small(whole_x) & small(whole_y)
    goal = given >> abs_le(sum_of_chosen(n), 16384 * to_int(n))
    i, j = variables(INT, "i j")
    both = abs_le(i, integer(128)) & abs_le(j, integer(128))
    bound = p.smt(both >> abs_le(i * j, integer(16384)))
    facts = [p.use(bound, i=whole_x(n), j=whole_y(n))]
    for entries_small in (small(whole_x), small(whole_y)):
        longer = p.shift(entries_small, n)
        facts += [p.at(longer, n), p.widen(longer, entries_small)]
    return p.smt(INT8.formula, p.induct(goal, n, *facts))


INT16 = Statement(
    name="int16_dot_exact",
    part="C",
    meaning="An accumulator that starts at s and adds the products of any subset of the places "
    "never exceeds M in absolute value, if M has room for the start and the product of upper "
    "bounds of the two norms. For integers and M = 2^31 - 1 no 32-bit accumulator overflows, in "
    "whatever order and in however many accumulators the products are added.",
    latex=r"0 \le A, B,\; |z| \le A,\, |c| \le B,\; |s| + A B \le M \;\Rightarrow\; "
    r"\Bigl|s + \textstyle\sum_{k \in S} z_k c_k\Bigr| \le M",
    hypotheses=(
        ("hz0", real(0) <= A),
        ("hc0", real(0) <= B),
        ("hz", squares(z) <= A * A),
        ("hc", squares(c) <= B * B),
        ("hroom", absolute(start) + A * B <= M),
    ),
    conclusion=abs_le(start + chosen_dot(n, chosen, z, c), M),
)


def _numbers(dim: int, taken: Callable[[int], bool]) -> Instance:
    """Unknown vectors, start and bounds; the places `taken` are chosen."""
    return instance(reals="s A B M", vectors="z c", n=dim, chosen=taken)


_all_of_one, _all_of_two = _numbers(1, lambda _: True), _numbers(2, lambda _: True)
_second = _numbers(2, lambda k: k == 1)


@proves(
    INT16,
    Mutant("without hz0", INT16.without("hz0"), _all_of_one),
    Mutant("without hc0", INT16.without("hc0"), _all_of_one),
    Mutant("without hz", INT16.without("hz"), _all_of_one),
    Mutant("without hc", INT16.without("hc"), _all_of_one),
    Mutant("without hroom", INT16.without("hroom"), _all_of_one),
    Mutant("no room for the start", INT16.with_hypothesis("hroom", A * B <= M), _second),
    Mutant(
        "room for the start with its sign",
        INT16.with_hypothesis("hroom", start + A * B <= M),
        _all_of_one,
    ),
    Mutant(
        "room for the sum itself, not for the norms",
        INT16.with_hypothesis("hroom", absolute(start + dot(n, z, c)) <= M),
        _second,
    ),
    Mutant(
        "A bounds the entries, not the norm",
        INT16.with_hypothesis("hz", forall_below(n, lambda k: z(k) * z(k) <= A * A)),
        _all_of_two,
    ),
    Mutant("< for <=", INT16.concluding(start + chosen_dot(n, chosen, z, c) < M), _all_of_one),
)
def int16(p: Proof) -> Theorem:
    def kept(k: Term) -> Term:
        return ite(chosen(k), z(k), real(0))

    as_dot = p.induct(chosen_dot(n, chosen, z, c).eq(dot(n, kept, c)), n)
    shorter = p.induct(squares(kept) <= squares(z), n, p.use(sq_nonneg, a=z(n)))
    return p.smt(INT16.formula, as_dot, shorter, p.use(dot_le_of_norms, x=kept, y=c))
