"""The search for nearest codes, as plain calls, operators of torch and nodes of graphs.

In: tokens and code vectors. Out: an `Assignment`; counts of how its codes were decided. Autocast
does not reach it. Compilers and exporters see `torch.ops.certvq.assign`, which has a fake
implementation (shapes without numbers) and a rule for `torch.func.vmap`. Must not know where the
code vectors come from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import distributed

from certvq import _native
from certvq.assign import Assignment, DecidedBy, Ranking, assign, rank
from certvq.assign._native import mended_sqdist
from certvq.assign._onnx import ASSIGN, DOMAIN
from certvq.assign._prepare import as_prepared
from certvq.assign._sqdist import SMALLEST_PRODUCT
from certvq.assign._watch import WATCHERS, show
from certvq.errors import DeviceError, ExportError
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import (
    brought,
    exporting,
    full_precision,
    holds_numbers,
    recorded,
    transforming,
    unwatched,
    widest,
)

_WAYS = tuple((f"{way.name.lower()}_rows", int(way)) for way in DecidedBy)
"""What `metrics` calls the rows that were decided by each means."""

_NAME = f"{DOMAIN}::{ASSIGN}"

_NUMBERS = {torch.float32: "float32", torch.float64: "float64"}
"""Types of number that torch and NumPy both have, and the kernel takes as they are."""

_Searched = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

Report: TypeAlias = Callable[[torch.Tensor, torch.Tensor], None]
"""Called with the tokens (N, D) and the code vectors (K, D) of a search."""

_REPORTS: list[Report] = []


@contextmanager
def watched_searches(report: Report) -> Iterator[None]:
    """Report each search of this process meanwhile, such as `certvq.inspect` asks for.

    Within a graph that a compiler made nothing is reported.
    """
    _REPORTS.append(report)
    try:
        yield
    finally:
        _REPORTS.remove(report)


def search(tokens: torch.Tensor, codebook: torch.Tensor) -> Assignment:
    """Find the nearest codes of tokens by `certvq.assign`.

    Args:
        tokens: (N, D), finite.
        codebook: (K, D).

    Raises:
        NonFiniteError: NaN or infinity in either.

    Guarantee: that of `certvq.assign`, also under autocast.
    """
    latents, vectors = tokens.detach(), codebook.detach()
    if exporting():
        found = Assignment(*search_in_graph(latents, vectors))
    elif not unwatched(latents, vectors):
        found = Assignment(*assign_operator(latents, vectors))
    else:
        ready = _ask_kernel(latents, vectors)
        found = Assignment(*(ready or _assign(latents, vectors)))
        if ready is not None and WATCHERS.get():
            show(found, None)  # as `certvq.assign` does of its own
    for report in _REPORTS:
        report(latents, vectors)
    return found


def show_exact(codes: torch.Tensor) -> None:
    """Show codes (N,) that were found by exact thresholds to whoever watches searches.

    Compilers and exporters see nothing of it, nor `torch.func`.
    """
    if torch.compiler.is_compiling() or recorded() or transforming() or not WATCHERS.get():
        return
    exact = torch.full_like(codes, DecidedBy.EXACT, dtype=torch.uint8)
    show(Assignment(codes, exact, torch.full_like(codes, torch.nan, dtype=torch.float32)), None)


def ranked(latents: torch.Tensor, vectors: torch.Tensor, count: int) -> Ranking:
    if recorded():
        text = (
            f"a ranking of the {count} nearest codes has no operator in graphs, got a layer with a "
            "Beam; export it with beam=None, or export decode alone"
        )
        raise ExportError(text)
    if torch.compiler.is_compiling():  # a compiler would compute NumPy's part in its own way
        untraced: Any = torch.compiler.disable(rank)
        ranking: Ranking = untraced(latents, vectors, count)
        return ranking
    if not transforming():
        return rank(latents, vectors, count)

    def step(rows: torch.Tensor, book: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = rank(rows, book, count)
        return found.codes, found.sqdist

    return Ranking(*apart(step, [latents], [vectors]))


def decisions(assignment: Assignment) -> dict[str, torch.Tensor]:
    """Return how many codes the filter, the refinement and exact arithmetic decided."""
    decided_by = assignment.decided_by
    if not holds_numbers(decided_by) or transforming():  # these cannot follow `torch.bincount`
        return {name: torch.eq(decided_by, way).sum() for name, way in _WAYS}
    tally = torch.bincount(decided_by, minlength=len(_WAYS) + 1).unbind()
    return {name: tally[way] for name, way in _WAYS}


def _assign(latents: torch.Tensor, codebook: torch.Tensor) -> _Searched:
    with full_precision(latents.device):
        found = assign(latents.detach(), codebook.detach())
    return found.codes, found.decided_by, brought(found.sqdist, latents.device)


def _ask_kernel(latents: torch.Tensor, codebook: torch.Tensor) -> _Searched | None:
    """Give rows of float32 or float64 on a CPU to the compiled kernel at once.

    For a few hundred tokens the questions that `certvq.assign` asks of arrays of any library take a
    fifth of its time. Here their answers are known, or the result is None: then `certvq.assign`
    finds the codes, or names what is wrong.
    """
    host, book = _shared(latents), _shared(codebook)
    if host is None or book is None or host.shape[1] != book.shape[1] or not book.size:
        return None
    if not (_native.AVAILABLE and _native.ieee754()):
        return None
    try:
        packed = _native.pack(book, _NUMBERS[codebook.dtype])
    except ValueError:
        return None
    if not packed.usable:
        return None
    found = _native.assign(packed, host, _NUMBERS[latents.dtype], _native.thread_count())
    if found is None:
        return None
    codes, decided_by, sqdist = found
    if sqdist.size and sqdist.min() < SMALLEST_PRODUCT:
        sqdist = mended_sqdist(latents, as_prepared(codebook), codes, sqdist)
    return torch.from_numpy(codes), torch.from_numpy(decided_by), torch.from_numpy(sqdist)


def _shared(rows: torch.Tensor) -> np.ndarray | None:
    """Return a NumPy array that shares the memory of rows (N, D), or None."""
    if not rows.is_cpu or rows.ndim != 2 or rows.dtype not in _NUMBERS or rows.is_neg():
        return None
    if rows.layout != torch.strided or (
        distributed.is_available() and distributed.is_initialized()
    ):
        return None  # FSDP frees gathered parameters, whose memory must not be shared for good
    return rows.numpy()


@torch.library.custom_op("certvq::assign", mutates_args=())
def assign_operator(
    latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the nearest codes; `certvq.assign` as an operator of torch.

    Args:
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.

    Returns:
        codes, int64 (N,); decided_by, uint8 (N,); sqdist, float64 (N,): as in `Assignment`,
        but float32 where the device has no float64.

    Raises:
        NonFiniteError: NaN or infinity.
        ShapeError: wrong rank, empty codebook, or latents and codebook of different dim.
        DTypeError: numbers that are not floats.
        DeviceError: one of them, but not both, is on the meta device.

    Guarantee: that of `certvq.assign`.
    Ties: the lowest index.
    """
    return _assign(latents, codebook)


