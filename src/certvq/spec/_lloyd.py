"""One iteration of k-means, by definition.

In: a codebook, points, their weights. Out: the lowest nearest code of each point, the mean of each
cell, the inertia; exact on `int` and `Fraction`. Must not import anything but the standard library
and the private modules of the specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from certvq.errors import ShapeError
from certvq.spec._codebook import Codebook
from certvq.spec._metric import squared_l2
from certvq.spec._nearest import nearest_code
from certvq.spec._tensor import Scalar, Tensor, entries, map_entries, total


@dataclass(frozen=True)
class LloydIteration:
    """What one iteration gives.

    Attributes:
        codes: the lowest nearest code of each point.
        inertia: sum of weight times squared distance to the code vector, over all points.
        masses: total weight of each cell.
        means: the codebook of the means; a cell of mass 0 keeps its code vector.
    """

    codes: tuple[int, ...]
    inertia: Scalar
    masses: tuple[Scalar, ...]
    means: Codebook


def lloyd_iteration(
    codebook: Codebook, points: Sequence[Tensor], weights: Sequence[Scalar] | None = None
) -> LloydIteration:
    """Assign each point to its nearest code of lowest index, then take the mean of each cell.

    mean_k = sum {w_n x_n : code_n = k} / sum {w_n : code_n = k}.

    Args:
        codebook: K code vectors, K > 0.
        points: tensors of the code vectors' shape.
        weights: one number of at least 0 for each point; None where each counts 1.

    Returns:
        Codes, inertia, masses and means. The inertia is that of the codebook given, not of the
        means.

    Raises:
        ShapeError: the codebook is empty, a point has another shape, or there is not one weight for
            each point.

    Guarantee: with these codes the means have at most the inertia of the codebook
        (lloyd_iteration_distortion_le).
    Ties: the lowest code.
    Cost: O(N K D).

    Example:
        >>> from certvq.spec import Codebook, lloyd_iteration
        >>> step = lloyd_iteration(Codebook(((0,), (1,))), ((0,), (1,), (10,)))
        >>> step.codes, step.inertia, step.means.embedding
        ((0, 1, 1), 81, ((Fraction(0, 1),), (Fraction(11, 2),)))
    """
    masses = [1] * len(points) if weights is None else list(weights)
    if len(masses) != len(points):
        text = (
            f"there must be one weight for each point, came {len(masses)} weights for "
            f"{len(points)} points; give as many"
        )
        raise ShapeError(text)
    codes = tuple(nearest_code(codebook, point) for point in points)
    errors = [
        mass * squared_l2(point, codebook.embedding[code])
        for point, code, mass in zip(points, codes, masses, strict=True)
    ]
    cells = [
        [(point, mass) for point, mass, own in zip(points, masses, codes, strict=True) if own == k]
        for k in range(codebook.num_codes)
    ]
    weighed = tuple(total([mass for _, mass in cell]) for cell in cells)
    means = [
        _mean(cell, mass, vector)
        for cell, mass, vector in zip(cells, weighed, codebook.embedding, strict=True)
    ]
    return LloydIteration(codes, total(errors), weighed, Codebook(tuple(means)))


def _mean(cell: list[tuple[Tensor, Scalar]], mass: Scalar, vector: Tensor) -> Tensor:
    if mass == 0:
        return vector
    flat = [entries(point) for point, _ in cell]
    sums = iter(
        [
            total([weight * row[place] for row, (_, weight) in zip(flat, cell, strict=True)])
            for place in range(len(entries(vector)))
        ]
    )
    inverse = Fraction(1, mass) if isinstance(mass, int) else 1 / mass

    def mean_of(_: Scalar) -> Scalar:
        return next(sums) * inverse

    return map_entries(mean_of, vector)
