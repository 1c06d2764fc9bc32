"""Quantizers of coarser and finer grids, one after the other.

In: maps of latents, and a mask. Out: what each scale finds, its vectors spread over the whole grid.
Must not know of layers, whose modules it only uses.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.nn._core.latents import PADDING, among_padding
from certvq.nn._core.quantizer import Found
from certvq.nn._levels import scales as _scales
from certvq.nn._torch.modes import full_precision, sizes
from certvq.nn._vector.vector_quantize import VectorQuantize


@dataclass(frozen=True)
class Step:
    """What one scale added.

    Attributes:
        tokens: (M, D), the averages of the cells with a latent.
        codes: (b, n), `PADDING` where a cell has no latent.
        maps: (b, D, ...), the vectors spread and refined.
        found: what the quantizer of the scale found.
    """

    tokens: torch.Tensor
    codes: torch.Tensor
    maps: torch.Tensor
    found: Found


@dataclass(frozen=True)
class Pyramid:
    """The scales of a quantizer.

    Attributes:
        scales: sizes of each grid, coarse to fine.
        quantizers: the quantizer of each.
        shared: whether all are one, which learns once in a forward pass.
        refinement: what refines maps after spreading, by the place of the scale, or None.
        each: whether the vectors keep their gradients, which then reach the latents and the
            residuals of later scales; else gradients of the maps reach the refinement only.
    """

    scales: _scales.Scales
    quantizers: Sequence[VectorQuantize]
    shared: bool
    refinement: nn.Module | None
    each: bool = False

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Look for what would stop the quantizers; later ones are asked about their codebooks."""
        error = self.quantizers[0].token_error(tokens)
        for part in self.quantizers[1:] if not self.shared else ():
            error = error or part.token_error(tokens[:0])
        return error

    def learn(self, maps: torch.Tensor, mask: torch.Tensor | None, depth: int) -> None:
        """Let one shared quantizer do what precedes the search in train mode."""

        def candidates() -> torch.Tensor:
            steps = self.descend(maps, mask, depth, encode)
            return torch.cat([step.tokens for step in steps])

        if self.shared:
            finest = self.cells(maps, mask, self.scales[-1])[0]
            self.quantizers[0].learn_tokens(finest, candidates=candidates)

    def cells(
        self, maps: torch.Tensor, mask: torch.Tensor | None, scale: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the averages (M, D) of the cells with a latent, and which cells these are."""
        present = _scales.present(mask, scale)
        rows = tokens_of(_scales.average(maps, mask, scale))
        if present is None:
            return rows, None
        kept = torch.nonzero(present.reshape(-1)).squeeze(1)
        return rows[kept], kept

    def descend(
        self,
        maps: torch.Tensor,
        mask: torch.Tensor | None,
        depth: int,
        find: Callable[[VectorQuantize, torch.Tensor], Found] | None = None,
    ) -> list[Step]:
        """Quantize the residuals of the first scales.

        Args:
            maps: (b, D, ...).
            mask: bool (b, ...), True where there is a latent, or None.
            depth: how many scales are used.
            find: how a scale finds its codes; None is to quantize, and in train mode to learn.
        """
        residual, steps = maps, []
        for level, scale in enumerate(self.scales[:depth]):
            tokens, rows = self.cells(residual, mask, scale)
            found = (find or self._quantize)(self.quantizers[level], tokens)
            batch, cells = maps.shape[0], math.prod(scale)
            vectors = found.vectors if self.each else found.vectors.detach()
            vectors = among_padding(vectors, rows, batch * cells, 0)
            large = self.spread(vectors, level, sizes(maps)[2:])
            codes = among_padding(found.codes, rows, batch * cells, PADDING).reshape(batch, cells)
            steps.append(Step(tokens, codes, large, found))
            residual = residual - (large if self.each else large.detach())
        return steps

    def spread(self, vectors: torch.Tensor, level: int, full: tuple[int, ...]) -> torch.Tensor:
        """Spread the vectors (b n, D) of all cells of a scale over the whole grid; refine them."""
        scale = self.scales[level]
        maps = vectors.reshape(-1, *scale, vectors.shape[1]).movedim(1 + len(scale), 1)
        return self.refined(maps, level, full)

    def refined(self, maps: torch.Tensor, level: int, full: tuple[int, ...]) -> torch.Tensor:
        """Spread maps (b, D, *scale) over the whole grid, and refine them."""
        with full_precision(maps.device):
            maps = _scales.spread(maps, full)
            return maps if self.refinement is None else self.refinement(maps, level)

    def decode(
        self, pieces: Sequence[tuple[torch.Tensor, torch.Tensor]], full: tuple[int, ...]
    ) -> torch.Tensor:
        """Add the maps of codes.

        Args:
            pieces: codes (b, ...) of the first scales, in range, and where there is none.
            full: size of the whole grid.

        Returns:
            (b, D, *full).
        """
        total: torch.Tensor | None = None
        for level, (codes, absent) in enumerate(pieces):
            vectors = self.quantizers[level].decode_tokens(codes.reshape(-1))
            vectors = vectors.masked_fill(absent.reshape(-1, 1), 0)
            maps = self.spread(vectors, level, full)
            total = maps if total is None else total + maps
        assert total is not None
        return total

    def _quantize(self, part: VectorQuantize, tokens: torch.Tensor) -> Found:
        if part.training:
            tokens = part.refuse(tokens)
        return part.choose_tokens(tokens) if self.shared else part.quantize_tokens(tokens)


def encode(part: VectorQuantize, tokens: torch.Tensor) -> Found:
    """Find the codes of tokens; learn nothing."""
    codes = part.encode_tokens(tokens)
    return Found(part.decode_tokens(codes), codes, tokens.new_zeros(()), {})


def tokens_of(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (b, D, ...) as tokens (N, D)."""
    return maps.movedim(1, maps.ndim - 1).reshape(-1, maps.shape[1])
