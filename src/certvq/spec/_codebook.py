"""Codebooks, and code vectors looked up by a code that the caller supplies.

In: code vectors of one shape, and a code. Out: a frozen codebook, or the code vector. Must not
import anything but the standard library and the private modules of the specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

from certvq.errors import CodeRangeError, DTypeError, ShapeError
from certvq.spec._tensor import Tensor, frozen, is_nested, require_same_shape


@dataclass(frozen=True)
class Codebook:
    """A finite family of code vectors of one shape, C_0 to C_{K-1}.

    Attributes:
        embedding: the K code vectors; given as tuples or lists, held as nested tuples.

    Raises:
        ShapeError: `embedding` is a scalar, or two code vectors differ in shape.
        DTypeError: an entry is a container other than a tuple or list.

    K may be 0, as in the seed; then no index is valid and no code is nearest.

    Example:
        >>> from certvq.spec import Codebook
        >>> book = Codebook([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]])
        >>> book.num_codes, book.embedding[2]
        (3, (-1.0, 0.5))
    """

    embedding: Sequence[Tensor]

    def __post_init__(self) -> None:
        if not is_nested(self.embedding):
            raise ShapeError(
                "a codebook must be a tuple or list of code vectors, came a scalar "
                f"({self.embedding!r}); for one code of rank 0 give a tuple of length 1"
            )
        for place, vector in enumerate(self.embedding):
            require_same_shape(
                self.embedding[0], vector, names=("code vector 0", f"code vector {place}")
            )
        object.__setattr__(self, "embedding", frozen(self.embedding))

    @property
    def num_codes(self) -> int:
        """The number K of code vectors."""
        return len(self.embedding)


def quantize_at(codebook: Codebook, idx: int) -> Tensor:
    """Look up a code vector by an explicit index.

    quantize_at(C, i) = C_i.

    Args:
        codebook: K code vectors.
        idx: an integer in range(K); negative indices do not count from the end.

    Returns:
        The code vector.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or a `bool`.

    Example:
        >>> from certvq.spec import Codebook, quantize_at
        >>> quantize_at(Codebook(((0, 0), (1, 1))), 1)
        (1, 1)
    """
    return codebook.embedding[require_code(codebook, idx)]


def require_code(codebook: Codebook, idx: int) -> int:
    """Return a code as an `int`, once it is known to be one of the codebook's.

    Args:
        codebook: K code vectors.
        idx: an integer in range(K).

    Returns:
        The same integer.

    Raises:
        CodeRangeError: `idx` lies outside range(K).
        DTypeError: `idx` is no integer, or a `bool`.

    Example:
        >>> require_code(Codebook(((0, 0), (1, 1))), 1)
        1
    """
    count = codebook.num_codes
    if isinstance(idx, bool) or not hasattr(idx, "__index__"):
        raise DTypeError(
            f"a code must be an integer in range({count}), came {idx!r} of type "
            f"{type(idx).__name__}; give an int"
        )
    code = index(idx)
    if not 0 <= code < count:
        raise CodeRangeError(
            f"a code must lie in range({count}), came {code}; the codebook has {count} code "
            "vectors, numbered from 0"
        )
    return code
