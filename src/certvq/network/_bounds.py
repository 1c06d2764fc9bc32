"""The constants of the error bounds of networks, each with its theorem or axiom.

In: sizes and computed bounds. Out: bounds rounded outward. Theorems are those of part E
(docs/canonical.md); axioms are the statements of libraries about their own functions.
"""

import math
from functools import cache
from typing import Final

import torch

from certvq.bounds import UNIT_ROUNDOFF, gamma
from certvq.network._wide import WIDE_LIBRARY_ERROR, Wide, nearest

FLOOR: Final = 2.0**-900
"""Added to each bound: more than underflow, flushed or not, can take from value or bound.

An operation that underflows errs by at most 2^-1022 times the number it is multiplied by, and
fewer than 2^40 of them meet in one result. Numbers above 2^80 are paid for by `NORM_FLOOR`, of
which the rounding bound takes 2^-53 times the number (`dot_rounding_error_le`)."""

NORM_FLOOR: Final = 2.0**-480
"""Added to each norm: the squares of smaller numbers may underflow, the root of what is lost is
less."""

LIBRARY_ERROR: Final = 8.0 * UNIT_ROUNDOFF
"""Largest relative error of exp, expm1, log, log1p, tanh, erf, sin and cos in float64: 4 units in
the last place.

Axioms `ax_exp`, `ax_expm1`, `ax_log`, `ax_tanh`, `ax_erf`, `ax_sin`. torch computes them by SLEEF,
and by the C library for the elements that do not fill a register. A margin of ours, which tests
compare with python-flint; it is not taken from the documentation of either."""

LIPSCHITZ: Final = {
    "relu": 1.0,
    "tanh": 1.0,
    "sigmoid": 0.25,
    "silu": 1.1,
    "gelu": 1.13,
    "gelu_tanh": 1.13,
    "sin": 1.0,
    "cos": 1.0,
    "hardswish": 1.5,
    "softplus": 1.0,
    "mish": 1.09,
}
"""Upper bounds of the slopes: `relu_lipschitz`, `tanh_lipschitz`, `sigmoid_lipschitz`; the others
on paper, and balls test them. `gelu_lipschitz` proves 5/4.

With s the sigmoid, SiLU has the slope ``s + x s (1 - s)``, at most 11/10 (`silu_slope_le`). At -x
it is 1 less that at x, so that it is at least -1/10. GELU has the slope ``P(x) + x p(x)`` of the
normal distribution, which is greatest at the root of 2: 1.1289... The form with tanh has at most
1.1290. The maximum of mish is 1.0884."""


def library_error(value: torch.Tensor) -> float:
    """Bound the relative error of a function of one number, as what was computed has it."""
    return WIDE_LIBRARY_ERROR if isinstance(value, Wide) else LIBRARY_ERROR


@cache
def enlargement(roundings: int) -> float:
    """Return a factor that makes up for roundings of a computed bound.

    A bound of nonnegative terms that took n roundings is at least ``1 - gamma(n)`` of the exact
    one, and the product with the factor rounds once more (`dot_rounding_error_le`).

    Args:
        roundings: n, the most that meet in one term.

    Returns:
        ``1 + gamma(2 n + 4)``.
    """
    return 1.0 + gamma(2 * roundings + 4)


def norm_upper(values: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Bound Euclidean norms from above.

    Args:
        values: float64, or pairs, which differ from their first numbers by one more rounding.
        axes: those along which the squares are summed; they keep size 1.

    Returns:
        Bounds, infinite or NaN where the squares overflow.
    """
    terms = math.prod(values.shape[axis] for axis in axes)
    squares = nearest(values).square().sum(axes, keepdim=True)
    norms = squares.sqrt()  # vector_norm takes eight times as long
    return norms * enlargement(terms + 5) + NORM_FLOOR


def spectral_norm_upper(matrices: torch.Tensor) -> torch.Tensor:
    """Bound the greatest singular values of matrices from above.

    Mathematics: ``s^2`` is the greatest eigenvalue of the Gram matrix G, and that of a symmetric
    matrix is at most the ``2^k``-th root of the Frobenius norm of its ``2^k``-th power. A product
    errs by at most ``gamma(n) |A|_F |B|_F`` in the Frobenius norm, which is added on the way back.

    Args:
        matrices: (T, r, c) float64.

    Returns:
        (T,), at most some 7 % too large for ranks up to 64.
    """
    rows, columns = matrices.shape[1:]
    other = matrices.mT
    gram = matrices @ other if rows <= columns else other @ matrices
    squares = norm_upper(matrices, (1, 2)).flatten().square()
    slack = gamma(max(rows, columns) + 4) * squares
    eigenvalue = _greatest_eigenvalue_upper(_symmetric(gram))
    return (eigenvalue + slack).sqrt() * enlargement(8) + NORM_FLOOR


def absolute_norm_upper(matrices: torch.Tensor) -> torch.Tensor:
    """Bound the spectral norms of matrices of absolute values: ``sqrt(|A|_1 |A|_inf)``.

    Args:
        matrices: (T, r, c) float64 of any signs.

    Returns:
        (T,), close to the norm where the sums of rows, and those of columns, are alike.
    """
    sizes = matrices.abs()
    rows, columns = sizes.sum(2).amax(1), sizes.sum(1).amax(1)
    product = rows * enlargement(matrices.shape[2]) * columns * enlargement(matrices.shape[1])
    return product.sqrt() * enlargement(4) + NORM_FLOOR


_SQUARINGS = 5
"""A rank of r then adds a factor of at most ``r^(1/64)``. Chosen."""


def _greatest_eigenvalue_upper(matrices: torch.Tensor) -> torch.Tensor:
    size, trail = matrices.shape[1], []
    for _ in range(_SQUARINGS):
        norm = norm_upper(matrices, (1, 2))
        power = norm / torch.frexp(norm).mantissa  # of two, so that scaling is exact
        matrices = matrices / power
        trail.append((power.flatten(), gamma(size + 4) * (norm / power).flatten().square()))
        matrices = _symmetric(matrices @ matrices)
    eigenvalue = norm_upper(matrices, (1, 2)).flatten()
    for power, slack in reversed(trail):
        eigenvalue = (eigenvalue + slack + FLOOR).sqrt() * enlargement(6) * power
    return eigenvalue


def _symmetric(matrices: torch.Tensor) -> torch.Tensor:
    """Mirror the lower triangle; each entry stays within its own rounding error."""
    return matrices.tril() + matrices.tril(-1).mT
