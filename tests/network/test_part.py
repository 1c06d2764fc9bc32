"""A part of a network computes what the whole one does there, of what it needs alone."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from certvq.network import CanonicalEncoder, Rung, _canonical
from certvq.network._capture import capture
from certvq.network._exact import exact_latents, needed_entries
from certvq.network._float64 import bounded_latents
from certvq.network._numbers import FLINT_LOCK, Rationals
from certvq.network._part import part_of, share_of_source
from certvq.network._pieces import strips_of
from certvq.network._region import slices, whole
from certvq.network._source import source_of
from certvq.network._threads import each_alone

CONV = nn.Conv2d
RANDOM = torch.Generator().manual_seed(3)


def integers(*shape):
    """Return small integers, whose sums of products float64 has without rounding."""
    return torch.randint(-3, 4, shape, generator=RANDOM).double()


def encoder(*layers):
    """Return layers in eval mode whose parameters are small integers."""
    made = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for each in made.parameters():
            each.copy_(integers(*each.shape))
    return made


def padded(mode, *ends):
    def pad(x):
        return functional.pad(x, ends, mode=mode)

    return pad


LOCAL = {
    "strides and residuals": lambda sum_of, call: (
        CONV(2, 4, 4, stride=2, padding=1),
        sum_of(nn.ReLU(), CONV(4, 4, 3, padding=1), nn.ReLU(), CONV(4, 4, 1)),
        CONV(4, 3, 3, padding=2, dilation=2, groups=1),
    ),
    "uneven kernels": lambda sum_of, call: (
        CONV(2, 4, (5, 2), stride=(3, 1), padding=(2, 0), dilation=(1, 3)),
        CONV(4, 2, (2, 3), padding="same", groups=2),
    ),
    "reflections": lambda sum_of, call: (
        call(padded("reflect", 3, 2, 1, 4)),
        CONV(2, 3, 3, stride=2),
        call(padded("replicate", 2, 0, 0, 1)),
        CONV(3, 2, 2),
    ),
    "places left out": lambda sum_of, call: (
        call(padded("constant", -2, 3, 1, -1)),
        CONV(2, 2, 3),
        call(lambda x: x.movedim(1, -1) * torch.arange(2.0)),
        call(lambda x: x.permute(0, 3, 1, 2) - 1),
    ),
    "rows": lambda sum_of, call: (
        call(lambda x: x.permute(0, 2, 3, 1)),
        nn.Linear(2, 3),
        call(lambda x: torch.cat([x, 2 * x], -1).transpose(1, 3).transpose(2, 3)),
        nn.LeakyReLU(0.5),
    ),
}
"""Networks whose latents depend on few places."""

SAMPLES = {
    "pooling": lambda sum_of, call: (
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(2, 3, 3, stride=2),
        nn.Upsample(scale_factor=2),
    ),
    "products": lambda sum_of, call: (
        call(lambda x: x.flatten(2)),
        call(lambda x: (x @ x.transpose(1, 2)) @ x),
        call(lambda x: x.reshape(len(x), 2, 2, -1).flip(3).view(len(x), 4, -1)),
    ),
    "sizes": lambda sum_of, call: (
        CONV(2, 3, 3, padding=1),
        call(lambda x: torch.cat([x.roll(80, 2), x.squeeze((2, 3))], 1)),
    ),
}
"""Networks that mix the places of a sample, and no samples."""


CAPTURED = {}


@pytest.fixture
def captured(sum_of, call):
    """Return what captures a network by its name, once."""

    def of(name):
        if name not in CAPTURED:
            layers = {**LOCAL, **SAMPLES}[name](sum_of, call)
            CAPTURED[name] = capture(encoder(*layers), torch.zeros(3, 2, 40, 40))
        return CAPTURED[name]

    return of


@pytest.mark.rows("name", [*LOCAL, *SAMPLES])
def test_numbers_are_those_of_the_whole(name, captured):
    network, source = captured(name), source_of(integers(3, 2, 40, 40))
    expected = bounded_latents(network, source.bounded())
    shape = network.output.shape
    for choice in itertools.product(*(_ends(size, axis) for axis, size in enumerate(shape))):
        part = part_of(network, choice)
        given = source.part(part.source)
        found = bounded_latents(part.network, given.bounded())
        assert found.value.shape == part.network.output.shape
        assert torch.equal(found.value, expected.value[slices(choice)]), choice


def _ends(size, axis):
    """Return ends of an axis: one sample, all channels, and the first, middle and last places."""
    if axis < 2:
        return [(1, 2) if axis == 0 else (0, size)]
    third = max(1, size // 3)
    return sorted({(0, third), (third, min(size, third + 2)), (size - 1, size)})


@pytest.mark.rows("name", list(LOCAL))
def test_rationals_are_those_of_the_whole(name, captured):
    network, numbers = captured(name), Rationals()
    source = source_of(torch.rand(3, 2, 40, 40, generator=RANDOM))
    _, channels, _, last = network.output.shape
    region = ((1, 2), (0, channels), (0, 2), (last - 1, last))
    part = part_of(network, region)
    mask = np.zeros(network.output.shape, bool)
    mask[slices(region)] = True
    every = np.ones(part.network.output.shape, bool)
    with FLINT_LOCK, numbers.working():
        expected = exact_latents(network, source, mask, numbers)[slices(region)]
        found = exact_latents(part.network, source.part(part.source), every, numbers)
    assert (found == expected).all()


@pytest.mark.rows("name", [*LOCAL, *SAMPLES])
def test_the_input_is_what_is_needed(name, captured):
    """Boxes hold the entries that masks find, and places of the box alone for local networks."""
    network = captured(name)
    shape = network.output.shape
    region = tuple(
        (0, size) if axis == 1 else (size // 2, size // 2 + 1) for axis, size in enumerate(shape)
    )
    mask = np.zeros(shape, bool)
    mask[slices(region)] = True
    needed = np.argwhere(needed_entries(network, mask)[network.source.name])
    found = part_of(network, region).source
    least, most = needed.min(0), needed.max(0) + 1
    assert all(start <= low for (start, _), low in zip(found, least, strict=True))
    assert all(end >= high for (_, end), high in zip(found, most, strict=True))
    assert found[0] == region[0]
    if name in LOCAL:
        assert math.prod(b - a for a, b in found[2:]) < 20 * 20


MIXED = {
    "group norm": lambda call: (CONV(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()),
    "instance norm": lambda call: (nn.InstanceNorm2d(2), CONV(2, 4, 3)),
    "batch norm": lambda call: (CONV(2, 4, 3), nn.BatchNorm2d(4), nn.GELU()),
    "layer norm": lambda call: (
        call(lambda x: x.flatten(2).transpose(1, 2)),
        nn.LayerNorm(2),
        call(lambda x: torch.softmax(x, 1).transpose(1, 2)),
    ),
    "attention": lambda call: (
        call(lambda x: x.flatten(2).transpose(1, 2).unflatten(2, (2, 1)).transpose(1, 2)),
        call(lambda x: functional.scaled_dot_product_attention(x, 2 * x, x, is_causal=True)),
        call(lambda x: x.transpose(1, 2).flatten(2).transpose(1, 2)),
    ),
}


@pytest.mark.rows("both", [False, True])
def test_a_step_of_an_lstm_needs_those_before_it(both):
    """In two directions it needs all of its sample."""

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(2, 3, 2, bidirectional=both, batch_first=both)

        def forward(self, x):
            order = (0, 2, 1) if both else (2, 0, 1)
            back = (0, 2, 1) if both else (1, 2, 0)
            return self.lstm(x.permute(*order))[0].permute(*back)

    torch.manual_seed(1)
    network = capture(Steps().eval(), torch.zeros(3, 2, 9))
    source = source_of(torch.randn(3, 2, 9, generator=RANDOM))
    expected = bounded_latents(network, source.bounded()).value[1:2, :, 4:6]
    part = part_of(network, ((1, 2), (0, network.output.shape[1]), (4, 6)))
    assert part.source == ((1, 2), (0, 2), (0, 9 if both else 6))
    found = bounded_latents(part.network, source.part(part.source).bounded())
    off = (found.value - expected).norm()
    assert off <= 2 * found.error.expand(found.value.shape).norm() < 1e-9


@pytest.mark.rows("name", list(MIXED))
def test_samples_are_cut_where_they_do_not_meet(name, call):
    torch.manual_seed(1)
    model = nn.Sequential(*MIXED[name](call)).eval()
    network = capture(model, torch.zeros(3, 2, 7, 6))
    source = source_of(torch.randn(3, 2, 7, 6, generator=RANDOM))
    expected = bounded_latents(network, source.bounded())
    region = ((1, 2), *whole(network.output.shape)[1:])
    part = part_of(network, region)
    assert share_of_source(network, part) == 1 / 3
    found = bounded_latents(part.network, source.part(part.source).bounded())
    off = (found.value - expected.value[1:2]).norm()
    assert off <= (found.error + expected.error[1:2]).expand(found.value.shape).norm() < 1e-9


def test_what_meets_is_not_cut(call):
    model = nn.Sequential(CONV(2, 4, 3), call(lambda x: x - x.mean(0, keepdim=True))).eval()
    network = capture(model, torch.zeros(3, 2, 7, 6))
    part = part_of(network, ((1, 2), (0, 4), (0, 1), (0, 1)))
    assert part.source == whole(network.source.shape)
    assert part.network.output.shape == (1, 4, 1, 1)


@pytest.mark.rows("threads", [1, 2, 3, 5])
def test_threads_have_strips(threads, sum_of, call):
    """Each token is decided once, and codes are those of one thread."""
    model = encoder(*LOCAL["strides and residuals"](sum_of, call))
    batch = torch.rand(2, 2, 64, 31, generator=torch.Generator().manual_seed(4))
    encode = CanonicalEncoder(model, codebook=integers(16, 3) * 20)
    expected = encode(batch)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = encode(batch)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found.codes, expected.codes)
    assert found.counts()["FLOAT64"] == found.codes.numel()
    ready = encode._reused.ready(batch)
    strips = strips_of(ready.network, ready.constants, threads)
    tokens = np.concatenate([each.tokens for each in strips])
    assert np.array_equal(np.sort(tokens), np.arange(found.codes.numel()))
    assert len(strips) == min(threads, 3)


def test_pieces_have_one_thread_each():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = each_alone(lambda piece: (piece, torch.get_num_threads()), range(5))
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert found == [(piece, 1) for piece in range(5)]
    assert after == 3


def test_boxes_around_open_tokens_are_computed_in_pairs(sum_of, call, monkeypatch):
    """Two tokens far apart, and two beside each other in another sample, make three boxes."""
    model = encoder(*LOCAL["strides and residuals"](sum_of, call))
    batch = torch.rand(4, 2, 96, 96, generator=torch.Generator().manual_seed(5))
    encode = CanonicalEncoder(model, codebook=integers(16, 3) * 20)
    expected = encode(batch)
    shape = tuple(expected.codes.shape)
    places = [(0, 1, 1), (0, 40, 44), (2, 20, 20), (2, 20, 21)]
    chosen = np.ravel_multi_index(tuple(zip(*places, strict=True)), shape)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    decide, run, sizes = _canonical.decide_latents, _canonical.bounded_latents, []

    def undecided(levels, latents):
        found = decide(levels, latents)
        if len(found.decided) == math.prod(shape):  # of the whole, on one thread
            found.decided[chosen] = False
        return found

    def counted(network, source, **named):
        sizes.append(source.value.numel() / batch.numel())
        return run(network, source, **named)

    monkeypatch.setattr(_canonical, "decide_latents", undecided)
    monkeypatch.setattr(_canonical, "bounded_latents", counted)
    found = encode(batch)
    assert torch.equal(found.codes, expected.codes)
    assert sizes[0] == 1
    assert len(sizes) == 4
    assert sum(sizes[1:]) < 0.1
    wider = (found.decided_by == Rung.WIDER).nonzero().tolist()
    assert list(map(tuple, wider)) == places
