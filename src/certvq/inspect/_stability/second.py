"""The second way in which a model runs.

In: a model and what is to differ. Out: which module runs, and how. Must not look at codes.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from certvq.errors import OptionError
from certvq.inspect._running import run_model

Call: TypeAlias = Callable[[Any, Any], object]
"""``call(model, batch)`` runs the model on a batch."""

Perturbation: TypeAlias = str | float | nn.Module | Call
"""What differs in the second run, or how far a latent may move."""

WAYS = {
    "precision": "a copy of the model in float64",
    "bfloat16": "the model under bfloat16 autocast",
    "batch": "each sample of a batch alone",
}
"""The second runs that have a name."""


@dataclass(frozen=True, eq=False)
class Second:
    """A second run.

    Attributes:
        label: what differs, in words.
        module: the module that runs, the model itself or another.
        run: runs it on a batch of the first run.
    """

    label: str
    module: nn.Module
    run: Callable[[Any], object]


def second_run(model: nn.Module, perturbation: Perturbation, call: Call | None) -> Second | float:
    """Read what is to differ.

    Args:
        model: the model of the first run.
        perturbation: as for `certvq.stability_report`.
        call: how the model is run.

    Returns:
        The second run, or the distance that was given.

    Raises:
        OptionError: another word, or a distance that is negative or not finite.
    """
    run = run_model if call is None else call
    if isinstance(perturbation, nn.Module):
        kind = type(perturbation).__qualname__
        return Second(
            f"another module ({kind})",
            perturbation,
            lambda b: run(perturbation, moved(b, device_of(perturbation))),
        )
    if perturbation == "precision":
        wide = copy.deepcopy(model).double()
        return Second(WAYS["precision"], wide, lambda b: run(wide, _widened(b)))
    if perturbation == "bfloat16":
        return Second(WAYS["bfloat16"], model, lambda b: _autocast(model, b, run))
    if perturbation == "batch":
        return Second(WAYS["batch"], model, lambda b: [run(model, each) for each in samples(b)])
    if isinstance(perturbation, int | float) and not isinstance(perturbation, bool):
        if 0.0 <= perturbation < math.inf:
            return float(perturbation)
    elif callable(perturbation):
        name = getattr(perturbation, "__name__", type(perturbation).__name__)
        return Second(f"a function ({name})", model, lambda b: perturbation(model, b))
    words = ", ".join(repr(word) for word in WAYS)
    text = (
        f"perturbation must be {words}, a finite distance of at least 0, another module or a "
        f"function of model and batch, got {perturbation!r}"
    )
    raise OptionError(text)


def samples(batch: Any) -> Iterator[Any]:
    """Cut a batch into batches of one sample.

    Args:
        batch: a tensor, or a dict of keyword arguments of which the tensors are cut.

    Raises:
        OptionError: something else, or tensors of different sizes.
    """
    tensors = list(batch.values()) if isinstance(batch, Mapping) else [batch]
    sizes = {len(each) if each.ndim else -1 for each in tensors if isinstance(each, torch.Tensor)}
    if len(sizes) != 1 or -1 in sizes:
        got = f"first axes of {sorted(sizes)}" if sizes else type(batch).__name__
        text = (
            "perturbation='batch' cuts batches along their first axis: each must be a tensor, or a "
            f"dict whose tensors have one size there, got {got}; give a function of model and "
            "batch that runs the model in pieces"
        )
        raise OptionError(text)
    for place in range(sizes.pop()):
        yield _sample(batch, place)


def _sample(batch: Any, place: int) -> Any:
    if isinstance(batch, Mapping):
        return {key: _sample(each, place) for key, each in batch.items()}
    return batch[place : place + 1] if isinstance(batch, torch.Tensor) else batch


def device_of(module: nn.Module) -> torch.device | None:
    """Return where the first parameter or buffer of a module is; None where it has neither."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return None if first is None else first.device


def moved(batch: Any, device: torch.device | None) -> Any:
    """Return a batch with its tensors on a device; None leaves them where they are."""
    if device is None:
        return batch
    return _each(batch, lambda part: part.to(device) if isinstance(part, torch.Tensor) else part)


def _widened(batch: Any) -> Any:
    """Return a batch with its floats as float64."""
    return _each(batch, _wide)


def _wide(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, np.ndarray):
        return part.astype(np.float64) if np.issubdtype(part.dtype, np.floating) else part
    return part


def _each(batch: Any, change: Callable[[Any], Any]) -> Any:
    """Change what a batch is made of, in mappings, lists and tuples."""
    if isinstance(batch, Mapping):
        return {key: _each(part, change) for key, part in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_each(part, change) for part in batch)
    return change(batch)


def _autocast(model: nn.Module, batch: Any, run: Call) -> object:
    device = device_of(model)
    with torch.autocast("cpu" if device is None else device.type, dtype=torch.bfloat16):
        return run(model, batch)
