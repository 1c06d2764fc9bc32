"""Codes written down once: every torch, processor and library has to find the same.

Numbers follow from an integer rule, so that no generator of random numbers plays a role. The judge
computed them too. To try another torch: run this file in an environment of it.
"""

import pytest
import torch
from torch import nn

from certvq.network import canonical_codes


def ruled(seed, *shape):
    """Return multiples of 1/256 between -1 and 1, of a linear congruence."""
    found, state = [], seed
    for _ in range(torch.Size(shape).numel()):
        state = (state * 1103515245 + 12345) % 2**31
        found.append((state >> 16) % 513 - 256)
    return torch.tensor(found, dtype=torch.float64).reshape(shape) / 256


def filled(encoder):
    """Return an encoder in eval mode with ruled parameters, scaled by powers of two."""
    with torch.no_grad():
        for seed, each in enumerate(encoder.parameters()):
            each.copy_(ruled(seed, *each.shape) * (1 if each.ndim == 1 else 0.5))
    return encoder.eval()


def encoders(sum_of, normed, snake, recurrent):
    """Return the parts of three encoders."""
    first, last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
    return {
        "norms": (
            first,
            sum_of(nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1)),
            nn.MaxPool2d(2, 1),
            nn.GELU("tanh"),
            last,
        ),
        "sound": (normed(), nn.ELU(), snake(4), recurrent(), nn.LayerNorm([4, 5, 5]), last),
        "relu": (first, nn.ReLU(), nn.ConvTranspose2d(4, 4, 3, 2), nn.AvgPool2d(3, 2), last),
    }


GOLDEN = {
    "norms": "ezztewwghwwyywprzffezzzczzczzzkk",
    "sound": "ggggigtggpggyybgggbigigggggggigtggpggyybgggbigiggg",
    "relu": "gyolpyyggyyggggyygggyygyyplpygglvyyypppyroppyyyggg",
}
"""The codes of ruled numbers as letters, in row order."""


@pytest.fixture(params=GOLDEN)
def case(request, modules):
    """Return an encoder, a batch, a codebook, and the codes that were written down."""
    sum_of, _, normed, snake, recurrent = modules
    encoder = filled(nn.Sequential(*encoders(sum_of, normed, snake, recurrent)[request.param]))
    codes = torch.tensor([ord(letter) - ord("a") for letter in GOLDEN[request.param]])
    return encoder, 2 * ruled(91, 2, 2, 5, 5), ruled(92, 26, 2), codes


def test_codes_are_those_that_were_written_down(case):
    encoder, batch, codebook, codes = case
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert torch.equal(found.codes.flatten(), codes)


@pytest.mark.slow
def test_the_judge_finds_what_was_written_down(case, judge):
    encoder, batch, codebook, codes = case
    assert torch.equal(judge("ball").codes(encoder, batch, codebook).flatten(), codes)
