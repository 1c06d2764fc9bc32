"""What this installation is made of, for a report of a defect or of speed.

In: the installed packages and the environment. Out: a mapping, or lines of it. Must not import
torch, nor anything else that is not loaded yet.
"""

import importlib.util
import json
import platform
from importlib import metadata
from typing import Any, Final

from certvq import _checker, _native
from certvq._native import chosen_threads
from certvq._version import __version__
from certvq.assign import backends
from certvq.errors import CertVQError

_NEEDS: Final = {"torch": "torch", "triton": "triton"}
"""What a built-in backend needs beside NumPy; see also `native` and `lean`."""

_LIBRARIES: Final = (
    *("numpy", "torch", "triton", "jax", "safetensors", "huggingface-hub", "pyarrow", "pillow"),
    *("scikit-image", "scikit-learn", "threadpoolctl", "tensorboard", "typer", "rich", "plotly"),
    *("z3-solver", "cvc5", "onnx", "onnxruntime", "faiss-cpu", "vector-quantize-pytorch"),
)


def info() -> dict[str, Any]:
    """Collect versions, the instruction set, threads and backends, in JSON's own types."""
    return {
        "certvq": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "kernel_built": _native.AVAILABLE,
        "checker_built": bool(_checker.levels()),
        **_instruction_set(),
        "instruction_sets": _native.isas(),
        **_threads(),
        "backends": {name: _state(name) for name in backends()},
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def show_info(*, as_json: bool = False) -> None:
    """Print what this installation is made of, as `certvq info` does.

    Args:
        as_json: print one JSON object instead of lines.

    Example:
        >>> show_info()  # doctest: +ELLIPSIS
        certvq: ...
    """
    found = info()
    if as_json:
        print(json.dumps(found, indent=2))  # noqa: T201 (that is what it is for)
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {_text(value)}")  # noqa: T201 (likewise)


def _instruction_set() -> dict[str, Any]:
    forced, here = _native.forced_isa(), _native.isas()
    if forced and forced not in here:
        known = ", ".join(here) or "none, as the kernel was not built"
        source = f"{_native.ISA_VARIABLE} must be one of those here ({known}), got {forced!r}"
        return {"instruction_set": None, "instruction_set_from": source}
    source = _native.ISA_VARIABLE if forced else "the best here"
    return {"instruction_set": forced or next(iter(here), None), "instruction_set_from": source}


def _threads() -> dict[str, Any]:
    try:
        count, source = chosen_threads()
    except CertVQError as error:
        return {"threads": None, "threads_from": str(error)}
    return {"threads": count, "threads_from": source}


def _state(backend: str) -> str:
    if backend == "native":
        return "ready" if _native.AVAILABLE else "the kernel was not built"
    if backend == "lean":
        return _lean()
    needed = _NEEDS.get(backend)
    if needed is not None and importlib.util.find_spec(needed) is None:
        return f"{needed} is not installed"
    return "ready, on a CUDA device" if backend == "triton" else "ready"


def _lean() -> str:
    from certvq._lean import find_lean

    try:
        return f"ready, Lean {find_lean().version}"
    except CertVQError as error:
        return str(error)


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(
            f"\n  {name}: {'not installed' if entry is None else entry}"
            for name, entry in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
