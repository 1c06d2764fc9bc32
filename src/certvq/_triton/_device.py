"""Whether a device can run the kernels, and computes as the bounds assume; what it has.

In: a torch device. Out: a `Device`, nothing, or a named error. Must not import other kernels than
those that it tries.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import torch
import triton
from triton.runtime import driver

from certvq import bounds
from certvq._triton._kernels import accumulate, widen
from certvq._triton._plan import Device
from certvq.errors import BackendUnavailableError, FloatEnvironmentError

LEAST_CAPABILITY: Final = (8, 0)
"""Compute capability of the oldest GPUs that are taken: those of the A100."""

_BLOCK: Final = 16
"""Numbers of a program of the trial, which widens two."""

_TRIAL: Final = 64
"""Rows and columns of the trial of tensor cores: from here on, Hopper has its own instruction."""

_PRODUCTS: Final = 16
"""Products of one instruction."""

_HOPPER: Final = 9
"""Major compute capability of the H100 and its kin."""

_INTERPRETED: Final = Device(shared=99 << 10, processors=4, warpgroups=False)
"""What the interpreter passes for, on a CPU: small blocks, because it runs one after another."""


def require_device(device: torch.device) -> None:
    """Require a GPU that the kernels are written for and that computes as the bounds assume.

    Args:
        device: of type ``"cuda"``, or ``"cpu"`` where the kernels are interpreted.

    Raises:
        BackendUnavailableError: another kind of device, one of another maker than NVIDIA, or one
            that is too old; or an interpreter that this NumPy is too new for.
        FloatEnvironmentError: it takes subnormal numbers for 0 when it converts them to float64, or
            its tensor cores err by more than ``ax_tensor_core_accumulate`` allows.
    """
    if device.type == "cuda":
        _require_capability(device)
    elif device.type != "cpu":
        text = f"backend 'triton' needs a CUDA device, got {device}; use backend='torch'"
        raise BackendUnavailableError(text)
    else:
        _require_interpreter()
    _require_subnormals(device)
    _require_accumulation(device)


@cache
def describe(device: torch.device) -> Device:
    """Read what the choice of blocks depends on; on a CPU, where kernels are interpreted, fixed."""
    if device.type != "cuda":
        return _INTERPRETED
    index = torch.cuda.current_device() if device.index is None else device.index
    active: Any = driver.active  # a backend of Triton, so its attributes are not known
    return Device(
        shared=int(active.utils.get_device_properties(index)["max_shared_mem"]),
        processors=torch.cuda.get_device_properties(device).multi_processor_count,
        warpgroups=torch.cuda.get_device_capability(device)[0] == _HOPPER,
    )


def _require_interpreter() -> None:
    """Before version 3.7 Triton's interpreter takes arrays of one number for numbers."""
    versions = (triton.__version__, np.__version__)
    of_triton, of_numpy = (tuple(map(int, each.split(".")[:2])) for each in versions)
    if of_triton < (3, 7) and of_numpy >= (2, 4):
        text = (
            f"the interpreter of Triton {versions[0]} needs NumPy below 2.4, got {versions[1]}; "
            "install another version of either, or use backend='auto'"
        )
        raise BackendUnavailableError(text)


@cache
def _require_capability(device: torch.device) -> None:
    if torch.version.hip is not None:
        text = (
            f"backend 'triton' needs a GPU of NVIDIA, whose tensor cores its bounds are derived "
            f"for, got ROCm {torch.version.hip}; use backend='torch'"
        )
        raise BackendUnavailableError(text)
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        needed, got = (f"{major}.{minor}" for major, minor in (LEAST_CAPABILITY, capability))
        text = (
            f"backend 'triton' needs compute capability {needed}, got {got} "
            f"({torch.cuda.get_device_name(device)}); use backend='torch'"
        )
        raise BackendUnavailableError(text)


@cache
def _require_subnormals(device: torch.device) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        exponents = {torch.float64: -1074, torch.float32: -149, torch.bfloat16: -133}
        smallest = 2.0 ** exponents.get(dtype, -24)
        values = torch.tensor([smallest, -3.0 * smallest], dtype=torch.float64)
        narrow = values.to(dtype).to(device)
        widened = torch.empty(2, dtype=torch.float64, device=device)
        kernel: Any = widen  # it takes options that Triton adds
        kernel[(1,)](narrow, widened, 2, BLOCK=_BLOCK)
        if widened.cpu().tolist() != values.tolist():
            text = (
                f"subnormal numbers must be kept (IEEE 754), but {device} reads the {dtype} number "
                f"{smallest} as {float(widened[0])}; use backend='torch'"
            )
            raise FloatEnvironmentError(text)


@cache
def _require_accumulation(device: torch.device) -> None:
    """Add products to 1 that are just below the place where an alignment may cut them off.

    Of models of tensor cores these sums take more than half of the bound (bench/tensor_cores.py).
    """
    left, right = (each.to(device) for each in _below_each_place())
    start = torch.ones(_TRIAL, _TRIAL, device=device)
    sums, kernel = torch.empty_like(start), accumulate
    launch: Any = kernel[(1,)]  # as above
    launch(left, right, start, sums, TERMS=_PRODUCTS, CHUNK=_PRODUCTS, SIZE=_TRIAL)
    exact = 1.0 + left.cpu().double() @ right.cpu().double().T  # each needs 40 bits at most
    allowed = (_PRODUCTS + 1) * bounds.TENSOR_ROUNDOFF * exact
    share = float(((sums.cpu().double() - exact).abs() / allowed).max())
    if not share <= 1.0:
        text = (
            f"tensor cores must err by at most {_PRODUCTS + 1} * 2**-23 of a sum of {_PRODUCTS} "
            f"products and 1 (ax_tensor_core_accumulate), but those of {device} err by {share:.3g} "
            "times as much; use backend='torch'"
        )
        raise FloatEnvironmentError(text)


def _below_each_place() -> tuple[torch.Tensor, torch.Tensor]:
    """Return operands float16 (64, 16) whose products lie just below 2**-16 to 2**-27.

    In some columns the first of each eight or sixteen is two or four times as large.
    """
    at = torch.arange(_TRIAL)
    left = torch.exp2(-8.0 - at % 6)[:, None].repeat(1, _PRODUCTS) * (1 - 2.0**-11)
    right = torch.exp2(-8.0 - at % 7)[:, None].repeat(1, _PRODUCTS)
    right[at // 7 % 3 == 1, ::8] *= 2
    right[at // 7 % 3 == 2, 0] *= 4
    return left.half(), right.half()
