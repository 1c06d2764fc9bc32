"""Refuse arguments of the wrong kind, before anything runs.

In: what a caller gives. Out: the same, or `OptionError`. Must not look into a module.
"""

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from certvq.errors import OptionError


def require_module(module: object) -> None:
    """Refuse what is no torch module.

    Raises:
        OptionError: something else; a class of modules that is no instance yet.
    """
    if isinstance(module, nn.Module):
        return
    if isinstance(module, type):
        got = f"the class {module.__qualname__}; give an instance of it"
    else:
        got = f"{_kind(module)}; give the model itself, an instance of a subclass of it"
    text = f"module must be a torch.nn.Module, got {got}"
    raise OptionError(text)


def require_numbers(module: nn.Module) -> None:
    """Refuse a module whose parameters have no numbers.

    Raises:
        OptionError: one on the meta device, or one that is made when data first come.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        lazy = is_lazy(tensor)
        if lazy or tensor.is_meta:
            what = "not initialised" if lazy else "on the meta device"
            text = (
                f"module must hold numbers, but {name!r} is {what}; "
                f"{'run it once' if lazy else 'load its weights'} before the audit"
            )
            raise OptionError(text)


def require_call(call: object) -> None:
    """Refuse what is neither a function nor None.

    Raises:
        OptionError: something else.
    """
    if call is not None and not callable(call):
        text = (
            f"call must be None or a function of module and batch, got {_kind(call)}; for example "
            "call=lambda module, batch: module.encode(batch)"
        )
        raise OptionError(text)


def read_perturbation(perturbation: object) -> float | None:
    """Return a distance as a float, or None.

    Raises:
        OptionError: no number; one that is negative, NaN or infinite as a float.
    """
    if perturbation is None:
        return None
    if not isinstance(perturbation, numbers.Real) or isinstance(perturbation, bool):
        text = f"perturbation must be a number, or None, got {_kind(perturbation)}"
        raise OptionError(text)
    try:
        distance = float(perturbation)
    except OverflowError:
        distance = math.inf
    if not 0.0 <= distance < math.inf:
        text = f"perturbation must be a finite distance of at least 0, or None, got {distance!r}"
        raise OptionError(text)
    return distance


def batches(data: Any, *, called: bool = False) -> Iterator[Any]:
    """Yield the batches of data: itself, if it is a tensor or a dict.

    Args:
        data: a tensor, a dict, or an iterable of batches.
        called: whether a function of the user's takes the batches, which may then be anything.

    Raises:
        OptionError: something else; a batch that no model can be called with, by its number.
    """
    whole = isinstance(data, torch.Tensor | Mapping)
    if not whole and (not isinstance(data, Iterable) or isinstance(data, str | bytes | np.ndarray)):
        text = (
            f"data must be a tensor, a dict of keyword arguments or an iterable of batches, got "
            f"{_kind(data)}; {_what_to_do(data)}"
        )
        raise OptionError(text)
    for place, batch in enumerate([data] if whole else data):
        if not called:
            _require_batch(batch, "data" if whole else f"batch {place}")
        yield batch


def _require_batch(batch: Any, name: str) -> None:
    """Refuse what `run_model` cannot hand over, and lists, which mostly hold targets too."""
    if isinstance(batch, Mapping):
        wrong = next((key for key in batch if not isinstance(key, str)), "")
        if not isinstance(wrong, str):
            text = (
                f"{name} must be a dict of keyword arguments, with names for keys, got the key "
                f"{wrong!r}; rename it, or say how to call the model with call="
            )
            raise OptionError(text)
    elif batch is None or isinstance(
        batch, str | bytes | numbers.Number | np.ndarray | list | tuple
    ):
        text = (
            f"{name} must be a tensor or a dict of keyword arguments where call is None, got "
            f"{_kind(batch)}; {_what_to_do(batch)}"
        )
        raise OptionError(text)


def _what_to_do(given: object) -> str:
    if isinstance(given, np.ndarray):
        return "take torch.from_numpy, or give a list of arrays and call="
    if isinstance(given, list | tuple):
        return "say what of it the model takes, as in call=lambda module, batch: module(batch[0])"
    return "give a tensor, or say how to call the model with call="


def _kind(given: object) -> str:
    """Name a value that is refused, by its kind and, if it is short, by itself."""
    kind = type(given).__name__
    if isinstance(given, list | tuple):
        return f"a {kind} of {len(given)} ({', '.join(type(each).__name__ for each in given[:4])})"
    if isinstance(given, np.ndarray | torch.Tensor):
        return f"{kind} of shape {tuple(given.shape)}"
    shown = repr(given)
    return kind if given is None or len(shown) > 40 or "<" in shown else f"{kind} {shown}"
