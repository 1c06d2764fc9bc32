"""The Triton backend: tensor cores filter, float64 settles, what is open goes to the engine.

In: latents of the right width and a prepared codebook. Out: `Decided`, on the device of the
latents. Rows that the kernels leave open are decided by the torch backend's filter on the same
device, and in exact integers on the host. Must not be imported before it is asked for.
"""

import importlib.util
from contextlib import nullcontext

import numpy as np

from certvq._types import Array
from certvq.assign import _engine
from certvq.assign._arrays import is_torch, largest_magnitude, own_copy, plain, to_host
from certvq.assign._assignment import Decided
from certvq.assign._prepare import Prepared
from certvq.assign._sqdist import SMALLEST_PRODUCT, row_sqdist
from certvq.assign._validate import require_finite
from certvq.errors import BackendUnavailableError, DeviceMemoryError


def require_installed() -> None:
    """Require torch and Triton.

    Raises:
        BackendUnavailableError: says which is missing and how to install it.
    """
    for module in ("torch", "triton"):
        if importlib.util.find_spec(module) is None:
            text = f"backend 'triton' needs {module}; install it with: pip install 'certvq[triton]'"
            raise BackendUnavailableError(text)


require_installed()

import torch  # noqa: E402  (after what says how to install it)

from certvq import _triton  # noqa: E402
from certvq.assign._filter_torch import torch_filter  # noqa: E402


def triton_codes(latents: Array, prepared: Prepared) -> Decided:
    """Find the nearest codes with the Triton kernels.

    Args:
        latents: (N, D), of the right width; looked through for NaN and infinity only where the
            kernels could not decide a row.
        prepared: the codebook, of any library and on any device.

    Returns:
        Codes and evidence, tensors on the device of the latents; NumPy arrays where the latents
        are no tensor.

    Raises:
        NonFiniteError: NaN or infinity.
        BackendUnavailableError: no CUDA device, or one that cannot run the kernels.
        FloatEnvironmentError: the device flushes subnormal numbers.
        DeviceMemoryError: the device has too little memory, even for small blocks.

    Guarantee: the contract: by ``quantized_score_gap_le``, with `certvq.bounds.tensor_reach`, and
        ``refine_sound``; for open rows ``certified_assign``.
    Cost: O(N K D) on tensor cores; the codebook is laid out once for each `Prepared` and device.
    """
    device = _device_of(latents)
    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            _triton.require_device(device)
            decided = _decide(_tensor(latents).to(device), prepared)
    except torch.OutOfMemoryError as error:
        text = (
            f"backend 'triton' ran out of device memory with {latents.shape[0]} latents of "
            f"{latents.nbytes} bytes and {prepared.codebook_size} codes of dim {prepared.dim}; "
            f"free some, or assign fewer latents at a time ({error})"
        )
        raise DeviceMemoryError(text) from error
    if not is_torch(latents):
        return Decided(*(to_host(part) for part in decided))
    return Decided(*(part.to(latents.device) for part in decided))


def _device_of(latents: Array) -> torch.device:
    if is_torch(latents) and latents.device.type != "cpu":
        return latents.device
    if _triton.INTERPRETED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        text = (
            "backend 'triton' needs a CUDA device, and torch finds none; use backend='auto', or "
            "set TRITON_INTERPRET=1 before it is first used to run its kernels on the CPU, slowly"
        )
        raise BackendUnavailableError(text)
    return torch.device("cuda", torch.cuda.current_device())


def _tensor(latents: Array) -> torch.Tensor:
    return plain(latents) if is_torch(latents) else torch.from_numpy(own_copy(to_host(latents)))


def _decide(
    latents: torch.Tensor, prepared: Prepared
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tables = _tables(prepared, latents.device)
    if tables is None:
        require_finite(latents, "latents")
        ways = torch.zeros(len(latents), dtype=torch.uint8, device=latents.device)
        found = (torch.zeros_like(ways, dtype=torch.int64), ways, ways.double())
        left = len(latents)
    else:
        kernels = _triton.decide(latents, tables)
        found = (kernels.codes, kernels.ways, kernels.sqdists)
        left = kernels.left()
    if left:
        _decide_open(latents, prepared, *found)
    return found


def _tables(prepared: Prepared, device: torch.device) -> _triton.Tables | None:
    if prepared.exponent_for(0.0) != 0:  # beyond 2**400: the engine scales the call
        return None
    return prepared.derive(
        f"triton:{device}",
        0,
        lambda: _triton.make_tables(prepared.distinct, prepared.lowest, device),
    )


def _decide_open(
    latents: torch.Tensor,
    prepared: Prepared,
    codes: torch.Tensor,
    ways: torch.Tensor,
    sqdists: torch.Tensor,
) -> None:
    """Decide the rows that have no way yet, and mend distances whose terms may have underflowed."""
    rows = torch.nonzero((ways == 0) | (sqdists < SMALLEST_PRODUCT)).squeeze(1)
    if not len(rows):
        return
    still_open = ways[rows] == 0
    picked = rows[still_open]
    if len(picked):
        left = latents[picked]
        if not bool(torch.isfinite(left).all()):
            require_finite(latents, "latents")
        exponent = prepared.exponent_for(largest_magnitude(to_host(left)))
        filter_ = torch_filter(prepared, exponent, left.device)
        decided = _engine.run(left, prepared, filter_, exponent)
        codes[picked] = torch.from_numpy(np.asarray(decided.codes)).to(codes.device)
        ways[picked] = torch.from_numpy(np.asarray(decided.decided_by)).to(ways.device)
    mended = row_sqdist(latents[rows], prepared, to_host(codes[rows]))
    sqdists[rows] = torch.from_numpy(mended).to(sqdists.device)
