"""Shares of a gradient: the value to the bit, the derivative times the share."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import EachLevel
from certvq.nn._estimators.each_level import partly_detached


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_value_is_the_same_and_the_gradient_a_share(share, seeded, same_bits):
    vectors = torch.randn(50, 3, generator=seeded(), requires_grad=True)
    result = partly_detached(vectors, share)
    assert same_bits(result, vectors)
    if share:
        (gradient,) = torch.autograd.grad(result.sum(), vectors)
        assert torch.equal(gradient, torch.full_like(vectors, share))
    else:
        assert not result.requires_grad


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(OptionError, match=r"share must lie in \[0, 1\], got"):
        EachLevel(share)
