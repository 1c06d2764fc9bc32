"""Counting wrong, tied and unstable indices."""

import math

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.inspect._scalar.grid import rounded_grid
from certvq.inspect._scalar.tally import ScalarTally, require_finite

GRID = rounded_grid((3, 4), preserve_symmetry=True, hard_clamp=True)
"""Borders at -1/2 and 1/2; and at -2/3, 0 and 2/3."""


def audit(latents, codes, perturbation=0.0):
    tally = ScalarTally("q", "FSQ", perturbation)
    tally.observe(torch.tensor(latents, dtype=torch.float64), torch.tensor(codes), GRID)
    return tally.audits()[0]


@pytest.mark.rows(
    ("latents", "codes", "wrong", "ties", "excess"),
    [
        ([[0.0, 0.1], [0.6, -0.9]], [1 + 3 * 2, 2], 0, 0, 0.0),
        ([[0.75, 0.1]], [1 + 3 * 2], 1, 0, 0.0625),  # 1/4 above the level of the first feature
        ([[0.0, 0.25]], [1 + 3 * 1], 1, 0, 0.0625),
        ([[0.5, 0.1]], [2 + 3 * 2], 0, 1, 0.0),  # at the border, the higher of two
        ([[0.5, 0.1]], [1 + 3 * 2], 0, 0, 0.0),
        ([[0.5, 0.25]], [1 + 3 * 1], 1, 0, 0.0625),  # a tie in the one, wrong in the other
        ([[0.0, 0.0]], [1 + 3 * 2], 0, 1, 0.0),
        ([[0.0, 0.1]], [12], 1, 0, math.inf),
        ([[0.0, 0.1]], [-1], 1, 0, math.inf),
    ],
)
def test_an_index_is_right_tied_or_wrong(latents, codes, wrong, ties, excess):
    found = audit(latents, codes)
    assert (found.tokens, found.wrong, found.ties_broken_otherwise) == (len(codes), wrong, ties)
    assert found.largest_excess == pytest.approx(excess)
    assert (found.codebook_size, found.dim) == (12, 2)


def test_a_token_is_unstable_if_a_border_lies_within_the_perturbation():
    latents, codes = [[0.0, 0.25], [0.0, 0.125]], [7, 7]
    assert [audit(latents, codes, p).unstable for p in (0.1, 0.126, 0.24, 0.26)] == [0, 1, 1, 2]
    own = ScalarTally("q", "FSQ", None)
    own.observe(torch.tensor([[0.0, 2.0**-30], [2.0, 2.0**-30]]), torch.tensor([7, 8]), GRID)
    assert own.audits()[0].unstable == 1


def test_a_layer_that_never_ran_has_no_tokens():
    assert ScalarTally("q", "FSQ", None).audits()[0].tokens == 0


def test_a_latent_that_is_not_finite_is_named():
    latents = torch.zeros(4, 3)
    latents[2, 1] = math.nan
    text = "layer 'q': latents must be finite, got nan at row 2, column 1"
    with pytest.raises(NonFiniteError, match=text):
        require_finite(latents, "q")
