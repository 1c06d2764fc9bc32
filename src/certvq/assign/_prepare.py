"""A codebook, read once and reused by many calls.

In: a codebook (K, D) of any library. Out: `Prepared`, its distinct code vectors as exact float64
numbers on the host, with whatever the backends derive from them. Must not import backends.
"""

import math
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, cast

import numpy as np

from certvq import _native, bounds
from certvq._types import Array, Float, Float64, Float64Array, Int64, Int64Array, Lists
from certvq.assign._arrays import as_array, borrow, on_host, own_copy, to_host
from certvq.assign._packing import pack_codebook
from certvq.assign._validate import require_codebook, require_finite, require_ieee754

_Derived = TypeVar("_Derived")
_Array = TypeVar("_Array", bound=np.ndarray)


class Prepared:
    """A validated codebook with its duplicates folded, ready for any backend.

    Every float type of the contract is a subset of float64, so `distinct` holds the very numbers.
    Of equal code vectors (0.0 equals -0.0) only the lowest index is kept: none of the others can
    ever be returned, and ties between duplicates cost nothing.

    Attributes:
        source: a copy of the codebook, in its library and on its device; the codebook itself in
            what `as_prepared` borrows for the length of a call.
        codebook_size: K.
        dim: D.
    """

    def __init__(self, codebook: Float[Array, "K D"] | Lists, *, copy: bool = True) -> None:
        source = as_array(codebook)
        require_codebook(source)
        require_ieee754()
        self.source: Final[Array] = own_copy(source) if copy else borrow(source)
        if isinstance(self.source, np.ndarray):
            self.source.flags.writeable = False
        self.codebook_size: Final[int] = int(source.shape[0])
        self.dim: Final[int] = int(source.shape[1])
        self._derived: dict[tuple[str, int], object] = {}
        if not (_native.AVAILABLE and on_host(self.source) and self.packed().usable):
            require_finite(self.source, "codebook")

    def __repr__(self) -> str:
        return f"Prepared(codebook_size={self.codebook_size}, dim={self.dim})"

    def __reduce__(self) -> tuple[type, tuple[Array]]:
        return Prepared, (self.source,)  # what is derived from it is made anew

    @property
    def distinct(self) -> Float64[Float64Array, "U {self.dim}"]:
        """float64 (U, D), read-only: U <= K distinct code vectors in the order of `lowest`."""
        return self.derive("distinct", 0, lambda: _read_only(self._exact[self.lowest]))

    @property
    def lowest(self) -> Int64[Int64Array, " U"]:
        """int64 (U,), increasing: the lowest index of each distinct vector in the codebook."""
        return self._folded[0]

    @property
    def group(self) -> Int64[Int64Array, "{self.codebook_size}"]:
        """int64 (K,): for each code vector its row in `distinct`."""
        return self._folded[1]

    @property
    def _exact(self) -> Float64Array:
        return to_host(self.source).astype(np.float64) + 0.0

    @property
    def _folded(self) -> tuple[Int64Array, Int64Array]:
        return self.derive("folded", 0, lambda: _fold_duplicates(self._exact))

    @property
    def _largest(self) -> float:
        return self.derive("largest", 0, lambda: float(np.abs(self.distinct).max()))

    def packed(self) -> _native.Packed:
        """Return the codebook as the compiled kernel wants it; it may be unusable."""
        kind = f"native:{_native.forced_isa()}"
        return self.derive(kind, 0, lambda: pack_codebook(self.source))

    def vectors(self) -> Float64[Float64Array, "{self.codebook_size} {self.dim}"]:
        """Return all K code vectors, float64 (K, D); equal ones are the same to the bit."""
        return self.distinct[self.group]

    def exponent_for(self, largest_latent: float) -> int:
        """Choose the power of two by which a call is scaled, so that nothing can overflow.

        Args:
            largest_latent: greatest absolute value among the latents, finite.

        Returns:
            0 for ordinary numbers; else e such that all numbers divided by 2**e are at most 1.
        """
        exponent = math.frexp(max(self._largest, largest_latent))[1]
        return 0 if abs(exponent) <= bounds.SAFE_EXPONENT else exponent

    def scaled(self, exponent: int) -> Float64[Float64Array, "U {self.dim}"]:
        """Return the distinct code vectors divided by ``2**exponent``."""
        if exponent == 0:
            return self.distinct
        with np.errstate(under="ignore"):
            return self.derive("scaled", exponent, lambda: np.ldexp(self.distinct, -exponent))

    def derive(self, kind: str, exponent: int, build: Callable[[], _Derived]) -> _Derived:
        """Return what `build` makes, kept for later calls under `kind` and `exponent`.

        No lock is held, as that of `functools.cached_property` is before Python 3.12: a child that
        was forked meanwhile would wait for it for ever.
        """
        key = (kind, exponent)
        if key not in self._derived:
            self._derived[key] = build()
        return cast("_Derived", self._derived[key])


Codebook: TypeAlias = Float[Array, "K D"] | Lists | Prepared


def prepare(codebook: Float[Array, "K D"] | Lists) -> Prepared:
    """Validate a codebook once, for many calls of `certvq.assign`.

    Args:
        codebook: (K, D), float64, float32, bfloat16 or float16; it is copied, so later changes of
            the array do not affect the `Prepared`.

    Returns:
        A `Prepared`, accepted wherever a codebook is.

    Raises:
        ShapeError: wrong rank, no row or no column.
        DTypeError: numbers that are not floats.
        NonFiniteError: NaN or infinity, naming the first row and column.
        FloatEnvironmentError: subnormal numbers are flushed in this thread, or the rounding mode
            was changed.

    Example:
        >>> import numpy as np, certvq
        >>> prepared = certvq.prepare(np.array([[0.0, 0.0], [1.0, 1.0]]))
        >>> certvq.assign(np.array([[0.9, 0.2]]), prepared).codes
        array([1])
    """
    return Prepared(codebook)


def as_prepared(codebook: Codebook, *, copy: bool = False) -> Prepared:
    """Return `codebook` if it is prepared already, else prepare it for the length of a call.

    Args:
        codebook: (K, D), or a `Prepared`.
        copy: own the numbers, because code of others runs before they are read for the last time.

    Returns:
        A `Prepared`. Unless it is the user's own or copies, it must not outlive the call: it reads
        the user's array where that is, as late as something asks for it.
    """
    return codebook if isinstance(codebook, Prepared) else Prepared(codebook, copy=copy)


def _read_only(array: _Array) -> _Array:
    array.flags.writeable = False
    return array


def _fold_duplicates(
    exact: Float64[Float64Array, "K D"],
) -> tuple[Int64[Int64Array, " U"], Int64[Int64Array, " K"]]:
    keys = np.ascontiguousarray(exact).view(np.dtype((np.void, exact.shape[1] * 8))).ravel()
    first: dict[bytes, int] = {}
    group = np.empty(len(exact), dtype=np.int64)
    lowest: list[int] = []
    for index, key in enumerate(keys.tolist()):
        place = first.setdefault(key, len(lowest))
        if place == len(lowest):
            lowest.append(index)
        group[index] = place
    return _read_only(np.array(lowest, dtype=np.int64)), _read_only(group)
