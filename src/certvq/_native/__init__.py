"""The compiled kernels, with NumPy in their place where they were not built.

In: float64 arrays on the host. Out: float64 arrays. Both versions satisfy the same bound, so no
code depends on which one ran. Must not import anything of certvq but types.
"""

import numpy as np

from certvq._types import Float64Array

try:
    from certvq._native import _kernel
except ImportError:
    _kernel = None

AVAILABLE = _kernel is not None
"""Whether the compiled module was built for this interpreter."""


def squared_row_norms(rows: Float64Array) -> Float64Array:
    """Sum the squares of each row.

    Args:
        rows: float64 (N, D), any strides.

    Returns:
        float64 (N,).

    Guarantee: ``dot_rounding_error_le``: relative error at most ``gamma(D)``, besides underflow.

    Example:
        >>> import numpy as np
        >>> squared_row_norms(np.array([[3.0, 4.0], [0.0, 2.0]]))
        array([25.,  4.])
    """
    if _kernel is None:
        return np.einsum("nd,nd->n", rows, rows)
    return _kernel.squared_row_norms(rows)
