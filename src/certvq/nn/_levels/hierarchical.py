"""Residual quantization over coarser and finer grids, as VAR tokenizes images.

In: latents on a grid of one to three axes. Out: the codes of a sequence of grids, coarse to fine,
and the sum of their vectors spread over the whole grid. Codes come from `VectorQuantize`. Must not
know of models.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from certvq.errors import OptionError, ShapeError
from certvq.nn._core.codes import Sizes, require_codes, require_range
from certvq.nn._core.latents import (
    PADDING,
    LayoutName,
    among_padding,
    kept_rows,
    require_finite_latents,
    require_same_device,
)
from certvq.nn._core.losses import mean_square, saturated
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import BaseQuantizer, Quantized, lasting, lasting_codes
from certvq.nn._core.uncompiled import refuse_transforms
from certvq.nn._core.usage import Place
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._levels import scales as _scales
from certvq.nn._levels.level_dropout import LevelDropout, require_min_levels
from certvq.nn._levels.pyramid import Pyramid, Step, encode, tokens_of
from certvq.nn._levels.refine import Refine, Refinement
from certvq.nn._torch.distributed import peers_of, raise_together
from certvq.nn._torch.modes import beneath, holds_numbers, sizes, transforming
from certvq.nn._torch.transaction import all_or_nothing
from certvq.nn._vector.vector_quantize import VectorQuantize

_STRAIGHT, _REFINE = StraightThrough(), Refine()


@checked
class HierarchicalVQ(BaseQuantizer):
    """Quantize a coarse picture of the latents, then what it leaves over on finer and finer grids.

    Mathematics: ``r_0 = z``; at scale l the residual is averaged over the cells of the scale's
    grid, each average is quantized, and the vectors are spread over the whole grid by linear
    interpolation and refined, ``h_l``; ``r_(l+1) = r_l - h_l``, ``quantized = h_0 + h_1 + ...``.
    ``loss`` is the mean over the scales of their quantizers' losses and, with a refinement, of
    ``mse(h_0 + ... + h_l, sg[z])``, which is what the refinement learns from.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, or a sequence of one K for each scale.
        scales: sizes of the grids, coarse to fine: a number for grids of equal sides, or one number
            for each axis.
        shared: whether all scales use one codebook. It learns once in a forward pass from the
            residuals of all scales, and starts from averages over the finest grid.
        dropout: how many scales are used in train mode, or None for all.
        refine: convolutions after spreading, or None.
        estimator: how the gradient reaches the latents in train mode, applied once to the sum.
        layout: ``"b n d"`` or ``"b d n"`` for one axis, ``"b c h w"`` or ``"b h w c"`` for two,
            ``"b c t h w"`` or ``"b t h w c"`` for three.
        generator: source of every random choice.
        options: of the scales' `VectorQuantize`: `commitment_weight`, `update`, ...

    Attributes:
        scales: sizes of each grid.
        parts: the different quantizers, as an ``nn.ModuleList``.

    Raises:
        OptionError: an option out of its range, or sizes that contradict one another.

    Guarantee: each code is the nearest one of its codebook to the average as computed, with the
        guarantee of `certvq.assign`; the codes of all scales together need not be the best ones.
        `codes` holds the grids one after the other, (b, n_0 + n_1 + ...); `split` cuts it.
        ``quantized == decode(codes, mask, size=...)`` bit for bit for the same batch, where the
        device computes equal convolutions equally. A cell has a latent where its part of the mask
        is not empty; other cells, and scales that were dropped, have the code `PADDING`.
    Ties: the lowest index, at each place.

    Example:
        >>> layer = HierarchicalVQ(4, 16, [1, 2, 4], layout="b c h w").eval()
        >>> quantized, codes, loss = layer(torch.randn(2, 4, 4, 4))
        >>> codes.shape, [grid.shape[1:] for grid in layer.split(codes)]
        (torch.Size([2, 21]), [torch.Size([1, 1]), torch.Size([2, 2]), torch.Size([4, 4])])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Tian, Jiang, Yuan, Peng, Wang, "Visual Autoregressive Modeling: Scalable Image Generation
        via Next-Scale Prediction", 2024, algorithms 1 and 2.
    """

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        scales: Sequence[int | Sequence[int]],
        *,
        shared: bool = True,
        dropout: LevelDropout | None = None,
        refine: Refine | None = _REFINE,
        estimator: Estimator = _STRAIGHT,
        layout: LayoutName = "b d n",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, layout=layout)
        axes = self._layout.rank - 2
        if not axes:
            text = f"layout must have an axis that grids divide, got {layout!r}; use 'b n d'"
            raise OptionError(text)
        self.scales = _scales.require_scales(scales, axes)
        sizes = _level_sizes(codebook_size, len(self.scales), shared=shared)
        require_min_levels(dropout, len(self.scales))
        self.shared = shared
        self.dropout = dropout
        self.estimator = estimator
        self.draw_from(generator)
        self.parts = nn.ModuleList(
            VectorQuantize(dim, size, generator=generator, **options) for size in sizes
        )
        self.refinement = (
            None
            if refine is None
            else Refinement(dim, axes, len(self.scales), refine, generator=generator)
        )

    @property
    def codebook_size(self) -> Sizes:
        """K of all scales; a tuple of one for each place of `codes` where it differs."""
        sizes = [part.codebook_size for part in self.quantizers]
        if len(set(sizes)) == 1:
            return sizes[0]
        pairs = zip(sizes, self.cells, strict=True)
        return tuple(size for size, cells in pairs for _ in range(cells))

    @property
    def quantizers(self) -> tuple[VectorQuantize, ...]:
        """The quantizer of each scale."""
        parts = cast("tuple[VectorQuantize, ...]", tuple(self.parts))
        return parts * len(self.scales) if self.shared else parts

    @property
    def cells(self) -> tuple[int, ...]:
        """How many codes each scale has."""
        return _scales.cells(self.scales)

    @property
    def shares_codebook(self) -> bool:
        """Whether all scales use one codebook."""
        return self.shared

    def code_places(self, codes: torch.Tensor) -> dict[str, Place]:
        """Take codes apart by their scale; see `BaseQuantizer`."""
        pieces = self.split(require_codes(codes, 2))
        return {
            f"scale{scale}/": Place(piece, part.codebook_size)
            for scale, (piece, part) in enumerate(zip(pieces, self.quantizers, strict=False))
        }

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> Quantized:
        """Quantize latents; in train mode, learn from them.

        Args:
            x: finite latents of the layer's layout, any float type, at least one place on each
                axis.
            mask: bool, of the shape of the latents without the feature axis, True where there is a
                latent; padding is not looked at, teaches nothing and costs no loss.

        Returns:
            `Quantized`, with codes (b, n_0 + n_1 + ...).

        Raises:
            ShapeError: wrong rank, feature size or shape of the mask, or an empty axis.
            DTypeError: latents that are not floats, or a mask that is not bool.
            DeviceError: latents on another device than the layer.
            NonFiniteError: as for `Quantizer`. No state has changed then, nor after any other
                exception.
        """
        maps, kept = self._read(x, mask)
        mask = None if mask is None else mask.to(x.device)
        tokens = self._tokens(maps, kept)
        if self.training:
            refuse_transforms(self)
            error = self._pyramid.token_error(tokens.detach())
            raise_together(self, error, tokens.device)
        else:
            require_finite_latents(tokens)
        return all_or_nothing(self, tokens, lambda: self._forward(maps, mask, tokens, kept))

    def _forward(
        self,
        maps: torch.Tensor,
        mask: torch.Tensor | None,
        tokens: torch.Tensor,
        kept: torch.Tensor | None,
    ) -> Quantized:
        depth = len(self.scales)
        if self.training and self.dropout is not None:
            depth = self.dropout.depth(depth, self.generator, tokens.device, peers=peers_of(self))
        pyramid = self._pyramid
        if self.training:
            pyramid.learn(maps.detach(), mask, depth)
        steps = pyramid.descend(maps, mask, depth)
        total, loss, figures = self._sum(tokens, steps, kept)
        codes = torch.cat([step.codes for step in steps], dim=1)
        codes = functional.pad(codes, (0, sum(self.cells) - codes.shape[1]), value=PADDING)
        figures["depth"] = torch.tensor(float(depth))
        estimator = self.estimator if self.training else _STRAIGHT
        places = torch.arange(tokens.shape[0], device=tokens.device)
        vectors = estimator.estimate(tokens, self._tokens(total, kept), places, self.generator)
        rows = among_padding(vectors, kept, maps[:, 0].numel(), 0)
        grid = (maps.shape[0], *maps.shape[2:])
        result = Quantized(self._layout.restore(rows, grid), codes, saturated(loss))
        self._remember(lasting(figures), lasting_codes(codes))
        return result

    @torch.no_grad()
    def encode(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the codes of latents; changes nothing, also in train mode.

        Args:
            x: as for `forward`.
            mask: as for `forward`.

        Returns:
            int64 (b, n_0 + n_1 + ...), of all scales.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as for `forward`.
        """
        maps, kept = self._read(x, mask)
        mask = None if mask is None else mask.to(x.device)
        require_finite_latents(self._tokens(maps, kept))
        steps = self._pyramid.descend(maps, mask, len(self.scales), encode)
        return torch.cat([step.codes for step in steps], dim=1)

    def decode(
        self,
        codes: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        size: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Return the vectors of codes.

        Args:
            codes: integers (b, n_0 + ... + n_q), of all scales or of the first ones; trailing
                scales may be `PADDING`.
            mask: the one that the codes were made with; codes of cells without a latent are not
                looked at, and vectors of padding are zero.
            size: of the whole grid; None is that of the mask, or of the finest scale.

        Returns:
            Vectors in the layer's layout.

        Raises:
            DTypeError: codes that are not integers, or a mask that is not bool.
            DeviceError: codes on another device than the layer.
            ShapeError: wrong number of codes, or shape of the mask.
            CodeRangeError: a code outside ``range(K)``; names the first place.
        """
        wide = require_codes(codes, 2)
        full = _scales.full_size(self.scales, mask, size)
        require_same_device(self, codes, "codes")
        kept = kept_rows(mask, (wide.shape[0], *full), codes.device)
        mask = None if mask is None else mask.to(codes.device)
        pieces = self.split(wide)
        depth = len(pieces)
        while depth > 1 and _is_padding(pieces[depth - 1]) and wide.numel():
            depth -= 1
        used = torch.cat([piece.flatten(1) for piece in pieces[:depth]], dim=1)
        absent = torch.zeros_like(used, dtype=torch.bool)
        if mask is not None:
            found = [_scales.present(mask, scale) for scale in self.scales[:depth]]
            cells = [cast("torch.Tensor", cell).flatten(1) for cell in found]
            absent = ~torch.cat(cells, dim=1)
        used = used.masked_fill(absent, 0)
        every = self.codebook_size
        require_range(used, every if isinstance(every, int) else every[: used.shape[1]])
        cells = self.cells[:depth]
        each = list(zip(used.split(cells, dim=1), absent.split(cells, dim=1), strict=True))
        rows = self._tokens(self._pyramid.decode(each, full), kept)
        batch = wide.shape[0]
        every_row = among_padding(rows, kept, batch * math.prod(full), 0)
        return self._layout.restore(every_row, (batch, *full))

    def split(self, codes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut codes into the grids of the scales.

        Args:
            codes: (b, n_0 + ... + n_q), of all scales or of the first ones.

        Returns:
            For each scale (b, ...), shaped like its grid.

        Raises:
            ShapeError: a number of codes that ends within a scale.
        """
        return _scales.split(codes, self.scales)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, scales={self.scales}, shared={self.shared}, dropout={self.dropout}, "
            f"layout={self._layout.name!r}"
        )

    def _read(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the latents as maps (b, D, ...), zero where masked, and the rows that are kept."""
        self._layout.tokens(x, self.dim)
        require_same_device(self, x, "latents")
        grid = self._layout.grid(x)
        if 0 in sizes(x)[1:]:
            text = f"latents must have at least one place on each axis, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        kept = kept_rows(mask, grid, x.device)
        maps = x.movedim(self._layout.feature_axis, 1)
        if mask is not None:
            maps = maps.masked_fill(~mask.to(x.device)[:, None], 0)
        return maps, kept

    def _tokens(self, maps: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        rows = tokens_of(maps)
        return rows if kept is None else rows[kept]

    @property
    def _pyramid(self) -> Pyramid:
        return Pyramid(self.scales, self.quantizers, self.shared, self.refinement)

    def _sum(
        self, tokens: torch.Tensor, steps: list[Step], kept: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return the sum of all maps, detached, the loss and the figures."""
        total = steps[0].maps
        partial = [self._tokens(total, kept)]
        for step in steps[1:]:
            total = total + step.maps
            partial.append(self._tokens(total, kept))
        figures = {
            f"level{level}/{name}": value
            for level, step in enumerate(steps)
            for name, value in step.found.figures.items()
        }
        figures["commitment_loss"] = mean_square(tokens.detach(), partial[-1].detach())
        loss = torch.stack([step.found.loss for step in steps]).mean()
        if self.refinement is not None:
            errors = [mean_square(tokens.detach(), rows) for rows in partial]
            refine = torch.stack(errors).mean()
            figures["refine_loss"] = refine.detach()
            loss = loss + refine
        return total.detach(), loss, figures


def _is_padding(codes: torch.Tensor) -> bool:
    """Say whether nothing was coded, in no sample."""
    if not holds_numbers(codes):
        return False
    return bool(((beneath(codes) if transforming() else codes) == PADDING).all())


def _level_sizes(
    codebook_size: int | Sequence[int], levels: int, *, shared: bool
) -> tuple[int, ...]:
    """Return K of each quantizer."""
    sizes = (codebook_size,) * levels if isinstance(codebook_size, int) else tuple(codebook_size)
    if len(sizes) != levels:
        text = f"codebook_size must be one number or one for each of {levels} scales, got {sizes}"
        raise OptionError(text)
    if shared and len(set(sizes)) > 1:
        text = f"a shared codebook needs one codebook_size for all scales, got {sizes}"
        raise OptionError(text)
    return sizes[:1] if shared else sizes
