"""Convolutions of scales: their number, their places, the mixture."""

import pytest
import torch
from torch.nn import functional

from certvq.errors import OptionError
from certvq.nn import Refine
from certvq.nn._levels.refine import Refinement


@pytest.mark.parametrize(
    ("count", "places"),
    [(1, (0, 0, 0, 0, 0)), (3, (0, 0, 1, 2, 2)), (None, (0, 1, 2, 3, 4)), (9, (0, 1, 2, 3, 4))],
)
def test_scales_share_convolutions(count, places, seeded):
    refinement = Refinement(2, 1, 5, Refine(count=count), generator=seeded())
    assert refinement.places == places
    assert len(refinement.convolutions) == max(places) + 1


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_it_is_a_mixture(axes, seeded):
    refinement = Refinement(2, axes, 1, Refine(ratio=0.25), generator=seeded())
    maps = torch.randn(1, 2, *(3,) * axes, generator=seeded())
    convolution = refinement.convolutions[0]
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    plain = function(maps, convolution.weight, convolution.bias, padding=1)
    torch.testing.assert_close(refinement(maps, 0), 0.75 * maps + 0.25 * plain)


def test_a_single_scale_has_a_place(seeded):
    assert Refinement(2, 1, 1, Refine(), generator=seeded()).places == (0,)


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match=r"ratio must lie in \[0, 1\], got 1.5"):
        Refine(ratio=1.5)
    with pytest.raises(OptionError, match="count must be at least 1, got 0"):
        Refine(count=0)
