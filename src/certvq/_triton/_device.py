"""Whether a device can run the kernels, and computes as the bounds assume.

In: a torch device. Out: nothing, or a named error. Must not import other kernels than the one that
it tries.
"""

from functools import cache
from typing import Any, Final

import torch

from certvq._triton._kernels import widen
from certvq.errors import BackendUnavailableError, FloatEnvironmentError

LEAST_CAPABILITY: Final = (8, 0)
"""Compute capability of the oldest GPUs that are taken: those of the A100."""

_BLOCK: Final = 16


def require_device(device: torch.device) -> None:
    """Require a GPU that the kernels are written for and that keeps subnormal numbers.

    Args:
        device: of type ``"cuda"``, or ``"cpu"`` where the kernels are interpreted.

    Raises:
        BackendUnavailableError: another kind of device, one of another maker than NVIDIA, or one
            that is too old.
        FloatEnvironmentError: it takes subnormal numbers for 0 when it converts them to float64.
    """
    if device.type == "cuda":
        _require_capability(device)
    elif device.type != "cpu":
        text = f"backend 'triton' needs a CUDA device, got {device}; use backend='torch'"
        raise BackendUnavailableError(text)
    _require_subnormals(device)


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
