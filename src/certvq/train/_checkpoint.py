"""Checkpoints in one safetensors file: complete or absent, checked when read, never unpickled.

In: model, optimiser and generator. Out: their state on disk and back, to the bit. A digest over all
tensors stands in the description in the file's metadata, and one over that description, so that a
flipped bit is found and not trained upon. Must not import the loop.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from certvq._files.atomic import atomic_path
from certvq._files.json import dumps, is_whole, loads, sealed
from certvq.errors import FileFormatError, OptionError
from certvq.models import VQVAE
from certvq.models._tensors import save_tensors
from certvq.nn._torch.generators import without_generators
from certvq.train._config import TrainConfig

_FORMAT = 2
_KEY = "certvq"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes:
        config: the configuration of the run that wrote it.
        step: optimiser steps done.
        seconds: wall-clock time spent until then, resumed parts counted in.
        photographs: digest of the photographs trained and validated on.
    """

    config: TrainConfig
    step: int
    seconds: float
    photographs: str


@dataclass(frozen=True)
class TrainState:
    """The moving parts of a run: everything that a checkpoint has to hold.

    Attributes:
        model: weights, codebook and the quantizer's buffers.
        optimizer: an optimiser whose state is tensors alone, such as Adam.
        generator: source of every random choice that is made while training.
    """

    model: VQVAE
    optimizer: torch.optim.Optimizer
    generator: torch.Generator


def write_checkpoint(path: Path, state: TrainState, info: CheckpointInfo) -> None:
    """Write the state and the description of a run.

    Args:
        path: the file; an older one is replaced when the new one is complete.
        state: what to write.
        info: what to say about it.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = _flatten(state)
    content = {
        "format": _FORMAT,
        "config": info.config.to_json(),
        "step": info.step,
        "seconds": info.seconds,
        "photographs": info.photographs,
        "tensors_sha256": _digest(tensors),
    }
    with atomic_path(path) as partial:
        save_tensors(tensors, partial, {_KEY: dumps(sealed(content))})


def read_checkpoint_info(path: Path) -> CheckpointInfo:
    """Read what a checkpoint says about itself, without its tensors.

    Args:
        path: the file.

    Returns:
        Its description.

    Raises:
        FileFormatError: absent, not a safetensors file, or no checkpoint of this version.
    """
    return _info(path, _metadata(path))


def read_checkpoint(path: Path, state: TrainState) -> CheckpointInfo:
    """Load a checkpoint into a freshly made model, optimiser and generator.

    Args:
        path: the file.
        state: of the same configuration; overwritten in place.

    Returns:
        The checkpoint's description.

    Raises:
        FileFormatError: absent, corrupt, truncated, or of a model of other shapes. The state is
            untouched then.

    Guarantee: tested, not proved: training goes on bit for bit as if it had not been interrupted.
    """
    content = _metadata(path)
    info = _info(path, content)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _corrupt(path, str(error)) from error
    if _digest(tensors) != content.get("tensors_sha256"):
        raise _corrupt(path, "its tensors do not have the SHA-256 digest that was written with it")
    _require_fitting(path, tensors, state)
    before = _flatten(state)
    try:
        _restore(tensors, state)
    except Exception as error:
        _restore(before, state)
        raise _corrupt(path, f"{error}") from error
    return info


def _metadata(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            content = loads((file.metadata() or {})[_KEY])
    except FileNotFoundError as error:
        text = f"{path}: there is no checkpoint to resume from; train afresh, or overwrite the run"
        raise FileFormatError(text) from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise _corrupt(path, str(error)) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _corrupt(path, f"its description is not of format {_FORMAT}")
    if not is_whole(content):
        raise _corrupt(path, "its description does not have the SHA-256 digest written with it")
    return content


def _info(path: Path, content: dict[str, Any]) -> CheckpointInfo:
    try:
        return CheckpointInfo(
            config=TrainConfig.from_json(content["config"]),
            step=int(content["step"]),
            seconds=float(content["seconds"]),
            photographs=str(content["photographs"]),
        )
    except (KeyError, TypeError, ValueError, OptionError) as error:
        raise _corrupt(path, f"its description cannot be read ({error})") from error


def _corrupt(path: Path, why: str) -> FileFormatError:
    text = f"{path}: not a whole checkpoint of this version ({why}); delete it and train afresh"
    return FileFormatError(text)


def _flatten(state: TrainState) -> dict[str, Tensor]:
    model = without_generators(state.model.state_dict())
    tensors = {f"model.{name}": value for name, value in model.items()}
    for index, entries in state.optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            tensors[f"optimizer.{index}.{name}"] = value
    tensors["generator"] = state.generator.get_state()
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def _restore(tensors: dict[str, Tensor], state: TrainState) -> None:
    model: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "model":
            model[rest] = value
        elif kind == "optimizer":
            index, _, entry = rest.partition(".")
            moments.setdefault(int(index), {})[entry] = value
    state.model.load_state_dict(model)
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    state.generator.set_state(tensors["generator"])


def _require_fitting(path: Path, tensors: dict[str, Tensor], state: TrainState) -> None:
    """Require the names, shapes and types of number that the state has."""
    found = {name: _kind(value) for name, value in tensors.items()}
    own = without_generators(state.model.state_dict())
    wanted = {f"model.{name}": _kind(value) for name, value in own.items()}
    wanted["generator"] = _kind(state.generator.get_state())
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    entries = {name.split(".", 2)[-1] for name in found if name.startswith("optimizer.")}
    for index, parameter in enumerate(parameters):
        for entry in entries:
            whole = found.get(f"optimizer.{index}.{entry}")
            kinds = (_kind(parameter), ((), torch.float32))  # moments, and the count of steps
            wanted[f"optimizer.{index}.{entry}"] = whole if whole in kinds else kinds[0]
    if found != wanted:
        first = min(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        text = (
            f"{path}: the checkpoint is of another model: {first} has shape and type "
            f"{found.get(first)}, needed is {wanted.get(first)}; give the configuration it was "
            f"trained with, or train afresh"
        )
        raise FileFormatError(text)


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape), tensor.dtype


def _digest(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
