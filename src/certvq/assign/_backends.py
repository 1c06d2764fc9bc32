"""Backends by name: the built-in certified ones, and anything that proposes codes.

In: latents of the right shape and a prepared codebook. Out: `Decided`, or the error that names the
first number that is not finite. What a registered function proposes
is compared, row by row, with the certified answer, and repaired or refused. Must not import torch
unless the torch backend runs.
"""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from certvq._float64 import float64_home
from certvq._native import AVAILABLE as KERNEL_BUILT
from certvq._types import Array
from certvq.assign import _engine
from certvq.assign._arrays import is_torch, largest_magnitude, own_copy, to_host
from certvq.assign._assignment import Decided, DecidedBy
from certvq.assign._filter_numpy import numpy_filter
from certvq.assign._native import native_codes
from certvq.assign._prepare import Prepared
from certvq.assign._reference import reference_codes
from certvq.assign._threads import torch_was_forked
from certvq.assign._validate import require_codes, require_finite
from certvq.errors import (
    BackendError,
    BackendUnavailableError,
    CertificateError,
    CertVQError,
    OptionError,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Propose: TypeAlias = Callable[[Array, Array], Array]
"""A user's argmin: takes latents (N, D) and codebook (K, D) as given, returns codes (N,)."""

Decide: TypeAlias = Callable[[Array, Prepared], Decided]

ENTRY_POINTS: Final = "certvq.backends"


def _native(latents: Array, prepared: Prepared) -> Decided:
    decided = native_codes(latents, prepared)
    return _numpy(latents, prepared) if decided is None else decided


def _numpy(latents: Array, prepared: Prepared) -> Decided:
    require_finite(latents, "latents")
    host = to_host(latents)
    exponent = prepared.exponent_for(largest_magnitude(host))
    return _engine.run(host, prepared, numpy_filter(prepared, exponent), exponent)


def _torch(latents: Array, prepared: Prepared) -> Decided:
    require_finite(latents, "latents")
    if importlib.util.find_spec("torch") is None:
        text = "backend 'torch' needs torch; install it with: pip install 'certvq[torch]'"
        raise BackendUnavailableError(text)
    import torch

    from certvq.assign._filter_torch import torch_filter

    tensor = latents if is_torch(latents) else torch.from_numpy(own_copy(to_host(latents)))
    home = torch.device(float64_home(tensor.device))
    if home.type == "cpu" and torch_was_forked():
        return _numpy(tensor, prepared)
    exponent = prepared.exponent_for(largest_magnitude(to_host(tensor)))
    filter_ = torch_filter(prepared, exponent, home)
    return _engine.run(tensor, prepared, filter_, exponent)


def _triton(latents: Array, prepared: Prepared) -> Decided:
    from certvq.assign._triton import triton_codes

    return triton_codes(latents, prepared)


def _reference(latents: Array, prepared: Prepared) -> Decided:
    require_finite(latents, "latents")
    host = to_host(latents)
    codes = reference_codes(host, prepared.vectors()) if len(host) else np.empty(0, np.int64)
    return Decided(codes, np.full(len(codes), DecidedBy.EXACT, dtype=np.uint8))


def _lean(latents: Array, prepared: Prepared) -> Decided:
    from certvq.assign._lean import lean_codes

    require_finite(latents, "latents")
    return lean_codes(latents, prepared)


_BUILT_IN: Final[dict[str, Decide]] = {
    "native": _native,
    "reference": _reference,
    "numpy": _numpy,
    "torch": _torch,
    "triton": _triton,
    "lean": _lean,
}
_registered: dict[str, Decide] = {}


def backends() -> tuple[str, ...]:
    """Return the names that `certvq.assign` accepts as `backend`, in addition to ``"auto"``.

    Example:
        >>> import certvq
        >>> "numpy" in certvq.backends()
        True
    """
    plugged_in = [point.name for point in _entry_points()]
    return tuple(dict.fromkeys([*_BUILT_IN, *_registered, *plugged_in]))


def register_backend(
    name: str, propose: Propose, *, on_violation: Literal["repair", "raise"] = "repair"
) -> None:
    """Register a function that proposes codes, which certvq certifies.

    Args:
        name: the name for `certvq.assign`; the built-in names are taken.
        propose: called as ``propose(latents, codebook)`` with copies of the user's arrays;
            returns one integer for each latent.
        on_violation: ``"repair"`` replaces a wrong code with the right one, ``"raise"`` refuses it.

    Raises:
        OptionError: the name is taken by a built-in backend, or `on_violation` is unknown.

    Guarantee: that of `certvq.assign`, whatever `propose` does; it cannot make a code wrong.

    Example:
        >>> import numpy as np, certvq
        >>> def float32_argmin(latents, codebook):
        ...     scores = latents @ codebook.T - (codebook * codebook).sum(1) / 2
        ...     return scores.argmax(1)
        >>> certvq.register_backend("mine", float32_argmin)
        >>> certvq.assign(np.ones((1, 2)), np.eye(2), backend="mine").codes
        array([0])
        >>> certvq.unregister_backend("mine")
    """
    if name in _BUILT_IN or name == "auto":
        text = f"backend name {name!r} is built in; choose another than {', '.join(_BUILT_IN)}"
        raise OptionError(text)
    if on_violation not in ("repair", "raise"):
        text = f"on_violation must be 'repair' or 'raise', got {on_violation!r}"
        raise OptionError(text)
    _registered[name] = _certifying(name, propose, on_violation)


def unregister_backend(name: str) -> None:
    """Remove a backend that `register_backend` added.

    Args:
        name: as it was registered.

    Raises:
        BackendUnavailableError: there is no backend of that name.
    """
    if _registered.pop(name, None) is None:
        text = f"backend {name!r} is not registered; registered are {sorted(_registered)}"
        raise BackendUnavailableError(text)


def runs_foreign_code(name: str) -> bool:
    """Say whether a backend calls a function of a user or a plug-in."""
    return name not in _BUILT_IN and name != "auto"


def find_backend(name: str, latents: Array) -> Decide:
    """Return the backend of that name, looking at entry points last.

    Raises:
        BackendUnavailableError: unknown, or its plug-in cannot be loaded.
    """
    if name == "auto":
        on_gpu = is_torch(latents) and latents.device.type == "cuda"
        return _torch if on_gpu else _native if KERNEL_BUILT else _numpy
    known = _BUILT_IN.get(name) or _registered.get(name)
    if known is not None:
        return known
    for point in _entry_points():
        if point.name != name:
            continue
        try:
            propose = point.load()
        except (ImportError, AttributeError) as error:
            text = f"backend {name!r} ({point.value}) cannot be loaded: {error}; install it again"
            raise BackendUnavailableError(text) from error
        register_backend(name, propose)
        return _registered[name]
    text = f"backend must be 'auto' or one of {', '.join(backends())}, got {name!r}"
    raise BackendUnavailableError(text)


def _entry_points() -> list["EntryPoint"]:
    from importlib.metadata import entry_points  # a fifth of the time of `import certvq`

    return list(entry_points(group=ENTRY_POINTS))


def _certifying(name: str, propose: Propose, on_violation: str) -> Decide:
    def decide(latents: Array, prepared: Prepared) -> Decided:
        certified = find_backend("auto", latents)(latents, prepared)
        proposed = propose(own_copy(latents), own_copy(prepared.source))  # it may write to them
        try:
            codes = require_codes(proposed, int(latents.shape[0]), prepared.codebook_size)
        except CertVQError as error:
            text = f"backend {name!r} did not return codes: {error}"
            raise BackendError(text) from error
        except AttributeError as error:
            text = f"backend {name!r} must return an array of codes, got {type(proposed).__name__}"
            raise BackendError(text) from error
        wrong = np.flatnonzero(codes != certified.codes)
        if wrong.size and on_violation == "raise":
            row = int(wrong[0])
            text = (
                f"backend {name!r} must return the lowest nearest code, got {codes[row]} instead "
                f"of {certified.codes[row]} at row {row} ({wrong.size} rows in all); "
                f"register it with on_violation='repair' to have such codes repaired"
            )
            raise CertificateError(text)
        return certified

    return decide
