"""The codes that are nearest to a latent.

In: a codebook and a latent of the code vectors' shape. Out: the truth of "this code is nearest",
the set of all nearest codes, the lowest of them, or the distances and scores that they follow
from. Must not import anything but the standard library and the private modules of the
specification.
"""

import math
from collections.abc import Sequence
from functools import reduce
from numbers import Rational, Real
from typing import Any

from certvq.errors import NonFiniteError, ShapeError
from certvq.spec._codebook import Codebook, quantize_at, require_code
from certvq.spec._metric import dot, squared_l2
from certvq.spec._tensor import Scalar, Tensor, divided, require_same_shape


def squared_distances(codebook: Codebook, z: Tensor) -> tuple[Scalar, ...]:
    """Return the squared distance of a latent to every code vector.

    The j-th value is squared_l2(z, C_j).

    Args:
        codebook: K code vectors.
        z: a latent of their shape.

    Returns:
        K squared distances, in the order of the codes.

    Raises:
        ShapeError: the latent and the code vectors differ in shape.
        NonFiniteError: a distance in floating point is NaN or infinite: the inputs are, or the
            square overflowed.
        DTypeError: an entry is a container other than a tuple or list.

    Guarantee: exact on `int` and `Fraction`. On floats each operation rounds, and what is nearest
    among the rounded distances need not be the nearest code: give `exact(...)` to decide that.

    Cost: O(K D).

    Example:
        >>> from certvq.spec import Codebook, squared_distances
        >>> squared_distances(Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5))), (1.0, -0.5))
        (1.25, 2.25, 5.0)
    """
    for vector in codebook.embedding[:1]:
        require_same_shape(z, vector, names=("the latent", "every code vector"))
    distances = tuple(squared_l2(z, vector) for vector in codebook.embedding)
    _require_finite(distances, "the squared distance to code")
    return distances


def nearest_code_conditions(codebook: Codebook, z: Tensor, idx: int) -> tuple[Any, ...]:
    """Return the K comparisons whose conjunction says that a code is nearest.

    The j-th is squared_l2(z, C_i) <= squared_l2(z, C_j), for i = idx and every j, i included.

    Args:
        codebook: K code vectors.
        z: a latent of their shape.
        idx: an integer in range(K).

    Returns:
        K values of type `bool`, or whatever the comparison of symbolic scalars gives, such as
        the formulas of a solver.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: the latent and the code vectors differ in shape.
        NonFiniteError: a distance in floating point is NaN or infinite.

    Cost: O(K D).

    Example:
        >>> from certvq.spec import Codebook, nearest_code_conditions
        >>> nearest_code_conditions(Codebook(((0, 0), (1, 1), (9, 9))), (2, 2), 1)
        (True, True, True)
        >>> nearest_code_conditions(Codebook(((0, 0), (1, 1), (9, 9))), (2, 2), 0)
        (True, False, True)
    """
    code = require_code(codebook, idx)
    distances = squared_distances(codebook, z)
    return tuple(distances[code] <= other for other in distances)


def is_nearest_code(codebook: Codebook, z: Tensor, idx: int) -> Any:
    """Say whether a code vector is nearest to a latent.

    IsNearestCode(C, z, i): for all j, squared_l2(z, C_i) <= squared_l2(z, C_j).

    Args:
        codebook: K code vectors.
        z: a latent of their shape.
        idx: an integer in range(K).

    Returns:
        A `bool` for numbers. For symbolic scalars the conjunction of `nearest_code_conditions`,
        formed with `&`.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: the latent and the code vectors differ in shape.
        NonFiniteError: a distance in floating point is NaN or infinite.

    Guarantee: exact on `int` and `Fraction`; on floats it speaks of the rounded distances. At
    least one code satisfies it where K > 0 (exists_isNearestCode).

    Ties: every one of several codes at the least distance satisfies it.

    Cost: O(K D).

    Example:
        >>> from certvq.spec import Codebook, is_nearest_code
        >>> book = Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5)))
        >>> [is_nearest_code(book, (1.0, -0.5), code) for code in range(3)]
        [True, False, False]
    """
    conditions = nearest_code_conditions(codebook, z, idx)
    if not all(condition for condition in conditions if isinstance(condition, bool)):
        return False
    symbolic = [condition for condition in conditions if not isinstance(condition, bool)]
    return reduce(_conjunction, symbolic) if symbolic else True


