"""Each family of certvq beside the class of vector-quantize-pytorch that does the same.

In: sizes. Out: pairs of constructors of equal budget, and one way to call either. Both sides have
their library's defaults but for what a pair names: its sizes, and for the original's codebooks the
k-means start and the replacement of dead codes that certvq has by default.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import vector_quantize_pytorch as original
from torch import nn

import certvq.nn as vq


@dataclass(frozen=True)
class Sizes:
    """How large the quantizers of a bench are.

    Attributes:
        dim: features of latents of the families with code vectors.
        codebook_size: codes of a single codebook.
        level_size: codes of each of two levels or groups.
        levels: of the grids of scalars.
        level_grid: of a grid of each of two levels or groups.
        bits: of the binary ones, an even number.
        scales: of the hierarchical one, along both axes of a map.
    """

    dim: int
    codebook_size: int
    level_size: int
    levels: tuple[int, ...]
    level_grid: tuple[int, ...]
    bits: int
    scales: tuple[int, ...]


SMALL = Sizes(
    dim=32,
    codebook_size=256,
    level_size=16,
    levels=(8, 8, 4),
    level_grid=(4, 4),
    bits=8,
    scales=(2, 4, 8),
)
"""Eight bits for each token, in every family; of the hierarchical one, for each cell of a scale."""

MODEST = Sizes(
    dim=64,
    codebook_size=1024,
    level_size=1024,
    levels=(8, 8, 5, 4),
    level_grid=(8, 8, 5, 4),
    bits=10,
    scales=(4, 8, 16),
)
"""For the time of a layer alone."""


@dataclass(frozen=True)
class Pair:
    """One family.

    Attributes:
        name: for tables.
        dim: features of its latents.
        ours: makes certvq's, of a layout and a generator.
        theirs: makes the original's, for latents (b, n, d).
        channel_first: whether the original takes (b, d, n) after all.
        maps: whether both take maps (b, d, h, w) alone.
    """

    name: str
    dim: int
    ours: Callable[[str, torch.Generator], vq.BaseQuantizer]
    theirs: Callable[[], nn.Module]
    channel_first: bool = False
    maps: bool = False

    def adapted(self) -> "Original":
        """Make the original's, to be called like certvq's."""
        return Original(self.theirs(), channel_first=self.channel_first)

    def on_maps(self) -> nn.Module:
        """Make the original's, for maps."""
        return self.adapted() if self.maps else OnImages(self.adapted())


class Original(nn.Module):
    """A quantizer of the original that takes tokens (b, n, d) and returns three things.

    Args:
        quantizer: the original's module; `HierarchicalVQ` takes maps (b, d, h, w) instead.
        channel_first: whether it takes (b, d, n).
    """

    def __init__(self, quantizer: nn.Module, *, channel_first: bool = False) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.channel_first = channel_first

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors (b, n, width), codes (b, n, ...) and a scalar loss."""
        if isinstance(self.quantizer, original.BinaryMapper):
            return self.quantizer(tokens, return_indices=True)
        result = self.quantizer(tokens.mT if self.channel_first else tokens)
        vectors, codes = result[:2]
        loss = result[2].sum() if len(result) > 2 else vectors.new_zeros(())
        if isinstance(self.quantizer, original.GroupedResidualVQ):
            codes = codes.permute(1, 2, 0, 3).flatten(2)
        if isinstance(self.quantizer, original.HierarchicalVQ):
            codes = torch.cat([scale.flatten(1) for scale in codes], dim=1)
        return (vectors.mT if self.channel_first else vectors), codes, loss


class OnImages(nn.Module):
    """A quantizer of tokens (b, n, d), for feature maps (b, d, h, w)."""

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors (b, width, h, w), codes (b, h, w, ...) and the loss."""
        grid = features.shape[2:]
        vectors, codes, loss = self.quantizer(features.flatten(2).mT)
        return vectors.mT.unflatten(2, grid), codes.unflatten(1, grid), loss


