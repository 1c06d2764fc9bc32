"""Theorems of part D on structured codebooks: products, grids, hypercubes, unit vectors.

Codes are numbered in any way that gives each code a digit for each block or dimension; in Lean the
numbering is the usual one, with mixed radix. Out: entries of the ledger. Imports lemmas on sums and
nearest codes.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from certvq.theory._definitions import dot, is_nearest_code, row, squared_l2
from certvq.theory._distance import C, K, at, i, n, sum_le, z
from certvq.theory._instances import entries, instance, rows
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._nearest import expansion, near
from certvq.theory._operators import BOOL, NAT, REAL
from certvq.theory._products import norm_as_dot
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, Vector, forall_below, ite, nat, real, total, variables

B, q = variables(NAT, "B q")
a, b, s = variables(REAL, "a b s")
block_z = Function("z", (NAT, NAT), REAL)
block_book = Function("C", (NAT, NAT, NAT), REAL)
sizes, digit = Function("M", (NAT,), NAT), Function("digit", (NAT, NAT), NAT)
level, bit = Function("level", (NAT, NAT), REAL), Function("bit", (NAT, NAT), BOOL)


def numbered(places: Term) -> Term:
    """I is a code, and the digits of all codes are in range."""
    in_range = forall_below(places, lambda p: digit(q, p) < sizes(p))
    return (i < K) & forall_all_codes(in_range)


def forall_all_codes(body: Term) -> Term:
    """The body for every code q."""
    return Term("forall", ((q < K) >> body,), bound=(q,))


def block_distance(block: Term, index: Term) -> Term:
    """d(z, C_index) within a block."""
    selected = partial(block_book, block, index)
    return squared_l2(n, partial(block_z, block), selected)


def whole_distance(code: Term) -> Term:
    """The squared distance to the code vector that is put together of blocks."""
    return total(B, lambda block: block_distance(block, digit(code, block)))


def block_nearest(block: Term) -> Term:
    """The digit of i is nearest in a block."""
    chosen = digit(i, block)
    return forall_below(
        sizes(block), lambda k: block_distance(block, chosen) <= block_distance(block, k)
    )


def least(distance: Vector) -> Term:
    """I is a code of least distance."""
    return (i < K) & forall_below(K, lambda code: distance(i) <= distance(code))


PRODUCT = Statement(
    name="product_isNearestCode",
    part="D",
    meaning="Nearest in every block is nearest in the product codebook.",
    latex=r"(\forall b < B.\; \mathrm{Near}(C^b, z^b, i_b)) \;\Rightarrow\; \forall j.\; "
    r"\textstyle\sum_b d(z^b, C^b_{i_b}) \le \sum_b d(z^b, C^b_{j_b})",
    hypotheses=(("hi", numbered(B)), ("hblock", forall_below(B, block_nearest))),
    conclusion=least(whole_distance),
    relied_on_by=("certvq.nn.ProductQuantize", "certvq.nn.GroupedResidualVQ"),
)


def to_level(k: Term, index: Term) -> Term:
    """The squared distance of an entry to a level."""
    apart = z(k) - level(k, index)
    return apart * apart


def grid_distance(code: Term) -> Term:
    """The squared distance to the point of the grid with the levels of a code."""
    return squared_l2(n, z, lambda k: level(k, digit(code, k)))


def rounded(dims: Term) -> Term:
    """The level of i is nearest in each of the first dimensions."""
    return forall_below(
        dims,
        lambda k: forall_below(sizes(k), lambda m: to_level(k, digit(i, k)) <= to_level(k, m)),
    )


GRID = Statement(
    name="grid_round_isNearestCode",
    part="D",
    meaning="Rounding every entry to its nearest level gives the nearest point of the grid.",
    latex=r"(\forall k.\; (z_k - l_{k,i_k})^2 \le (z_k - l_{k,q})^2\; (q < M_k)) \;\Rightarrow\; "
    r"\forall j.\; d(z, l_i) \le d(z, l_j)",
    hypotheses=(("hi", numbered(n)), ("hround", rounded(n))),
    conclusion=least(grid_distance),
    relied_on_by=("certvq.nn.FSQ", "certvq.nn.LatentQuantize"),
)


def corner(code: Term, k: Term) -> Term:
    """S where the bit of the code is set, else -s."""
    return ite(bit(code, k), s, -s)


SIGN = Statement(
    name="sign_isNearestCode",
    part="D",
    meaning="The corner of the hypercube that has the signs of the latent is nearest; where the "
    "latent is 0 either sign will do.",
    latex=r"0 \le s,\; (b_k \Rightarrow 0 \le z_k),\; (\neg b_k \Rightarrow z_k \le 0) "
    r"\;\Rightarrow\; \mathrm{Near}(\{-s, s\}^n, z, b)",
    hypotheses=(
        ("hi", i < K),
        ("hs", real(0) <= s),
        ("hpos", forall_below(n, lambda k: bit(i, k) >> (real(0) <= z(k)))),
        ("hneg", forall_below(n, lambda k: (~bit(i, k)) >> (z(k) <= 0))),
    ),
    conclusion=is_nearest_code(n, K, corner, z, i),
    relied_on_by=("certvq.nn.LFQ",),
)


def greatest_product() -> Term:
    """No code has a greater dot product with the latent than i."""
    return forall_below(K, lambda k: dot(n, z, row(C, k)) <= dot(n, z, row(C, i)))


def norms_are(one: bool) -> Term:  # noqa: FBT001 (a mutant asks for norms of at most 1)
    """All code vectors have squared norm 1, or at most 1."""

    def norm(k: Term) -> Term:
        return dot(n, row(C, k), row(C, k))

    return forall_below(K, lambda k: norm(k).eq(1) if one else norm(k) <= 1)


COSINE = Statement(
    name="cosine_isNearestCode",
    part="D",
    meaning="Among code vectors of norm 1 a code is nearest just when its dot product with the "
    "latent is greatest.",
    latex=r"(\forall j.\; |C_j|^2 = 1) \;\Rightarrow\; (\mathrm{Near}(C, z, i) \Leftrightarrow "
    r"\forall j < K.\; z \cdot C_j \le z \cdot C_i)",
    hypotheses=(("hi", i < K), ("hunit", norms_are(one=True))),
    conclusion=near(i).eq(greatest_product()),
    relied_on_by=(
        "certvq.nn.VectorQuantize with metric='cosine', up to rounding of the norms",
        "certvq.canonical_codes of models that compare directions (DAC)",
    ),
)


def _blocks(unknowns: Any, codes: int = 2) -> Mapping[str, Any]:
    """Two blocks of dimension 1; code 1 has digit 1 in both, which may be out of range."""
    return {
        "B": 2,
        "n": 1,
        "K": 2,
        "i": 0,
        "M": lambda _: codes,
        "digit": lambda code, _: code,
        "z": rows(unknowns, "z", 2, 1),
        "C": lambda b, j, k: unknowns.real(f"C{b}_{j}_{k}"),
    }


def _levels(unknowns: Any, count: int = 2) -> Mapping[str, Any]:
    """Two dimensions; code 1 has level 1 in both, which may be out of range."""
    return {
        **instance(vectors="z", n=2, K=2, i=0)(unknowns),
        "M": lambda _: count,
        "digit": lambda code, _: code,
        "level": rows(unknowns, "level", 2, 2),
    }


def _bits(unknowns: Any) -> Mapping[str, Any]:
    """The corner 1 of dimension 1, and the corner -1."""
    held = {"s": unknowns.real("s"), "z": entries(unknowns, "z", 1), "n": 1, "K": 2, "i": 0}
    return {**held, "bit": lambda code, _: code == 0}


def _bits_turned(unknowns: Any) -> Mapping[str, Any]:
    return {**_bits(unknowns), "i": 1}


_two = instance(vectors="z", matrices="C", n=1, K=2, i=0, j=1)


@proves(
    PRODUCT,
    Mutant("without hblock", PRODUCT.without("hblock"), _blocks),
    Mutant("without hi", PRODUCT.without("hi"), lambda u: _blocks(u, 1)),
    Mutant(
        "nearest in the first block alone",
        PRODUCT.with_hypothesis("hblock", forall_below(nat(1), block_nearest)),
        _blocks,
    ),
    Mutant(
        "< for <=",
        PRODUCT.concluding(whole_distance(i) < whole_distance(nat(1))),
        _blocks,
    ),
)
def product(p: Proof) -> Theorem:
    sums = p.use(
        sum_le,
        n=B,
        f=lambda block: block_distance(block, digit(i, block)),
        g=lambda block: block_distance(block, digit(q, block)),
    )
    of_block = p.at(PRODUCT.hypothesis("hblock"), at)
    everywhere = of_block.formula.args[1].args[1]
    facts = [of_block, p.at(everywhere, digit(q, at))]
    return _least_by_sums(p, PRODUCT, sums, facts)


def _least_by_sums(p: Proof, statement: Statement, sums: Theorem, facts: list[Theorem]) -> Theorem:
    """Compare term by term, then the sums, for every code q."""
    given = statement.formula.args[0] & (q < K)
    numbering = p.at(statement.hypothesis("hi").args[1], q)
    digits = p.at(numbering.formula.args[1].args[1], at)
    body = p.at(sums.formula.args[0], at).formula.args[1]
    each = p.every(p.smt(given >> body, numbering, digits, *facts), at)
    below = sums.formula.args[1]
    one = p.smt(statement.formula.args[0] >> ((q < K) >> below), sums, each)
    return p.smt(statement.formula, p.every(one, q))


@proves(
    GRID,
    Mutant("without hround", GRID.without("hround"), _levels),
    Mutant("without hi", GRID.without("hi"), lambda u: _levels(u, 1)),
    Mutant(
        "rounded in the first dimension alone",
        GRID.with_hypothesis("hround", rounded(nat(1))),
        _levels,
    ),
)
def grid(p: Proof) -> Theorem:
    def term(code: Term) -> Vector:
        return lambda k: to_level(k, digit(code, k))

    sums = p.use(sum_le, f=term(i), g=term(q))
    rounds = p.at(GRID.hypothesis("hround"), at)
    everywhere = rounds.formula.args[1].args[1]
    return _least_by_sums(p, GRID, sums, [rounds, p.at(everywhere, digit(q, at))])


@proves(
    SIGN,
    Mutant("without hi", SIGN.without("hi"), lambda u: {**_bits(u), "K": 0}),
    Mutant("without hs", SIGN.without("hs"), _bits),
    Mutant("without hpos", SIGN.without("hpos"), _bits),
    Mutant("without hneg", SIGN.without("hneg"), _bits_turned),
    Mutant(
        "the signs turned",
        SIGN.with_hypothesis("hpos", forall_below(n, lambda k: bit(i, k) >> (z(k) <= 0))),
        _bits,
    ),
)
def sign_nearest(p: Proof) -> Theorem:
    def term(code: Term) -> Vector:
        return lambda k: (z(k) - corner(code, k)) * (z(k) - corner(code, k))

    sums = p.use(sum_le, f=term(i), g=term(q))
    given = SIGN.formula.args[0]
    body = p.at(sums.formula.args[0], at).formula.args[1]
    product_sign = p.smt(((real(0) <= a) & (real(0) <= b)) >> (real(0) <= a * b))
    facts = [
        p.at(SIGN.hypothesis("hpos"), at),
        p.at(SIGN.hypothesis("hneg"), at),
        p.use(product_sign, a=s, b=z(at)),
        p.use(product_sign, a=s, b=-z(at)),
    ]
    each = p.every(p.smt(given >> body, *facts), at)
    one = p.smt(given >> ((q < K) >> sums.formula.args[1]), sums, each)
    return p.smt(SIGN.formula, p.every(one, q))


@proves(
    COSINE,
    Mutant("without hunit", COSINE.without("hunit"), _two),
    Mutant(
        "without hi",
        COSINE.without("hi"),
        lambda u: {**instance(vectors="z", matrices="C", n=1, K=0)(u), "i": 0},
    ),
    Mutant("norm at most 1", COSINE.with_hypothesis("hunit", norms_are(one=False)), _two),
    Mutant(
        "the least product",
        COSINE.concluding(
            near(i).eq(forall_below(K, lambda k: dot(n, z, row(C, i)) <= dot(n, z, row(C, k))))
        ),
        _two,
    ),
)
def cosine(p: Proof) -> Theorem:
    unit = COSINE.hypothesis("hunit")
    left, right = COSINE.conclusion.args
    sums = [p.use(expansion, x=z, y=row(C, code)) for code in (i, at)]
    norms = [p.use(norm_as_dot, x=row(C, code)) for code in (i, at)]
    facts = [*sums, *norms, p.at(unit, i), p.at(unit, at)]
    inside = unit & (i < K)
    there = p.widen(left.args[1], right, *facts, given_too=inside)
    back = p.widen(right, left.args[1], *facts, given_too=inside)
    return p.smt(COSINE.formula, there, back)
