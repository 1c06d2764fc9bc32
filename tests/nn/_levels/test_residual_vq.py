"""The layer that people reach for: sizes, sharing, training on structured data."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import EMA, PADDING, Gradient, LevelDropout, ResidualVQ, Revive


def test_sizes_of_every_level(seeded):
    layer = ResidualVQ(4, (8, 3, 5), generator=seeded())
    assert layer.codebook_size == (8, 3, 5)
    assert ResidualVQ(4, 8, num_quantizers=2).codebook_size == 8
    assert [part.codebook_size for part in layer.quantizers] == [8, 3, 5]


def test_options_reach_every_level(seeded):
    layer = ResidualVQ(
        4, 8, num_quantizers=2, update=Gradient(), commitment_weight=0.5, revive=None
    )
    assert all(part.commitment_weight == 0.5 for part in layer.quantizers)
    assert len(list(layer.parameters())) == 2


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("update", [EMA(decay=0.8), Gradient()], ids=repr)
def test_training_lowers_the_error_and_levels_help(shared, update, seeded):
    """A sum of two clouds of 4 points each; a shared codebook has enough codes for one level."""
    size = 24 if shared else 8
    layer = ResidualVQ(2, size, num_quantizers=3, shared=shared, update=update, generator=seeded())
    coarse = 4.0 * torch.randn(4, 2, generator=seeded(1))
    fine = torch.randn(4, 2, generator=seeded(2))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05) if update == Gradient() else None
    generator = seeded(3)
    for _ in range(60):
        picks = torch.randint(4, (2, 200), generator=generator)
        latents = (coarse[picks[0]] + fine[picks[1]])[None]
        loss = layer(latents).loss
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    layer.eval()
    codes = layer.encode(latents)
    by_depth = [
        float((layer.decode(codes[..., :depth]) - latents).detach().square().mean())
        for depth in (1, 2, 3)
    ]
    assert shared or by_depth[0] > by_depth[1] > by_depth[2]
    assert by_depth[2] < 0.03 * float(latents.square().mean())


def test_the_generator_alone_decides(seeded, snapshot, unchanged):
    def trained(noise):
        torch.manual_seed(noise)
        layer = ResidualVQ(3, 6, num_quantizers=3, dropout=LevelDropout(), generator=seeded())
        for step in range(5):
            layer(torch.randn(1, 40, 3, generator=seeded(step)))
        return layer

    assert unchanged(trained(1), snapshot(trained(2)))


def test_dropped_levels_learn_nothing(seeded, snapshot, unchanged):
    layer = ResidualVQ(3, 6, num_quantizers=3, generator=seeded(), revive=Revive(0.0))
    latents = torch.randn(50, 3, generator=seeded())
    layer.quantize_levels(latents, 3)
    before = snapshot(layer.quantizers[2])
    found = layer.quantize_levels(latents, 2)
    assert unchanged(layer.quantizers[2], before)
    assert (found.codes[:, 2] == PADDING).all()
    assert "level2/commitment_loss" not in found.figures


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (
            (4, 8),
            {},
            "num_quantizers must be at least 1 where codebook_size is one number, got None",
        ),
        ((4, 8), {"num_quantizers": 0}, "got 0"),
        ((4, ()), {}, "got 0 numbers and num_quantizers=None"),
        ((4, (8, 9)), {"num_quantizers": 3}, "got 2 numbers and num_quantizers=3"),
        ((4, (8, 9)), {"shared": True}, r"one codebook_size for all levels, got \(8, 9\)"),
        ((0, 8), {"num_quantizers": 2}, "dim must be at least 1, got 0"),
    ],
)
def test_options_that_contradict_are_refused(arguments, options, text):
    with pytest.raises(OptionError, match=text):
        ResidualVQ(*arguments, **options)
