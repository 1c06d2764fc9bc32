"""Residual grids: each level is nearest to its residual, and what is left over gets small."""

import pytest
import torch

from certvq import assign
from certvq.errors import NonFiniteError, OptionError
from certvq.nn import FSQ, EachLevel, GroupedResidualFSQ, LevelDropout, ResidualFSQ
from certvq.nn._levels.residual_fsq import level_scales

LEVELS = (8, 5, 2)


def test_each_level_is_nearest_to_its_residual_as_computed(seeded):
    """Grids times (L - 1) are integers; the clamped quotient times (L - 1) is exact in float64."""
    layer = ResidualFSQ(LEVELS, 4).eval()
    tokens = 2 * torch.randn(200, 3, generator=seeded())
    codes = layer.encode(tokens[None])[0]
    width = torch.tensor([count - 1 for count in LEVELS])
    grid = 2 * FSQ(LEVELS, preserve_symmetry=True).level_indices(torch.arange(80)) - width
    residual = layer.clamped(tokens)
    for level, part in enumerate(layer.quantizers):
        bounded = (residual / part.scale).clamp(-1, 1).double() * width
        assert torch.equal(codes[:, level], assign(bounded, grid.double()).codes)
        residual = residual - part.decode(codes[None, :, level])[0]


def test_what_is_left_over_shrinks_by_the_levels(seeded):
    """On [-1, 1] every level leaves at most half a step, with float32's roundings on top."""
    layer = ResidualFSQ(LEVELS, 5, soft_clamp=False).eval()
    tokens = torch.rand(1, 300, 3, generator=seeded()) * 2 - 1
    codes = layer.encode(tokens)
    for depth in range(1, 6):
        left = (tokens - layer.decode(codes[..., :depth])).abs().amax((0, 1))
        for d, count in enumerate(LEVELS):
            step = 1.0 / (count - 1)
            # Beyond the first level the ends of the next grid fall short by L^-l / (L - 1).
            bound = count ** -(depth - 1) * step * 1.0001 + 1e-6
            assert left[d] <= bound, (depth, d)


def test_gradients_pass_the_soft_clamp(seeded):
    latents = torch.randn(1, 20, 3, generator=seeded(), requires_grad=True)
    layer = ResidualFSQ(LEVELS, 3)
    layer(latents).quantized.sum().backward()
    twin = latents.detach().requires_grad_()
    layer.clamped(twin).sum().backward()
    torch.testing.assert_close(latents.grad, twin.grad)


def test_scales_are_powers_of_the_levels():
    assert level_scales((8, 5), 3) == [[1.0, 1.0], [1 / 8, 1 / 5], [1 / 64, 1 / 25]]


def test_half_precision_keeps_the_scales(seeded):
    """8^-7 is below what float16 holds; the layer's scales stay float32."""
    layer = ResidualFSQ((8, 8), 7)
    latents = torch.rand(1, 50, 2, generator=seeded()) * 0.9
    codes = layer.encode(latents)
    half = ResidualFSQ((8, 8), 7).half()
    assert torch.equal(half.encode(latents)[..., :1], codes[..., :1])
    assert all(torch.equal(a.scale, b.scale) for a, b in zip(layer.parts, half.parts, strict=True))


def test_groups_share_their_depth(seeded):
    layer = GroupedResidualFSQ((5, 4), 6, groups=3, dropout=LevelDropout(), generator=seeded())
    depths = set()
    for step in range(20):
        codes = layer(torch.randn(1, 7, 6, generator=seeded(step))).codes
        used = (codes >= 0).sum(-1)
        assert (used == used[0, 0, 0]).all()
        depths.add(int(used[0, 0, 0]))
    assert len(depths) > 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ResidualFSQ((5,), 0), "num_quantizers must be at least 1, got 0"),
        (lambda: ResidualFSQ((5, 1), 2), "at least 2 each, got 1 at place 1"),
        (lambda: ResidualFSQ((4096,), 20), "scale must be finite and above 0 in float32"),
        (lambda: GroupedResidualFSQ((5,), 2, groups=0), "groups must be at least 1, got 0"),
        (
            lambda: GroupedResidualFSQ((5,), 2, groups=1, dropout=LevelDropout(min_levels=3)),
            "min_levels must be at most the number of levels, 2, got 3",
        ),
    ],
)
def test_wrong_options_are_named(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def test_infinity_does_not_hide_behind_the_clamp():
    layer = ResidualFSQ(LEVELS, 2, estimator=EachLevel())
    latents = torch.full((1, 1, 3), float("inf"))
    for mode in (True, False):
        with pytest.raises(NonFiniteError, match="got inf at row 0, column 0"):
            layer.train(mode)(latents)
