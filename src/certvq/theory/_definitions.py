"""The definitions that the theorems speak of; `certvq.spec` computes the same ones.

In: terms, and vectors as functions of a Nat. Out: terms. A definition is an abbreviation, so it
assumes nothing. Each has an example, and `tests/theory` compares it with `certvq.spec`.
"""

from fractions import Fraction

from certvq.theory._kernel import Term
from certvq.theory._ledger import defines
from certvq.theory._operators import INT
from certvq.theory._terms import (
    Function,
    Vector,
    abs_le,
    conj,
    forall_below,
    integer,
    ite,
    nat,
    real,
    recursion,
    to_real,
    total,
)

LATENT, OBSERVATION = "Latent", "Observation"
"""Opaque sorts: what an encoder returns and a decoder takes, and what a decoder returns."""

latent_at = Function("latentat", (LATENT, "Nat"), "Real")
observation_at = Function("observationat", (OBSERVATION, "Nat"), "Real")
encoder = Function("encoder", (OBSERVATION,), LATENT)
decoder = Function("decoder", (LATENT,), OBSERVATION)
codebook = Function("codebook", ("Nat",), LATENT)


def zero(_: Term) -> Term:
    """The zero vector."""
    return real(0)


@defines("dot", "x . y = sum over k < n of x_k y_k", ((2, (1, 2), (3, 4)), 11))
def dot(n: Term, x: Vector, y: Vector) -> Term:
    return total(n, lambda k: x(k) * y(k))


@defines(
    "entries_within",
    "abs(x_k) <= bound for all k < n, of integers",
    ((2, (-3, 4), 3), False),
)
def entries_within(n: Term, x: Vector, bound: int) -> Term:
    return forall_below(n, lambda k: abs_le(x(k), integer(bound)))


@defines(
    "chosen_dot",
    "the sum of x_k y_k over the chosen k < n, of integers or reals",
    ((3, (True, False, True), (1, 2, 3), (4, 5, 6)), 22),
)
def chosen_dot(n: Term, chosen: Function, x: Vector, y: Vector) -> Term:
    sort = x(n).sort
    none = integer(0) if sort == INT else real(0)
    return total(n, lambda k: ite(chosen(k), x(k) * y(k), none), sort)


@defines("squared_l2", "d(x, y) = sum over k < n of (x_k - y_k)^2", ((2, (1, 2), (3, 5)), 13))
def squared_l2(n: Term, x: Vector, y: Vector) -> Term:
    return total(n, lambda k: (x(k) - y(k)) * (x(k) - y(k)))


@defines("mse", "d(x, y) / n", ((2, (1, 2), (3, 5)), Fraction(13, 2)))
def mse(n: Term, x: Vector, y: Vector) -> Term:
    return squared_l2(n, x, y) / to_real(n)


@defines(
    "is_nearest_code",
    "i < K, and d(z, C_i) <= d(z, C_j) for all j < K",
    ((2, 3, ((0, 0), (1, 1), (-1, Fraction(1, 2))), (1, Fraction(-1, 2)), 0), True),
)
def is_nearest_code(n: Term, size: Term, book: Function, z: Vector, i: Term) -> Term:
    def distance(j: Term) -> Term:
        return squared_l2(n, z, row(book, j))

    return (i < size) & forall_below(size, lambda j: distance(i) <= distance(j))


@defines(
    "is_lowest_nearest_code",
    "i is nearest, and no j < i is nearest",
    ((1, 3, ((5,), (1,), (1,)), (0,), 2), False),
)
def is_lowest_nearest_code(n: Term, size: Term, book: Function, z: Vector, i: Term) -> Term:
    lower = forall_below(i, lambda j: ~is_nearest_code(n, size, book, z, j))
    return is_nearest_code(n, size, book, z, i) & lower


@defines("score", "z . C_j - d(C_j, 0) / 2", ((2, ((0, 0), (3, 1)), (1, 2), 1), 0))
def score(n: Term, book: Function, z: Vector, j: Term) -> Term:
    return dot(n, z, row(book, j)) - Fraction(1, 2) * squared_l2(n, row(book, j), zero)


@defines(
    "argmin",
    "from left to right: the place held gives way to a strictly smaller value only",
    ((4, (3, 1, 2, 1)), 1),
)
def argmin(size: Term, values: Vector) -> Term:
    return recursion(size, nat(0), lambda k, held: ite(values(k) < values(held), k, held))


@defines("weighted_two_term", "base + w * regularizer", ((Fraction(1, 2), 3, 2), 4))
def weighted_two_term(weight: Term, base: Term, regularizer: Term) -> Term:
    return base + weight * regularizer


@defines("weighted_three_term", "base + middle + w * regularizer", ((Fraction(1, 2), 3, 1, 2), 5))
def weighted_three_term(weight: Term, base: Term, middle: Term, regularizer: Term) -> Term:
    return base + middle + weight * regularizer


@defines("quantized", "the code vector C_i", ((((0, 0), (1, 2)), 1), (1, 2)))
def quantized(book: Function, i: Term) -> Term:
    return book(i)


@defines(
    "forward",
    "decoder(C_i); the decoder of the example negates",
    ((lambda q: tuple(-entry for entry in q), ((0, 0), (1, 2)), 1), (-1, -2)),
)
def forward(decode: Function, book: Function, i: Term) -> Term:
    return decode(quantized(book, i))


def row(book: Function, j: Term) -> Vector:
    """The code vector of a codebook Nat x Nat -> Real as a function of the place."""
    return lambda k: book(j, k)


def same_entries(n: Term, x: Vector, y: Vector) -> Term:
    """x_k = y_k for all k < n."""
    return forall_below(n, lambda k: x(k).eq(y(k)))


def all_of(*formulas: Term) -> Term:
    """The conjunction."""
    return conj(*formulas)
