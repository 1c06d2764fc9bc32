"""Containers of tensors survive as bytes, whatever else a state holds."""

import pytest
import torch

from certvq.errors import FileFormatError, NonFiniteError
from certvq.nn._core.loading import require_finite_state
from certvq.nn._torch.packed import is_packed, pack, unpack


def test_values_come_back_in_rooms_of_few_sizes():
    value = {"state": {0: {"step": torch.tensor(3.0)}}, "groups": [{"lr": 0.1}], "none": None}
    found = unpack(pack(value))
    assert torch.equal(found["state"][0].pop("step"), torch.tensor(3.0))
    assert found == {"state": {0: {}}, "groups": [{"lr": 0.1}], "none": None}
    assert len(pack({}, least=5000)) == len(pack(value, least=5000)) == 8192


def test_others_are_not_taken_for_packed_ones():
    assert is_packed(pack(1))
    for other in (torch.zeros(9, dtype=torch.uint8), torch.zeros(3), {}, pack(1).to("meta")):
        assert not is_packed(other)


def test_damage_and_nan_are_named():
    with pytest.raises(FileFormatError, match="must be bytes that torch.load reads"):
        unpack(pack(1)[:40])
    with pytest.raises(NonFiniteError, match="'inner' in the state must be finite, got nan"):
        require_finite_state({"inner": pack({"vectors": torch.tensor([torch.nan])})})
