"""The contract at run time: `certvq.assign`.

In: latents and a codebook of any library. Out: an `Assignment`, certified, of the same library and
on the same device. Everything is validated before anything is computed.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from certvq._types import Array
from certvq.assign._arrays import Latents, as_array, is_traced, sender, to_host
from certvq.assign._assignment import Assignment
from certvq.assign._backends import find_backend, runs_foreign_code
from certvq.assign._prepare import Codebook, as_prepared
from certvq.assign._second import decide_both, find_second
from certvq.assign._sqdist import rounded_sqdist, row_sqdist
from certvq.assign._validate import require_ieee754, require_width
from certvq.assign._watch import show


def assign(
    latents: Latents,
    codebook: Codebook,
    *,
    backend: str = "auto",
    exact_sqdist: bool = False,
    second: bool = False,
) -> Assignment:
    """Find the nearest code of each latent, certified over the real numbers.

    Mathematics: ``codes[n] = min { i : for all j, |z_n - c_i|^2 <= |z_n - c_j|^2 }``.

    Args:
        latents: (N, D) finite numbers, float64, float32, bfloat16 or float16; a NumPy array, a
            torch tensor, or an array of another library. Any strides; it is not copied whole.
            Inside ``jax.jit`` a callback to the host finds the codes (docs/jax.md).
        codebook: (K, D) finite numbers, K >= 1, or a `Prepared`. An array is not copied, so neither
            array may change before the call returns. Its number type may differ from that of
            the latents: each number is read as the exact rational that it represents.
        backend: ``"auto"``, or one of `certvq.backends()`. It affects speed, never codes.
        exact_sqdist: round each `sqdist` correctly, to nearest even.
        second: also find the nearest code other than the chosen one.

    Returns:
        An `Assignment` with ``codes``, ``decided_by`` and ``sqdist``, on the device of the latents.
        On request it has ``second``: ``second[n]`` is the lowest index at the least distance among
        all j other than ``codes[n]``, or -1 if K = 1.

    Raises:
        ShapeError: wrong rank, empty codebook, or latents and codebook of different dim.
        DTypeError: numbers that are not floats.
        NonFiniteError: NaN or infinity; names the first row and column.
        BackendUnavailableError: unknown backend, or a package that it needs is missing.
        OptionError: `second` with the backend ``"lean"``, which does not offer it.
        BackendError: a registered function returned something other than codes.
        DeviceMemoryError: a GPU has too little memory, even for small blocks.
        CertificateError: a backend registered with ``on_violation="raise"`` proposed a wrong code.
        FloatEnvironmentError: subnormal numbers are flushed in this thread, or the rounding mode
            was changed.

    Guarantee: the codes are the lowest nearest ones over the real numbers, a function of the
        numbers alone: by ``quantized_score_gap_le`` and ``refine_sound`` in the native and Triton
        backends, by ``certified_assign`` in those of NumPy and torch.
    Ties: the lowest index. Of equal code vectors the second lowest is the second of the lowest.
    Cost: O(N K D) time; O(N + K D) memory besides the inputs, and one block of scores. `second`
        takes 1.0 to 1.6 times as long with the compiled kernel where that was measured
        (docs/engineering.md), but two passes if the kernel sorts the codebook (1 to 6 dims and many
        codes) or was not built.

    Example:
        >>> import numpy as np, certvq
        >>> codebook = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]])
        >>> a = certvq.assign(np.array([[1.0, -0.5], [0.5, 0.5]]), codebook)
        >>> a.codes
        array([0, 0])
        >>> a.sqdist
        array([1.25, 0.5 ])
        >>> [certvq.DecidedBy(d).name for d in a.decided_by]  # the second row is an exact tie
        ['FILTER', 'EXACT']
        >>> certvq.assign(np.array([[1.0, -0.5], [0.5, 0.5]]), codebook, second=True).second
        array([1, 1])
    """
    if is_traced(latents) or is_traced(codebook):
        from certvq.assign._jax import assign_traced

        on_host = partial(assign, backend=backend, exact_sqdist=exact_sqdist, second=second)
        return assign_traced(latents, codebook, on_host, second=second)
    array = as_array(latents)
    prepared = as_prepared(codebook, copy=runs_foreign_code(backend))
    require_width(array, prepared.dim)
    require_ieee754()
    find = find_second(backend, array) if second else None
    both = decide_both(backend, array, prepared) if second else None
    decided, seconds = both or (find_backend(backend, array)(array, prepared), None)
    distances = decided.sqdist
    codes = decided.codes
    host_codes = to_host(codes) if second or exact_sqdist or distances is None else codes
    if exact_sqdist:
        distances = rounded_sqdist(array, prepared, host_codes)
    elif distances is None:
        distances = row_sqdist(array, prepared, host_codes)
    if find is not None and seconds is None:
        seconds = find(array, prepared, host_codes)
    send = sender(array)
    found = Assignment(
        codes=_returned(codes, send),
        decided_by=_returned(decided.decided_by, send),
        sqdist=_returned(distances, send),
        second=None if seconds is None else _returned(seconds, send),
    )
    show(found, prepared)
    return found


def _returned(result: Array, send: Callable[[np.ndarray], Array]) -> Array:
    """Send host arrays to where the latents are; tensors of a backend are there already."""
    return send(np.ascontiguousarray(result)) if isinstance(result, np.ndarray) else result
