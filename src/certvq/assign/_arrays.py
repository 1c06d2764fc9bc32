"""Arrays of other libraries in, and results back to the library and device that they came from.

In: NumPy arrays, torch tensors, anything with ``__array_namespace__`` (JAX, CuPy) or that NumPy
reads. Out: exact host arrays, and a function that sends results back. Must not import torch unless
a tensor is at hand.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from certvq._float64 import float64_home
from certvq._types import Array, Float, Integer, Lists
from certvq.errors import DTypeError, ShapeError

Latents: TypeAlias = Float[Array, "N D"] | Lists
Codes: TypeAlias = Integer[Array, " N"] | Lists
"""What `certvq.assign` and its kin take; what these names leave open they refuse themselves."""


def is_torch(array: Array) -> bool:
    """Say whether `array` is a torch tensor, without importing torch."""
    if type(array) is np.ndarray:
        return False
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def is_traced(array: object) -> bool:
    """Say whether JAX is tracing an array, without importing JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.core.Tracer)


def on_host(array: Array) -> bool:
    """Say whether the numbers of an array lie in this computer's main memory."""
    if is_torch(array):
        return array.device.type == "cpu"
    return isinstance(array, np.ndarray)


def dtype_name(array: Array) -> str:
    """Return the name of the type of number, for example ``"bfloat16"``."""
    if isinstance(array.dtype, np.dtype):
        return _numpy_name(array.dtype)
    return getattr(array.dtype, "name", None) or str(array.dtype).rpartition(".")[2]


@cache
def _numpy_name(dtype: np.dtype) -> str:  # NumPy makes the name anew each time, in Python
    return dtype.name


def as_array(value: Array) -> Array:
    """Leave arrays as they are and read lists with NumPy.

    Raises:
        ShapeError: a list of rows of different lengths.
        DTypeError: a masked array, whose masked entries have no value; one that NumPy cannot read,
            as the sparse ones of SciPy.
    """
    if type(value) is np.ndarray or is_torch(value):
        return value  # before its shape, which a nested tensor may not have
    if isinstance(value, np.ma.MaskedArray):
        text = "masked arrays have no numbers where they are masked; fill them with .filled(...)"
        raise DTypeError(text)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if any(hasattr(value, name) for name in _READABLE):
            return value
        text = f"arrays must be dense ones that NumPy can read, got {type(value).__name__}"
        raise DTypeError(f"{text}; take .toarray() of a sparse one")
    try:
        return np.asarray(value)
    except ValueError as error:
        text = f"rows must have the same length, got a ragged list ({error})"
        raise ShapeError(text) from error


def wrapper_of(tensor: Array) -> str | None:
    """Name the class of a torch tensor that stands for others, such as a `DTensor`.

    Returns:
        None for one with numbers of its own, and for what a collective of torch returns, which
        becomes one as soon as it is read.
    """
    import torch

    kind: Any = type(tensor)
    plain: Any = torch.Tensor
    own = kind.__torch_dispatch__ is plain.__torch_dispatch__
    return None if own or kind.__name__ == "AsyncCollectiveTensor" else kind.__name__


_READABLE = ("__array__", "__array_namespace__", "__dlpack__", "__array_interface__")


def largest_magnitude(host: np.ndarray) -> float:
    """Return the greatest absolute value of finite numbers, 0 if there are none; copies nothing."""
    return max(float(host.max(initial=0.0)), -float(host.min(initial=0.0)))


def own_copy(array: Array) -> Array:
    """Copy an array within its library, on its device, detached from any graph."""
    if is_torch(array):
        import torch

        if array.device.type != "cpu":
            return array.detach().clone()
        return torch.from_numpy(np.array(shared(plain(array)))).view(array.dtype)
    if isinstance(array, np.ndarray) or not hasattr(array, "__array_namespace__"):
        return np.array(array)
    return array.__array_namespace__().asarray(array, copy=True)


def borrow(array: Array) -> Array:
    """Share the memory of an array, detached from any graph; a NumPy array cannot be written by it.

    Args:
        array: any shape, of any library.

    Returns:
        An array of the same library and device, whose numbers change with those of `array`.
    """
    if is_torch(array):
        return array.detach()
    if isinstance(array, np.ndarray) or not hasattr(array, "__array_namespace__"):
        view = np.asarray(array).view(np.ndarray)
        view.flags.writeable = False
        return view
    return array


def plain(tensor: Array) -> Array:
    """Return a tensor without its graph, whose memory holds its numbers, none negated lazily."""
    return tensor.detach().resolve_conj().resolve_neg()


def shared(tensor: Array) -> np.ndarray:
    """Share the memory of a plain tensor on the CPU; bfloat16, which NumPy lacks, as uint16.

    NumPy copies and computes from then on: torch's threads hang in a child that was forked.
    """
    import torch

    tensor = _lasting(tensor)
    return (
        tensor.view(torch.int16).numpy().view(np.uint16)
        if tensor.dtype == torch.bfloat16
        else tensor.numpy()
    )


def _widened(host: np.ndarray) -> np.ndarray:
    """Read the bits of bfloat16 as float32; other types do not come as uint16."""
    return (host.astype(np.uint32) << 16).view(np.float32) if host.dtype == np.uint16 else host


def rows_of(array: Array, rows: np.ndarray) -> np.ndarray:
    """Read some rows of an array of any library, as `to_host` does."""
    if is_torch(array) and array.device.type == "cpu":
        return _widened(shared(plain(array))[rows])
    direct = is_torch(array) or isinstance(array, np.ndarray)
    return to_host(array[rows]) if direct else to_host(array)[rows]


def to_host(array: Array) -> np.ndarray:
    """Read an array of any library as a NumPy array of the same numbers.

    bfloat16, which NumPy lacks, becomes float32, which holds it exactly.

    Args:
        array: any shape, on any device.

    Returns:
        A native-endian array; a view wherever the memory can be shared for good.
    """
    if is_torch(array):
        return _widened(shared(plain(array).cpu()))
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack__"):
        array = _from_dlpack(array)
    host = np.asarray(array)
    if dtype_name(host) == "bfloat16":
        return host.astype(np.float32)
    return host if host.dtype.isnative else host.astype(host.dtype.newbyteorder("="))


def _lasting(tensor: Array) -> Array:
    """Return a torch tensor on the CPU whose memory NumPy may share.

    That forbids torch to free the memory at will, as FSDP does with gathered parameters; where FSDP
    is at work the tensor is copied.
    """
    torch = sys.modules["torch"]
    shards = "torch.distributed.fsdp" in sys.modules and torch.distributed.is_initialized()
    return tensor.clone() if shards else tensor


def _from_dlpack(array: Array) -> Array:
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError):
        # bfloat16 and foreign devices: fall back to the library's own way to the host
        return array.get() if hasattr(array, "get") else array


def sender(like: Array) -> Callable[[np.ndarray], Array]:
    """Return a function that moves host arrays to the library and device of `like`."""
    if is_torch(like):
        import torch

        return lambda host: torch.from_numpy(host).to(
            like.device if host.dtype != np.float64 else float64_home(like.device)
        )
    if isinstance(like, np.ndarray) or not hasattr(like, "__array_namespace__"):
        return lambda host: host
    namespace = like.__array_namespace__()
    return lambda host: namespace.asarray(host, device=like.device)