@assign_operator.register_fake
def _(latents: torch.Tensor, codebook: torch.Tensor) -> _Searched:
    if (latents.device.type == "meta") != (codebook.device.type == "meta"):
        text = (
            "latents and codebook must both have numbers, or both be on the meta device, got "
            f"latents on {latents.device} and a codebook on {codebook.device}"
        )
        raise DeviceError(text)
    codes, decided_by, sqdist = (
        latents.new_empty(latents.shape[:1], dtype=number)
        for number in (torch.int64, torch.uint8, widest(latents.device))
    )
    return codes, decided_by, sqdist


@assign_operator.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, int | None], latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[list[torch.Tensor], list[int]]:
    """One search for each entry of the batch; one for all where the codebook is the same."""
    latents_dim, codebook_dim = in_dims
    if codebook_dim is None:
        batch = latents.movedim(latents_dim or 0, 0)
        found = assign_operator(batch.reshape(-1, batch.shape[-1]), codebook)
        return [part.reshape(batch.shape[:-1]) for part in found], [0, 0, 0]
    searches = [
        assign_operator(
            latents if latents_dim is None else latents.select(latents_dim, place),
            codebook.select(codebook_dim, place),
        )
        for place in range(info.batch_size)
    ]
    return [torch.stack(part) for part in zip(*searches, strict=True)], [0, 0, 0]


def search_in_graph(latents: torch.Tensor, codebook: torch.Tensor) -> _Searched:
    """Record the search: as ``certvq::assign`` for TorchScript, as `ASSIGN` for ONNX.

    Args:
        latents: (N, D), detached.
        codebook: (K, D), detached.

    Returns:
        What `assign_operator` returns.

    Raises:
        ExportError: numbers that the operator of ONNX does not take: float64.
    """
    if not torch.onnx.is_in_onnx_export():
        return assign_operator(latents, codebook)
    for name, numbers in (("latents", latents), ("codebook", codebook)):
        if numbers.dtype == torch.float64:
            text = f"the search in ONNX graphs takes float32, got float64 {name}; call .float()"
            raise ExportError(text)
    latents, codebook = latents.float(), codebook.float()
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage] (documented)
        recorded: tuple[torch.Tensor, ...] = _Search.apply(latents, codebook)
        return recorded[0], recorded[1], recorded[2]
    if not hasattr(torch.onnx, "ops"):  # before torch 2.8
        return assign_operator(latents, codebook)
    found = torch.onnx.ops.symbolic_multi_out(
        _NAME,
        (latents, codebook),
        dtypes=(torch.int64, torch.uint8, torch.float64),
        shapes=[latents.shape[:1]] * 3,
        version=1,
    )
    return found[0], found[1], found[2]


class _Search(torch.autograd.Function):
    """The search as the TorchScript exporter wants it."""

    @staticmethod
    def forward(ctx: Any, latents: torch.Tensor, codebook: torch.Tensor) -> Any:
        found = assign_operator(latents, codebook)
        ctx.mark_non_differentiable(*found)
        return found

    @staticmethod
    def symbolic(graph: Any, latents: Any, codebook: Any) -> Any:
        """Return the operator, with the types of its results."""
        found = graph.op(_NAME, latents, codebook, outputs=3)
        for value, number in zip(found, (torch.int64, torch.uint8, torch.float64), strict=True):
            value.setType(latents.type().with_dtype(number).with_sizes([None]))
        return found
