"""A layer's own generator is part of its state, and of no other layer's."""

import copy
import pickle

import pytest
import torch
from torch import nn

from certvq.errors import DeviceError, FileFormatError
from certvq.nn import FSP, FSQ, ResidualVQ
from certvq.nn._torch.generators import without_generators

KEY = "generator_state._extra_state"


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def drawn(layer):
    """What a step in train mode makes of the same latents."""
    return layer(torch.ones(1, 50, 2)).quantized


def test_a_resumed_run_is_the_same():
    """Also where generators are shared by levels, and as a member of a model."""
    for make in (
        lambda g: FSP((5, 5), generator=g),
        lambda g: nn.Sequential(FSP((5, 5), generator=g)),
    ):
        one, other = make(seeded(0)), make(seeded(1))
        one(torch.ones(1, 50, 2))
        other.load_state_dict(one.state_dict())
        layers = [part[0] if isinstance(part, nn.Sequential) else part for part in (one, other)]
        assert torch.equal(*map(drawn, layers))
    levels = ResidualVQ(2, 4, num_quantizers=2, generator=seeded(0))
    assert len(without_generators(levels.state_dict())) == len(levels.state_dict()) - 3


def test_states_of_earlier_versions_and_other_layers_load():
    plain, own = FSP((5, 5)), FSP((5, 5), generator=seeded(0))
    before = own.generator.get_state()
    assert not plain.state_dict()
    own.load_state_dict(plain.state_dict())
    assert torch.equal(own.generator.get_state(), before)
    plain.load_state_dict(own.state_dict())
    nn.Sequential(plain).load_state_dict(nn.Sequential(own).state_dict())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301 (our own bytes)
def test_copies_have_generators_of_their_own(again):
    layer = FSP((5, 5), generator=seeded(0))
    twin = again(layer)
    expected = drawn(layer)
    assert torch.equal(drawn(twin), expected)
    twin.draw_from(seeded(3))
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.generator.get_state(), layer.generator.get_state())


def test_a_generator_that_is_replaced_is_the_one_that_is_saved():
    layer = FSP((5, 5), generator=seeded(0))
    layer.generator = seeded(7)
    assert torch.equal(layer.state_dict()[KEY], seeded(7).get_state())
    layer.generator = None
    assert not layer.state_dict()
    layer.load_state_dict({KEY: seeded(0).get_state()})


@pytest.mark.parametrize(
    ("state", "kind", "match"),
    [
        (torch.zeros(16, dtype=torch.uint8), DeviceError, "on cpu, 5056 bytes, got 16 bytes; give"),
        (torch.zeros(3), FileFormatError, r"must be a uint8 tensor of one axis, got tensor\("),
        ({}, FileFormatError, r"must be a uint8 tensor of one axis, got \{\}"),
    ],
)
def test_what_is_no_state_is_named(state, kind, match):
    layer = FSQ((5, 5), generator=seeded(0))
    with pytest.raises(kind, match=match):
        layer.load_state_dict({KEY: state})
    assert torch.equal(layer.generator.get_state(), seeded(0).get_state())
