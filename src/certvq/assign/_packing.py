"""Arrays as the compiled kernel reads them, and codebooks packed for it.

In: arrays of any library. Out: host arrays of the kernel's types that share memory wherever that is
possible, and `Packed`. Must not import backends.
"""

import numpy as np

from certvq import _native
from certvq._types import Array
from certvq.assign._arrays import dtype_name, is_torch, plain, shared, to_host
from certvq.errors import OptionError, ShapeError


def to_bits(array: Array) -> tuple[np.ndarray, str]:
    """Read an array as float64, float32 or, for the 16-bit types, as the uint16 of its bits.

    Args:
        array: (N, D) floats of the contract, of any library.

    Returns:
        A host array in native byte order whose strides are whole entries, and the name of the type
        that the entries stand for.
    """
    if type(array) is np.ndarray and array.flags.c_contiguous and array.dtype in _AS_THEY_ARE:
        return array, dtype_name(array)
    number = dtype_name(array)
    if number == "bfloat16" and is_torch(array):
        host = shared(plain(array).cpu())
    elif number == "bfloat16" and isinstance(array, np.ndarray):
        host = array.view(np.uint16)
    else:
        host = to_host(array)
        number = dtype_name(host)
        if host.dtype == np.float16:
            host = host.view(np.uint16)
    if any(stride % host.itemsize for stride in host.strides):
        host = np.ascontiguousarray(host)
    return host, number


_AS_THEY_ARE = frozenset([np.dtype(np.float64), np.dtype(np.float32)])
"""Types in native byte order that the kernel reads without another view."""


def pack_codebook(codebook: Array) -> _native.Packed:
    """Pack a codebook for the instruction set that the environment chooses.

    Args:
        codebook: (K, D), validated but for its numbers.

    Returns:
        The packed codebook; not ``usable`` where numbers are not finite or out of range.

    Raises:
        ShapeError: more code vectors than 32 bits count.
        OptionError: ``CERTVQ_ISA`` names an instruction set that is unknown or not supported here.
    """
    host, number = to_bits(codebook)
    try:
        return _native.pack(host, number)
    except ValueError as error:
        if not _native.forced_isa():
            raise ShapeError(f"codebook: {error}") from error
        text = f"{_native.ISA_VARIABLE}={_native.forced_isa()!r} cannot be used: {error}"
        raise OptionError(text) from error
