"""Constants are the same numbers wherever there are numbers, whatever happened before."""

import copy
import pickle

import pytest
import torch
from torch import nn

from certvq.nn._torch.constants import Constants


class Table(Constants):
    """A constant, and a parameter beside it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_constant("table", torch.tensor([0.1, 7.0], device="cpu"))


WAYS = {
    "as built": lambda layer: layer,
    "to_empty": lambda layer: layer.to_empty(device="cpu"),
    "meta": lambda layer: layer.to("meta").to_empty(device="cpu"),
    "copy": lambda layer: copy.deepcopy(layer).to("meta").to_empty(device="cpu"),
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)).to_empty(device="cpu"),  # noqa: S301 (our own bytes)
    "narrowed": lambda layer: layer.half().float(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_numbers_stay(way, device):
    """As no buffers, which is what loaders replace one by one."""
    with torch.device(device):
        layer = Table()
    layer = WAYS[way](layer)
    assert layer.constant("table").tolist() == torch.tensor([0.1, 7.0]).tolist()
    assert list(layer.state_dict()) == ["weight"]
    assert not list(layer.buffers())


def test_types_and_devices_follow_the_module():
    layer = Table().double()
    assert (layer.kind, layer.home) == (torch.float64, torch.device("cpu"))
    assert layer.constant("table").dtype == torch.float32
    assert layer.constant("table", torch.device("meta")).is_meta
    assert layer.constant("table").tolist() == torch.tensor([0.1, 7.0]).tolist()
    assert layer.to("meta").home == torch.device("cpu")