def pairs(sizes: Sizes) -> dict[str, Pair]:
    """Return all pairs of given sizes by name."""
    start: dict[str, Any] = {"kmeans_init": True, "threshold_ema_dead_code": 2}
    dim, size, level = sizes.dim, sizes.codebook_size, sizes.level_size
    grid, small_grid, bits = list(sizes.levels), list(sizes.level_grid), sizes.bits
    scales = list(sizes.scales)
    every = [
        Pair(
            "VectorQuantize",
            dim,
            lambda layout, g: vq.VectorQuantize(dim, size, layout=layout, generator=g),
            lambda: original.VectorQuantize(dim=dim, codebook_size=size, **start),
        ),
        Pair(
            "VectorQuantize, cosine",
            dim,
            lambda layout, g: vq.VectorQuantize(
                dim, size, metric="cosine", layout=layout, generator=g
            ),
            lambda: original.VectorQuantize(
                dim=dim, codebook_size=size, use_cosine_sim=True, **start
            ),
        ),
        Pair(
            "VectorQuantize, gradient",
            dim,
            lambda layout, g: vq.VectorQuantize(
                dim, size, update=vq.Gradient(), layout=layout, generator=g
            ),
            lambda: original.VectorQuantize(
                dim=dim,
                codebook_size=size,
                learnable_codebook=True,
                ema_update=False,
                kmeans_init=True,
            ),
        ),
        Pair(
            "ProductQuantize",
            dim,
            lambda layout, g: vq.ProductQuantize(
                [vq.VectorQuantize(dim // 2, level, generator=g) for _ in range(2)], layout=layout
            ),
            lambda: original.VectorQuantize(
                dim=dim,
                codebook_size=level,
                codebook_dim=dim // 2,
                heads=2,
                separate_codebook_per_head=True,
                **start,
            ),
        ),
        Pair(
            "ResidualVQ",
            dim,
            lambda layout, g: vq.ResidualVQ(
                dim, level, num_quantizers=2, layout=layout, generator=g
            ),
            lambda: original.ResidualVQ(dim=dim, codebook_size=level, num_quantizers=2, **start),
        ),
        Pair(
            "GroupedResidualVQ",
            dim,
            lambda layout, g: vq.GroupedResidualVQ(
                dim, level, groups=2, num_quantizers=1, layout=layout, generator=g
            ),
            lambda: original.GroupedResidualVQ(
                dim=dim, codebook_size=level, groups=2, num_quantizers=1, **start
            ),
        ),
        Pair(
            "HierarchicalVQ",
            dim,
            lambda layout, g: vq.HierarchicalVQ(dim, size, scales, layout=layout, generator=g),
            lambda: original.HierarchicalVQ(
                dim=dim, codebook_size=size, scales=scales, accept_image_fmap=True
            ),
            maps=True,
        ),
        Pair(
            "SimVQ",
            dim,
            lambda layout, g: vq.SimVQ(dim, size, layout=layout, generator=g),
            lambda: original.SimVQ(dim=dim, codebook_size=size),
        ),
        Pair(
            "ResidualSimVQ",
            dim,
            lambda layout, g: vq.ResidualSimVQ(
                dim, level, num_quantizers=2, layout=layout, generator=g
            ),
            lambda: original.ResidualSimVQ(dim=dim, codebook_size=level, num_quantizers=2),
        ),
        Pair(
            "FSQ",
            len(grid),
            lambda layout, g: vq.FSQ(grid, layout=layout, generator=g),
            lambda: original.FSQ(levels=grid),
        ),
        Pair(
            "ResidualFSQ",
            len(small_grid),
            lambda layout, g: vq.ResidualFSQ(small_grid, 2, layout=layout, generator=g),
            lambda: original.ResidualFSQ(levels=small_grid, num_quantizers=2),
        ),
        Pair(
            "FSP",
            len(grid),
            lambda layout, g: vq.FSP(grid, layout=layout, generator=g),
            lambda: original.FSP(levels=grid),
        ),
        Pair(
            "LatentQuantize",
            len(grid),
            lambda layout, g: vq.LatentQuantize(grid, layout=layout),
            lambda: original.LatentQuantize(levels=grid, dim=len(grid)),
            channel_first=True,
        ),
        Pair(
            "LFQ",
            bits,
            lambda layout, g: vq.LFQ(bits, layout=layout),
            lambda: original.LFQ(dim=bits, codebook_size=2**bits),
        ),
        Pair(
            "LFQ, spherical",
            bits,
            lambda layout, g: vq.LFQ(bits, spherical=True, layout=layout),
            lambda: original.LFQ(dim=bits, codebook_size=2**bits, spherical=True),
        ),
        Pair(
            "ResidualLFQ",
            bits // 2,
            lambda layout, g: vq.ResidualLFQ(bits // 2, 2, layout=layout, generator=g),
            lambda: original.ResidualLFQ(
                dim=bits // 2, codebook_size=2 ** (bits // 2), num_quantizers=2
            ),
        ),
        Pair(
            "BinaryMapper",
            bits,
            lambda layout, g: vq.BinaryMapper(bits, layout=layout, generator=g),
            lambda: original.BinaryMapper(bits=bits, deterministic_on_eval=True),
        ),
    ]
    return {pair.name: pair for pair in every}
