"""Tokens in pairs are decided as far as their bounds allow, and no farther."""

import numpy as np
import torch

from certvq.network._bounded import Bounded
from certvq.network._decide import CodeVectors
from certvq.network._levels import Level, Levels
from certvq.network._wide import wide
from certvq.network._wider import decide_latents, decide_near_ties

LEVELS = Levels([(slice(0, 1), [Level(CodeVectors(np.array([[0.0], [2.0]])))])])


def beside_the_border(side, error):
    """Return two tokens, at ``1 + side`` of the border 1 and at 0.5."""
    high = torch.tensor([[[1.0, 0.5]]], dtype=torch.float64)
    low = torch.tensor([[[side, 0.0]]], dtype=torch.float64)
    return Bounded(wide(high, low), torch.full_like(high, error), 1)


def test_balls_decide_what_the_first_numbers_of_pairs_do_not():
    for side, code in ((-(2.0**-80), 0), (2.0**-80, 1)):
        latents = beside_the_border(side, 2.0**-90)
        assert decide_latents(LEVELS, latents).decided.flatten().tolist() == [False, True]
        found = decide_near_ties(LEVELS, latents, np.array([0]))
        assert found.codes.tolist() == [[code]]
        assert 0.0 <= found.margin[0, 0] <= 2.0**-80


def test_a_bound_beyond_the_border_leaves_a_token_open():
    for error in (2.0**-79, 2.0**-30, np.inf, np.nan):
        found = decide_near_ties(LEVELS, beside_the_border(2.0**-80, error), np.array([0]))
        assert not found.decided.any()
        assert found.codes.tolist() == [[-1]]
