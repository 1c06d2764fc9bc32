"""Linear layers with ReLU between them, from a safetensors file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from certvq.errors import FileFormatError, ShapeError
from certvq.torchlean import load_layers


def test_the_state_of_a_sequential_is_read(tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)
    )
    save_file(nn.ModuleDict({"encoder": model}).state_dict(), tmp_path / "a")
    layers = load_layers(tmp_path / "a")
    assert [each.relu for each in layers] == [True, True, False]
    assert [each.weights.dtype for each in layers] == [np.float64] * 3
    assert np.array_equal(layers[1].bias, np.zeros(4))
    point = torch.randn(3, dtype=torch.float64)
    values = point.numpy()
    for layer in layers:
        values = layer.weights @ values + layer.bias
        values = np.maximum(values, 0) if layer.relu else values
    assert np.allclose(values, model.double()(point).detach().numpy())


def test_ten_layers_keep_their_order(tmp_path: Path) -> None:
    tensors = {f"{2 * k}.weight": torch.full((1, 1), float(k)) for k in range(11)}
    save_file(tensors, tmp_path / "a")
    assert [each.weights.item() for each in load_layers(tmp_path / "a")] == list(range(11))


@pytest.mark.rows(
    ("tensors", "error", "text"),
    [
        ({"0.weight": (2, 2), "1.running_mean": (2,)}, FileFormatError, "got a tensor '1.running"),
        ({"weight": (2, 2)}, FileFormatError, "got a tensor 'weight'"),
        ({"a.0.weight": (2, 2), "b.0.weight": (2, 2)}, FileFormatError, "two tensors are the wei"),
        (
            {"0.weight": (2, 2, 3)},
            ShapeError,
            r"layer 0 must have a weight of two axes, got \(2, 2",
        ),
        ({"0.bias": (2,)}, ShapeError, r"layer 0 must have a weight of two axes, got \(0,\)"),
        ({}, FileFormatError, "must hold at least one linear layer, got no tensor"),
    ],
)
def test_other_files_are_refused(tensors, error, text, tmp_path_factory):
    path = tmp_path_factory.mktemp("layers") / "a"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    with pytest.raises(error, match=text):
        load_layers(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no tensors")
    with pytest.raises(FileFormatError, match="must be a safetensors file"):
        load_layers(tmp_path / "a")
