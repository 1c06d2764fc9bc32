"""The options of the moving average."""

import pytest

from certvq.errors import OptionError
from certvq.nn import EMA


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_out_of_range(decay):
    with pytest.raises(OptionError, match=rf"decay must lie in \[0, 1\), or be 1 .*got {decay}"):
        EMA(decay=decay)


@pytest.mark.parametrize("eps", [0.0, -1.0, float("inf"), float("nan")])
def test_eps_out_of_range(eps):
    with pytest.raises(OptionError, match=f"eps must be positive and finite, got {eps}"):
        EMA(eps=eps)


def test_the_decay_of_docs_quality_is_the_default():
    assert EMA().decay == 0.8