def nearest_codes(codebook: Codebook, z: Tensor) -> tuple[int, ...]:
    """Return the set of all nearest codes.

    {i : IsNearestCode(C, z, i)}, which is {i : squared_l2(z, C_i) = min_j squared_l2(z, C_j)}.

    Args:
        codebook: K code vectors.
        z: a latent of their shape; its scalars must be numbers.

    Returns:
        The codes in ascending order; empty only where K = 0.

    Raises:
        ShapeError: the latent and the code vectors differ in shape.
        NonFiniteError: a distance in floating point is NaN or infinite.
        DTypeError: an entry is a container other than a tuple or list.

    Ties: all of them are returned.

    Cost: O(K D).

    Example:
        >>> from certvq.spec import Codebook, nearest_codes
        >>> nearest_codes(Codebook(((0, 0), (2, 0), (5, 5))), (1, 0))
        (0, 1)
    """
    distances = squared_distances(codebook, z)
    least = min(distances, default=None)
    return tuple(code for code, distance in enumerate(distances) if distance == least)


def nearest_code(codebook: Codebook, z: Tensor) -> int:
    """Return the nearest code of lowest index.

    min {i : IsNearestCode(C, z, i)}.

    Args:
        codebook: K code vectors, K > 0.
        z: a latent of their shape; its scalars must be numbers.

    Returns:
        The code.

    Raises:
        ShapeError: the codebook is empty, or the latent and the code vectors differ in shape.
        NonFiniteError: a distance in floating point is NaN or infinite.
        DTypeError: an entry is a container other than a tuple or list.

    Guarantee: there is exactly one such code (exists_isNearestCode, lowest_isNearestCode_unique).

    Ties: the lowest index.

    Cost: O(K D).

    Example:
        >>> from certvq.spec import Codebook, nearest_code
        >>> nearest_code(Codebook(((5, 5), (0, 0), (2, 0), (0, 0))), (1, 0))
        1
    """
    if codebook.num_codes == 0:
        raise ShapeError(
            "a nearest code needs at least one code vector, the codebook has 0; give a codebook "
            "that is not empty"
        )
    return nearest_codes(codebook, z)[0]


def argmin(values: Sequence[Scalar]) -> int:
    """Return the place of the least value, found in one pass from left to right.

    The place held so far gives way only to a strictly smaller value: this is the algorithm that
    argmin_isNearestCode proves.

    Args:
        values: at least one number.

    Returns:
        The lowest place at which the least value stands.

    Raises:
        ShapeError: there is no value.
        NonFiniteError: a value is NaN or infinite.

    Guarantee: applied to `squared_distances(C, z)` it is `nearest_code(C, z)`
    (argmin_isNearestCode).

    Ties: the lowest place.

    Cost: one comparison per value after the first.

    Example:
        >>> from certvq.spec import argmin
        >>> argmin((3, 1, 2, 1))
        1
    """
    if not values:
        raise ShapeError("argmin needs at least one value, came 0; give a sequence not empty")
    _require_finite(values, "value")
    best = 0
    for place in range(1, len(values)):
        if values[place] < values[best]:
            best = place
    return best


def score(codebook: Codebook, z: Tensor, idx: int) -> Scalar:
    """Return how well a code fits a latent, larger being better.

    score(C, z, i) = z . C_i - squared_l2(C_i, 0) / 2, which is
    (squared_l2(z, 0) - squared_l2(z, C_i)) / 2.

    Args:
        codebook: K code vectors.
        z: a latent of their shape.
        idx: an integer in range(K).

    Returns:
        The score; exact on `int` and `Fraction`.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or an entry is a container other than a tuple or list.
        ShapeError: the latent and the code vectors differ in shape.

    Guarantee: a code is nearest just when its score is greatest (isNearestCode_iff_score).

    Example:
        >>> from certvq.spec import Codebook, score
        >>> [score(Codebook(((0, 0), (3, 1))), (1, 2), code) for code in range(2)]
        [Fraction(0, 1), Fraction(0, 1)]
    """
    vector = quantize_at(codebook, idx)
    require_same_shape(z, vector, names=("the latent", "every code vector"))
    return dot(z, vector) - divided(dot(vector, vector), 2)


def _conjunction(left: Any, right: Any) -> Any:
    return left & right


def _require_finite(values: Sequence[Scalar], what: str) -> None:
    for place, value in enumerate(values):
        if isinstance(value, Real) and not isinstance(value, Rational) and not math.isfinite(value):
            raise NonFiniteError(
                f"{what} {place} must be finite, came {value!r}; remove NaN and infinity, and give "
                "exact(...) of inputs whose squares overflow"
            )
