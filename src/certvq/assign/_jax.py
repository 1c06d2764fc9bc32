"""`certvq.assign` under the transformations of JAX: jit, vmap, grad and scan.

In: latents or a codebook that JAX traces. Out: an `Assignment` of traced arrays, which a callback
to the host fills in when the traced function runs. Must not be imported before a tracer is at hand.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, cast

import numpy as np

from certvq._types import Array
from certvq.assign._arrays import as_array
from certvq.assign._assignment import Assignment
from certvq.assign._prepare import Prepared
from certvq.assign._validate import require_codebook, require_width

if TYPE_CHECKING:
    import jax

Results = tuple[np.ndarray, ...]
AssignHost = Callable[[np.ndarray, np.ndarray | Prepared], Assignment]


def assign_traced(
    latents: Array, codebook: Array | Prepared, assign: AssignHost, *, second: bool
) -> Assignment:
    """Trace a call of `certvq.assign`: shapes are checked now, numbers when the function runs.

    Args:
        latents: (N, D), traced or not.
        codebook: (K, D), traced or not, or a `Prepared`.
        assign: what to call on the host, with arrays of NumPy.
        second: whether it finds second codes too.

    Returns:
        An `Assignment` of traced arrays: ``codes`` and ``second`` int64 and ``sqdist`` float64
        where JAX has 64-bit types (``jax_enable_x64``), else int32 and float32, rounded from
        float64. No gradient flows through any of them.

    Raises:
        ShapeError: as `certvq.assign`, when the function is traced.
        DTypeError: likewise.
    """
    import jax

    _register_assignment()
    _worker(os.getpid()).submit(lambda: None).result()  # starts it here, in the user's thread
    points = latents if hasattr(latents, "dtype") else as_array(latents)
    rows = int(points.shape[0]) if points.shape else 0
    arguments = [points]
    if isinstance(codebook, Prepared):
        require_width(points, codebook.dim)
        call = partial(_call_prepared, assign, codebook)
    else:
        book = codebook if hasattr(codebook, "dtype") else as_array(codebook)
        require_codebook(book)
        require_width(points, int(book.shape[1]))
        arguments.append(book)
        call = partial(_call, assign)
    shapes = [
        jax.ShapeDtypeStruct((rows,), jax.dtypes.canonicalize_dtype(dtype))
        for dtype in (np.int64, np.uint8, np.float64, *([np.int64] if second else []))
    ]
    fixed = [jax.lax.stop_gradient(jax.numpy.asarray(argument)) for argument in arguments]
    types = tuple(shape.dtype for shape in shapes)
    found = jax.pure_callback(partial(call, types), shapes, *fixed, vmap_method="expand_dims")
    return Assignment(*cast("list[jax.Array]", found))


@cache
def _worker(_process: int) -> ThreadPoolExecutor:
    """Return a thread that computes as IEEE 754 says, one for each process.

    The threads that XLA calls back from flush subnormal numbers. A thread keeps the float
    environment of the one that started it, so it has to be started before XLA runs.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="certvq-jax")


@cache
def _register_assignment() -> None:
    """Let JAX return an `Assignment` from a transformed function."""
    import jax

    jax.tree_util.register_dataclass(
        Assignment, data_fields=["codes", "decided_by", "sqdist", "second"], meta_fields=[]
    )


def _call(
    assign: AssignHost, types: tuple[np.dtype, ...], latents: Array, codebook: Array
) -> Results:
    """Assign each batch; batch axes come first and are 1 where an argument has no batches."""
    points, books = np.asarray(latents), np.asarray(codebook)
    batch = np.broadcast_shapes(points.shape[:-2], books.shape[:-2])
    if all(size == 1 for size in books.shape[:-2]):
        return _call_prepared(assign, books.reshape(books.shape[-2:]), types, points)
    points = np.broadcast_to(points, (*batch, *points.shape[-2:]))
    books = np.broadcast_to(books, (*batch, *books.shape[-2:]))
    parts = [
        _call_prepared(assign, books[place], types, points[place]) for place in np.ndindex(batch)
    ]
    stacked = [np.stack(part) for part in zip(*parts, strict=True)]
    return tuple(part.reshape(*batch, points.shape[-2]) for part in stacked)


def _call_prepared(
    assign: AssignHost,
    codebook: Prepared | np.ndarray,
    types: tuple[np.dtype, ...],
    latents: Array,
) -> Results:
    """Assign all batches against one codebook at once."""
    points = np.asarray(latents)
    rows = points.reshape(-1, points.shape[-1])
    found = _worker(os.getpid()).submit(assign, rows, codebook).result()
    results = (found.codes, found.decided_by, found.sqdist, found.second)[: len(types)]
    with np.errstate(over="ignore", under="ignore"):
        return tuple(
            np.asarray(part).reshape(points.shape[:-1]).astype(dtype)
            for part, dtype in zip(results, types, strict=True)
        )
