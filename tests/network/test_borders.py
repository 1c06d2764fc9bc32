"""Latents on a border between two codes, or nearer to it than any float can tell."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from certvq.network import Rung, canonical_codes

CONV = nn.Conv2d


def ones(channels):
    """Return a kernel of one place that adds all channels up."""
    made = CONV(channels, 1, 1, bias=False).eval()
    nn.init.ones_(made.weight)
    return made


@pytest.mark.parametrize("exponent", [60, 200, None])
@pytest.mark.parametrize("side", [-1, 1])
def test_ties_and_near_ties_of_a_linear_encoder(exponent, side):
    """Two channels of input add up to half-way between two codes, but for a power of two."""
    encoder = ones(2)
    off = 0.0 if exponent is None else side * 2.0**-exponent
    batch = torch.tensor([0.75, off], dtype=torch.float64).reshape(1, 2, 1, 1)
    codebook = torch.tensor([[5.0], [1.0], [0.5], [1.0]])
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert found.codes.item() == (1 if off >= 0 else 2)
    assert found.decided_by.item() == (Rung.WIDER if exponent == 60 else Rung.EXACT)
    assert found.margin.item() <= abs(off)


def whole(seed, *shape):
    """Return whole numbers of at most 2."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator).double()


def gradient_of_lead(judge, encoder, batch, pair):
    """Return by how much the first of two codes is farther, and how each number changes that.

    Exact for a network that is linear around the batch.
    """

    def lead(numbers):
        latent = judge.run(encoder, numbers).reshape(-1)
        left, right = (
            sum((a - b) ** 2 for a, b in zip(latent, judge.array(row), strict=True)) for row in pair
        )
        return left - right

    start, step = judge.array(batch[0]), Fraction(1, 2**20)
    found = np.empty(start.size, object)
    for place in range(start.size):
        moved = start.copy()
        moved.reshape(-1)[place] += step
        found[place] = (lead(moved) - lead(start)) / step
    return lead(start), found


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [60, 200, None])
@pytest.mark.parametrize("side", [-1, 1])
def test_inputs_are_solved_for_on_a_border_of_two_layers(judge, sum_of, exponent, side):
    """The latent of one token ties between the nearest two codes, but for a power of two.

    The judge says how the lead of one code depends on each number of the input; as all numbers are
    dyadic, two of them are moved so that it is 0, and one that was 0 is the power of two.
    """
    parts = (CONV(3, 4, 2), nn.LeakyReLU(0.25), sum_of(CONV(4, 4, 1)), nn.ReLU(), CONV(4, 2, 1))
    encoder = nn.Sequential(*parts).double().eval()
    with torch.no_grad():
        for seed, each in enumerate(encoder.parameters()):
            each.copy_(whole(seed + 20, *each.shape))
    fractions = judge("fraction")
    batch = whole(9, 1, 3, 2, 2) + 0.5
    batch[0, 2] = 0.0
    latent = encoder(batch).detach().flatten()
    offset = torch.tensor([0.125, 0.25], dtype=torch.float64)
    pair = torch.stack([latent + offset, latent - offset + torch.tensor([0.0, 0.0625])])
    lead, slopes = gradient_of_lead(fractions, encoder, batch, pair)
    used = [place for place in range(8) if slopes[place]]
    first, second = next(
        (i, j)
        for i in used
        for j in used
        if i < j and math.gcd(*(int(slopes[k] * 1024) for k in (i, j))).bit_count() == 1
    )
    a, b = (int(slopes[place] * 1024) for place in (first, second))
    unit = math.gcd(a, b)
    factor = pow(a // unit, -1, abs(b // unit)) if abs(b // unit) > 1 else 0
    other = (1 - factor * (a // unit)) // (b // unit)
    flat = batch.view(-1)
    for place, share in ((first, factor), (second, other)):
        moved = Fraction(flat[place].item()) - lead * 1024 / unit * share
        assert Fraction(float(moved)) == moved
        flat[place] = float(moved)
    assert gradient_of_lead(fractions, encoder, batch, pair)[0] == 0
    if exponent is not None:
        flat[next(place for place in range(8, 12) if slopes[place])] = side * 2.0**-exponent
    lead, _ = gradient_of_lead(fractions, encoder, batch, pair)
    assert abs(lead) < 2.0 ** (10 - (exponent or 1000))
    found = canonical_codes(encoder, batch, codebook=pair)
    assert found.codes.item() == (1 if lead > 0 else 0)
    assert found.decided_by.item() == (Rung.WIDER if exponent == 60 else Rung.EXACT)


@pytest.mark.slow
def test_near_ties_of_a_transcendental_encoder(judge):
    """Half-way between the codes is the float64 next to tanh(1/3), or the next one."""
    encoder = nn.Sequential(ones(1), nn.Tanh()).eval()
    batch = torch.tensor([1 / 3], dtype=torch.float64).reshape(1, 1, 1, 1)
    near = math.tanh(1 / 3)
    codes = set()
    for step in range(-3, 4):
        middle = near + step * 2.0**-54
        codebook = torch.tensor([[0.0], [2 * middle]], dtype=torch.float64)
        found = canonical_codes(encoder, batch, codebook=codebook)
        assert torch.equal(found.codes, judge("ball").codes(encoder, batch, codebook))
        assert found.decided_by.item() == Rung.WIDER
        codes.add(found.codes.item())
    assert codes == {0, 1}


def test_what_balls_cannot_decide_stays_open(call):
    """sigmoid(x) + sigmoid(-x) is 1, half-way between 0 and 2."""
    encoder = call(lambda x: torch.sigmoid(x) + torch.sigmoid(-x)).eval()
    batch, codebook = torch.tensor([[0.3], [700.0]]), torch.tensor([[0.0], [2.0]])
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert found.codes.tolist() == [-1, -1]
    assert found.open.tolist() == [True, True]
    assert found.margin.tolist() == [0.0, 0.0]
    assert found.counts() == {"FLOAT64": 0, "WIDER": 0, "EXACT": 0, "OPEN": 2}


@pytest.mark.slow
def test_more_precision_decides_more(call):
    """elu(-400) is exp(-400) - 1, and exp(-400) near 2^-577: half-way but for that."""
    encoder = call(lambda x: (x + nn.functional.elu(-400 * x)) - x).eval()
    batch, codebook = torch.ones(1, 1), torch.tensor([[-2.0], [0.0]])
    assert canonical_codes(encoder, batch, codebook=codebook, precision=512).open.all()
    found = canonical_codes(encoder, batch, codebook=codebook, precision=1024)
    assert found.codes.tolist() == [1]
