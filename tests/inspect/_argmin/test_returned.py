"""What is left of codes that came back through a type too narrow for them."""

import pytest
import torch

from certvq.inspect._argmin.returned import HELD_BY_ALL, NARROW, narrowed

CODES = torch.tensor([[3, 300, 2049, 256]])


@pytest.mark.parametrize("kind", NARROW)
def test_each_narrow_type_is_named(kind):
    codes = CODES + 40001 if kind is torch.int16 else CODES
    found, came = narrowed((None, {"codes": codes.to(kind).view(2, 2)}), codes)
    assert found is kind or torch.equal(came, codes.to(found).long())
    assert torch.equal(came, codes.to(kind).long())
    assert came.shape == codes.shape


@pytest.mark.parametrize("kind", NARROW)
def test_small_codes_are_held_by_all(kind):
    codes = torch.arange(HELD_BY_ALL)
    assert torch.equal(codes.to(kind).long(), codes)
    assert narrowed(codes.to(kind), codes) is None
    assert not torch.equal((codes + 1).to(torch.int8).long(), codes + 1)


@pytest.mark.parametrize(
    "result",
    [
        CODES,
        [CODES.to(torch.uint8), CODES.flatten()],  # beside the whole ones
        CODES.float(),
        CODES + 1,
        torch.stack([CODES, CODES]).to(torch.uint8),
        CODES > 5,
        CODES.to(torch.complex64),
        torch.zeros(1, 4),
        None,
        "codes",
    ],
)
def test_all_else_is_no_loss(result):
    assert narrowed(result, CODES) is None


def test_no_codes_lose_nothing():
    assert narrowed(torch.zeros(0), torch.zeros(0, dtype=torch.int64)) is None
