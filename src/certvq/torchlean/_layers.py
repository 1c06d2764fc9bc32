"""The layers between an input and the latent: linear maps and ReLU.

In: weights, from arrays or from a safetensors file. Out: `Dense` layers in float64, which holds the
numbers of each narrower type exactly. Must not import torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from certvq.errors import FileFormatError, NonFiniteError, ShapeError

_NAME = re.compile(r"(?P<place>(?:[^.]+\.)*\d+)\.(?P<part>weight|bias)")


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear map, ``weights @ x + bias``, with or without a ReLU behind it.

    Attributes:
        weights: float64 (outputs, inputs).
        bias: float64 (outputs,).
        relu: whether a ReLU follows.
    """

    weights: np.ndarray
    bias: np.ndarray
    relu: bool = False


def require_chain(layers: Sequence[Dense], inputs: int, outputs: int) -> None:
    """Require that layers lead from vectors of `inputs` numbers to vectors of `outputs` numbers.

    Raises:
        ShapeError: two of them do not fit together.
        NonFiniteError: a weight or a bias is NaN or infinite.
    """
    width = inputs
    for place, layer in enumerate(layers):
        if layer.weights.ndim != 2 or layer.weights.shape[1] != width or not len(layer.weights):
            text = (
                f"layer {place} must have weights (outputs, {width}), "
                f"got shape {layer.weights.shape}"
            )
            raise ShapeError(text)
        width = len(layer.weights)
        if layer.bias.shape != (width,):
            text = f"layer {place} must have a bias ({width},), got shape {layer.bias.shape}"
            raise ShapeError(text)
        if not (np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all()):
            raise NonFiniteError(f"layer {place} must have finite weights and a finite bias")
    if width != outputs:
        text = f"the layers must end in the codebook's dim {outputs}, got {width} outputs"
        raise ShapeError(text)


def load_layers(path: Path) -> list[Dense]:
    """Read linear layers with a ReLU between each two of them, as `torch.nn.Sequential` names them.

    Args:
        path: a safetensors file with the tensors ``0.weight`` (outputs, inputs), ``0.bias``,
            ``2.weight``, ...; their numbers give the order. A layer may lack its bias.

    Returns:
        The layers; a ReLU follows each but the last.

    Raises:
        FileFormatError: the file cannot be read, or holds a tensor of another name.
        ShapeError: a weight has not two axes.
    """
    tensors = _load(path)
    parts: dict[int, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            text = (
                f"{path}: must hold `0.weight`, `0.bias`, ... of linear layers alone, "
                f"got a tensor {name!r}"
            )
            raise FileFormatError(text)
        place = int(match["place"].rpartition(".")[2])
        if match["part"] in parts.setdefault(place, {}):
            raise FileFormatError(f"{path}: two tensors are the {match['part']} of layer {place}")
        parts[place][match["part"]] = tensor.astype(np.float64)
    layers: list[Dense] = []
    for place in sorted(parts):
        weights = parts[place].get("weight", np.zeros(0))
        if weights.ndim != 2:
            text = f"{path}: layer {place} must have a weight of two axes, got {weights.shape}"
            raise ShapeError(text)
        bias = parts[place].get("bias", np.zeros(len(weights)))
        layers.append(Dense(weights, bias, relu=place != max(parts)))
    if not layers:
        raise FileFormatError(f"{path}: must hold at least one linear layer, got no tensor")
    return layers


def _load(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise FileFormatError(f"{path}: must be a safetensors file ({error})") from error
