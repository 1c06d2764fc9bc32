"""What k-means found."""

from dataclasses import dataclass
from enum import Enum

from certvq._types import Array, Float, Float64, Float64Array, Int64, Int64Array


class Stopped(str, Enum):
    """Why the iterations ended.

    Attributes:
        CONVERGED: another iteration gives the same codebook, bit for bit.
        TOLERANCE: the inertia fell by no more than the given share of it.
        ITERATIONS: the given number of iterations was done.
    """

    CONVERGED = "converged"
    TOLERANCE = "tolerance"
    ITERATIONS = "iterations"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class KMeansResult:
    """What `certvq.kmeans` found.

    Attributes:
        codebook: (K, D), in the library, on the device and of the type of the data.
        codes: int64 (N,), in the library of the data: the certified nearest code of each row in
            this codebook, ``codes == assign(data, codebook).codes``.
        inertia: total of the squared distances of the rows to their codes, times weights, rounded
            once; the last entry of `history`.
        counts: int64 (K,), rows of each cell, those of weight 0 included.
        mass: float64 (K,), total weight of each cell, rounded once; `counts` without weights.
        history: inertia of the start and of the codebook after each iteration, each with its own
            codes: ``iterations + 1`` entries.
        iterations: how often the code vectors were replaced by means.
        stopped: why the iterations ended.
        empty: int64, cells of `codes` without a row of positive weight, in ascending order.
        splits: int64 (iterations,), how many codes of empty cells each iteration moved.
    """

    codebook: Float[Array, "K D"]
    codes: Int64[Array, " N"]
    inertia: float
    counts: Int64[Int64Array, " K"]
    mass: Float64[Float64Array, " K"]
    history: tuple[float, ...]
    iterations: int
    stopped: Stopped
    empty: Int64Array
    splits: Int64Array
