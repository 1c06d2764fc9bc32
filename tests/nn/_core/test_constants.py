"""Constants are the same numbers wherever there are numbers, whatever happened before."""

import copy
import pickle

import pytest
import torch
from torch import nn

from certvq.nn._core.constants import Constants


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
def test_numbers_come_back(way, device):
    with torch.device(device):
        layer = Table()
    assert layer.table.device.type == device
    if device == "meta":
        layer.to_empty(device="cpu")
    layer = WAYS[way](layer)
    assert layer.table.tolist() == torch.tensor([0.1, 7.0]).tolist()
    assert list(layer.state_dict()) == ["weight"]


def test_types_follow_the_module():
    layer = Table().double()
    assert layer.table.dtype == torch.float64
    assert layer.to("meta").table.is_meta
