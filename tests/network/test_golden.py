"""Codes written down once: every torch, processor and library has to find the same.

Numbers follow from an integer rule, so that no generator of random numbers plays a role. The judge
computed them too. To try another torch: run this file in an environment of it.
"""

import pytest
import torch
from torch import nn

from certvq.network import _capture, canonical_codes, capture
from certvq.network._bounded import exact
from certvq.network._float64 import bounded_latents


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


class Moved(nn.Module):
    """Move the channels to the end and back."""

    def forward(self, x):
        return 2 * x.movedim(1, -1).movedim((3, 1), (1, 2)).movedim(2, 3)


def bounded_of(network, batch):
    found = bounded_latents(network, exact(batch))
    return found.value, found.error


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


def test_a_graph_that_is_read_as_exported_is_that_of_its_decompositions(case, monkeypatch):
    """Also with dropout in eval mode, and with an axis that is moved."""
    encoder, batch, _, _ = case
    encoder = nn.Sequential(encoder, nn.Dropout(), Moved()).eval()
    short = capture(encoder, batch)
    monkeypatch.setattr(_capture, "_writes_nothing", lambda _: False)
    long = capture(encoder, batch)
    for one, other in zip(*(bounded_of(each, batch) for each in (short, long)), strict=True):
        assert torch.equal(one, other)


def test_graphs_that_write_or_hold_unknown_operators_are_decomposed(monkeypatch):
    read, kinds = _capture._Reader.read, []
    monkeypatch.setattr(
        _capture._Reader, "read", lambda reader: kinds.append("read") or read(reader)
    )
    plainly = _capture._read_plainly
    monkeypatch.setattr(
        _capture, "_read_plainly", lambda reader: kinds.append("plainly") or plainly(reader)
    )
    layers = nn.ReLU(), nn.Dropout(), nn.ReLU(inplace=True), nn.LogSoftmax(1)
    for layer in layers:
        kinds.append(layer)
        capture(nn.Sequential(nn.Linear(2, 2), layer).eval(), torch.zeros(1, 2))
    tries = {layer: [] for layer in layers}
    for kind in kinds:
        if isinstance(kind, str):
            tries[layer].append(kind)
        else:
            layer = kind
    assert list(tries.values()) == [
        ["plainly", "read"],
        ["plainly", "read"],
        ["plainly", "read"],
        ["plainly", "read", "read"],
    ]


@pytest.mark.slow
def test_the_judge_finds_what_was_written_down(case, judge):
    encoder, batch, codebook, codes = case
    assert torch.equal(judge("ball").codes(encoder, batch, codebook).flatten(), codes)
