"""Random depths are those of the original, from the same seed."""

import random

import pytest
import torch
from vector_quantize_pytorch.residual_vq import round_up_multiple

from certvq.compat.vector_quantize_pytorch._depth import Depth, draw_seed
from certvq.errors import OptionError

CPU = torch.device("cpu")


@pytest.mark.parametrize("cutoff", [0, 2])
@pytest.mark.parametrize("multiple_of", [1, 2, 4])
def test_depths_are_the_originals(cutoff, multiple_of):
    depth = Depth(6, dropout=True, cutoff=cutoff, multiple_of=multiple_of)
    found = set()
    for seed in range(40):
        last = random.Random(seed).randrange(cutoff, 6)  # noqa: S311 (the sequence of the original)
        expected = last + 1
        if multiple_of != 1:
            expected = round_up_multiple(expected, multiple_of)
        number = depth.draw(seed, CPU, training=True)
        assert number == min(6, expected)
        found.add(number)
    assert len(found) > 1
    assert min(found) > cutoff


def test_all_levels_are_used_without_dropout_and_in_eval_mode():
    off = Depth(4, dropout=False, cutoff=0, multiple_of=1)
    assert all(off.draw(seed, CPU, training=True) == 4 for seed in range(20))
    on = Depth(4, dropout=True, cutoff=0, multiple_of=1)
    assert all(on.draw(seed, CPU, training=False) == 4 for seed in range(20))
    assert not Depth(1, dropout=True, cutoff=0, multiple_of=1).dropout


def test_seeds_are_drawn_from_torch():
    torch.manual_seed(3)
    first = [draw_seed(CPU) for _ in range(5)]
    torch.manual_seed(3)
    expected = [int(torch.randint(0, 10_000, ())) for _ in range(5)]
    assert first == expected
    torch.manual_seed(3)
    depth = Depth(9, dropout=True, cutoff=0, multiple_of=1)
    drawn = [depth.draw(None, CPU, training=True) for _ in range(5)]
    assert drawn == [depth.draw(seed, CPU, training=True) for seed in first]


@pytest.mark.parametrize("cutoff", [-1, 3])
def test_a_cutoff_that_there_is_not_is_refused(cutoff):
    with pytest.raises(OptionError, match=rf"lie in range\(3\), got {cutoff}"):
        Depth(3, dropout=True, cutoff=cutoff, multiple_of=1)
