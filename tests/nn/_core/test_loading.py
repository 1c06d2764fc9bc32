"""States with NaN or infinity are refused as a whole; the families are in test_contract.py."""

import functools
import math

import pytest
import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.nn import HierarchicalVQ, Online, VectorQuantize
from certvq.nn._core.loading import CheckedState, require_finite_state
from certvq.nn._torch.packed import pack, unpack


def test_the_first_bad_place_is_named():
    table = torch.zeros(2, 3, 4)
    table[1, 0, 2] = math.inf
    table[1, 2, 0] = math.nan
    with pytest.raises(NonFiniteError, match=r"'b' in the state must be finite, got inf at \[1, 0"):
        require_finite_state({"a": torch.zeros(3), "b": table, "c": torch.tensor(math.nan)})
    with pytest.raises(NonFiniteError, match=r"got nan at \[\]; nothing of the quantizer has been"):
        require_finite_state({"c": torch.tensor(math.nan)})


def test_what_holds_no_floats_is_not_looked_at():
    state = {"codes": torch.tensor([1, 2]), "on": torch.tensor(True), "name": "x", "none": None}
    state |= {"meta": torch.empty(2, device="meta"), "empty": torch.zeros(0)}
    assert require_finite_state(state) is None


class Kept(CheckedState):
    """A module with a part."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.part = nn.Linear(1, 1)


def test_what_belongs_to_other_modules_is_theirs():
    """A whole model's state, of which this loads its own part."""
    layer = Kept()
    state = {**layer.state_dict(), "other.weight": torch.tensor([math.nan])}
    layer.load_state_dict(state, strict=False)
    state["part.bias"] = torch.tensor([math.nan])
    for assign in (True, False):
        with pytest.raises(NonFiniteError, match="'part.bias'"):
            layer.load_state_dict(state, strict=False, assign=assign)


def test_states_of_inner_optimisers_are_looked_at(snapshot, unchanged):
    adam = functools.partial(torch.optim.Adam, lr=0.1)
    layer = VectorQuantize(4, 6, update=Online(adam))
    for _ in range(3):
        layer(torch.randn(2, 9, 4))
    before, state = snapshot(layer), snapshot(layer)
    inner = unpack(state["inner_optimizer._extra_state"])
    inner["optimizer"]["state"][0]["exp_avg"][1, 2] = math.nan
    state["inner_optimizer._extra_state"] = pack(inner)
    with pytest.raises(NonFiniteError, match=r"'inner_optimizer._extra.* nan at \[1, 2\]"):
        layer.load_state_dict(state)
    assert unchanged(layer, before)


def test_quantizers_of_whole_samples(snapshot, unchanged):
    layer = HierarchicalVQ(4, 6, scales=(1, 3))
    before = snapshot(layer)
    floats = {n: v for n, v in before.items() if v.is_floating_point() and v.numel()}
    for name in floats:
        state = snapshot(layer)
        state[name][(0,) * state[name].ndim] = math.nan
        with pytest.raises(NonFiniteError, match=f"'{name}'"):
            layer.load_state_dict(state)
        assert unchanged(layer, before)
