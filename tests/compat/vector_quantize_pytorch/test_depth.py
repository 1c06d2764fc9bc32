"""Random depths are those of the original, from the same seed."""

import random

import pytest
import torch
from vector_quantize_pytorch.residual_vq import round_up_multiple

from certvq.compat.vector_quantize_pytorch._levels import Levels, draw_seed
from certvq.errors import OptionError

CPU = torch.device("cpu")


def levels(count, **options):
    return Levels(2, 2, (4,) * count, **{"dropout": True, "cutoff": 0, "multiple_of": 1} | options)


@pytest.mark.parametrize("cutoff", [0, 2])
@pytest.mark.parametrize("multiple_of", [1, 2, 4])
def test_depths_are_the_originals(cutoff, multiple_of):
    layer = levels(6, cutoff=cutoff, multiple_of=multiple_of)
    found = set()
    for seed in range(40):
        last = random.Random(seed).randrange(cutoff, 6)  # noqa: S311 (the sequence of the original)
        expected = last + 1
        if multiple_of != 1:
            expected = round_up_multiple(expected, multiple_of)
        number = layer.draw_depth(seed, CPU)
        assert number == min(6, expected)
        found.add(number)
    assert len(found) > 1
    assert min(found) > cutoff


def test_all_levels_are_used_without_dropout_and_in_eval_mode():
    off, on = levels(4, dropout=False), levels(4).eval()
    assert all(layer.draw_depth(seed, CPU) == 4 for layer in (off, on) for seed in range(20))
    assert not levels(1).quantize_dropout


def test_seeds_are_drawn_from_torch():
    torch.manual_seed(3)
    first = [draw_seed(CPU) for _ in range(5)]
    torch.manual_seed(3)
    expected = [int(torch.randint(0, 10_000, ())) for _ in range(5)]
    assert first == expected
    torch.manual_seed(3)
    layer = levels(9)
    drawn = [layer.draw_depth(None, CPU) for _ in range(5)]
    assert drawn == [layer.draw_depth(seed, CPU) for seed in first]


@pytest.mark.parametrize("cutoff", [-1, 3])
def test_a_cutoff_that_there_is_not_is_refused(cutoff):
    with pytest.raises(OptionError, match=rf"lie in range\(3\), got {cutoff}"):
        levels(3, cutoff=cutoff)
