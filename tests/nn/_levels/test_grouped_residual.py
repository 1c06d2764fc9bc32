"""Groups of residual quantizers of any kind, side by side."""

import torch

from certvq.nn import FSQ, LFQ, GroupedResidual, LevelDropout, Residual


def test_groups_are_their_parts(seeded):
    parts = [Residual([FSQ((5, 4)), FSQ((5, 4))]), Residual([LFQ(3), LFQ(3, scale=0.5)])]
    layer = GroupedResidual(parts).eval()
    latents = torch.randn(1, 30, 5, generator=seeded())
    quantized, codes, _ = layer(latents)
    for group, (part, piece) in enumerate(zip(parts, latents.split((2, 3), 2), strict=True)):
        assert torch.equal(codes[:, :, group], part.eval().encode(piece))
    assert layer.codebook_size == ((20, 20), (8, 8))
    assert torch.equal(layer.decode(codes), quantized)


def test_one_depth_for_all(seeded):
    parts = [Residual([LFQ(2) for _ in range(5)]) for _ in range(2)]
    layer = GroupedResidual(parts, dropout=LevelDropout(), generator=seeded())
    depths = set()
    for step in range(10):
        used = (layer(torch.randn(1, 4, 4, generator=seeded(step))).codes >= 0).sum(-1)
        assert len(used.unique()) == 1
        depths.add(int(used.unique()))
    assert len(depths) > 1
