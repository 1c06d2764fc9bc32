"""What the original's `ResidualVQ` does with a batch, and the way back.

In: latents (b, ..., d), or channel first. Out: sums of code vectors, indices and losses of all
levels. Must not search by itself.
"""

from typing import cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import require
from certvq.compat.vector_quantize_pytorch._depth import Depth
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._given_indices import Given, as_returned, of_levels
from certvq.compat.vector_quantize_pytorch._level_keywords import LevelKeywords
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._losses import with_gradient
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, outward, through, wide_type
from certvq.compat.vector_quantize_pytorch._residual_parts import codebook_of
from certvq.errors import OptionError, ShapeError
from certvq.nn import PADDING, Beam, EachLevel, Quantizer, Reparam, Residual, VectorQuantize
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.latents import among_padding, kept_rows, require_finite_latents
from certvq.nn._core.similarity import cross_entropy, unit_rows
from certvq.nn._core.uncompiled import refuse_graphs, refuse_transforms
from certvq.nn._estimators.each_level import partly_detached
from certvq.nn._levels.residual import after
from certvq.nn._torch.distributed import peers_of, raise_together
from certvq.nn._torch.modes import exporting
from certvq.nn._torch.transaction import all_or_nothing


class ResidualForward(Loaded):
    """The forward pass of `ResidualVQ`, and decoding; its attributes are those of that class."""

    keywords: LevelKeywords
    dim: int
    codebook_dim: int
    codebook_sizes: tuple[int, ...]
    num_quantizers: int
    channel_first: bool
    diveq: bool
    implicit_neural_codebook: bool
    return_zeros_for_masked_padding: bool
    project_in: nn.Module
    project_out: nn.Module
    depth: Depth
    beam_size: int | None
    eval_beam_size: int | None
    beam_weights: tuple[float, ...]
    residual: Residual

    @property
    def quant_grad_frac(self) -> float:
        """Share of each level's gradient that reaches the levels after it."""
        return cast("EachLevel", self.residual.estimator).share

    @property
    def layers(self) -> tuple[Quantizer, ...]:
        """The quantizer of each level, with the latest training batch taken in."""
        for level in self._levels:
            codebook_of(level).settle_for_readers()
        return self._levels

    @property
    def _levels(self) -> tuple[Quantizer, ...]:
        return self.residual.quantizers

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        indices: Given | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        beam_size: int | None = None,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return vectors as x, indices (b, ..., q), losses (q,), and all vectors if wanted.

        Args:
            x: (b, ..., dim), or channel first.
            mask: bool (b, ...), True where there is a latent.
            indices: (b, ..., q), or a list of (b, ...) for each level, none of them -1; with them
                only vectors and the cross entropy of these are returned.
            return_all_codes: whether `get_codes_from_indices` is returned too.
            sample_codebook_temp: of codes that are drawn, in place of the constructor's.
            freeze_codebook: whether nothing is learned from this batch.
            beam_size: in place of the constructor's.
            rand_quantize_dropout_fixed_seed: of the random depth.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as `certvq.nn.Residual`; nothing has changed.
            CodeRangeError: `indices` out of range, -1 among them.
            OptionError: an argument out of its range.
            TransformError: under `torch.func`, where this forward would change the layer, or with a
                mask of its own for each sample of `vmap`.
        """
        require(
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            beam_size=beam_size,
            rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed,
        )
        whole, kept, grid = self._read(x, mask)
        tokens = through(self.project_in, whole if kept is None else whole[kept])
        if self.training and indices is None and not freeze_codebook:
            refuse_transforms(self)
        if self.training and exporting():
            refuse_graphs(self)
            tokens = require_finite_latents(tokens)
        elif self.training:
            error = self.residual.token_error(tokens.detach())
            learning = self.residual if indices is None and not freeze_codebook else self.project_in
            raise_together(learning, error, tokens.device)

        def back(rows: torch.Tensor) -> torch.Tensor:
            rows = mapped_back(self.project_out, rows, x.dtype)
            if kept is not None and not self.return_zeros_for_masked_padding:
                kind = torch.promote_types(whole.dtype, rows.dtype)
                out = whole.to(kind).index_copy(0, kept, rows.to(kind))
            else:
                out = among_padding(rows, kept, whole.shape[0], 0)
            out = out.reshape(*grid, out.shape[-1])
            return out.movedim(len(grid), 1) if self.channel_first and x.ndim > 2 else out

        if indices is not None:
            rows = as_returned(of_levels(indices), grid, (self.num_quantizers,))
            total, entropy = self._against(tokens, rows if kept is None else rows[kept])
            return back(total), entropy

        def step() -> tuple[torch.Tensor, ...]:
            depth = self.depth.draw(
                rand_quantize_dropout_fixed_seed,
                x.device,
                training=self.training,
                peers=() if freeze_codebook else peers_of(self.residual),
            )
            total, codes, losses = self._quantize(
                tokens,
                depth,
                beam=self._beam(beam_size),
                temperature=sample_codebook_temp,
                frozen=freeze_codebook,
                samples=None if kept is not None else grid[0],
            )
            every = among_padding(codes, kept, whole.shape[0], PADDING)
            every = every.reshape(*grid, self.num_quantizers)
            result = (back(total), every, losses)
            return (*result, self.get_codes_from_indices(every)) if return_all_codes else result

        return all_or_nothing(self, tokens, step)

    def _read(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, tuple[int, ...]]:
        """Return all tokens (N, dim), the rows that a mask keeps, and the shape of the codes."""
        require_latents(x)
        last = x.movedim(1, x.ndim - 1) if self.channel_first and x.ndim > 2 else x
        if last.shape[-1] != self.dim:
            text = f"x must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        grid = tuple(last.shape[:-1])
        return last.reshape(-1, self.dim), kept_rows(mask, grid, x.device), grid

    def _beam(self, size: int | None) -> Beam | None:
        usual = self.beam_size if self.training else self.eval_beam_size
        width = usual if size is None else size
        return None if width is None else Beam(width, weights=self.beam_weights)

    def _quantize(
        self,
        tokens: torch.Tensor,
        depth: int,
        *,
        beam: Beam | None,
        temperature: float | None,
        frozen: bool,
        samples: int | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the sums (N, D), codes (N, Q) and losses (Q,)."""
        if beam is not None and self.implicit_neural_codebook and beam.width > 1:
            text = "a beam over implicit neural codebooks is not supported; see docs/migration.md"
            raise OptionError(text)
        levels = [codebook_of(level) for level in self._levels]
        before = [(level.frozen, level.estimator) for level in levels]
        try:
            for level in levels:
                level.frozen = level.frozen or frozen
                if temperature is not None:
                    level.estimator = self.keywords.estimator(self.codebook_dim, temperature)
            founds = self.residual.descend(tokens, depth, beam=beam)
        finally:
            for level, (was, estimator) in zip(levels, before, strict=True):
                level.frozen, level.estimator = was, estimator
        losses = tokens.new_zeros(self.num_quantizers, dtype=wide_type(tokens))
        residual, total, terms = tokens, None, []
        for part, found in zip(self._levels, founds, strict=False):
            level = part if isinstance(part, VectorQuantize) else None
            if self.training:
                terms.append(self.keywords.loss(level, residual, found, samples=samples))
            elif beam is not None and beam.width > 1:
                terms.append(
                    found.figures["commitment_loss"] * (self.keywords.commitment_weight or 1.0)
                )
            residual = residual - partly_detached(found.vectors, self.quant_grad_frac)
            total = found.vectors if total is None else total + found.vectors
        if terms:
            losses = torch.cat([torch.stack(terms).to(losses.dtype), losses[len(terms) :]])
        if self.training:
            losses = with_gradient(losses)
        codes = founds[0].codes.new_full((tokens.shape[0], self.num_quantizers), PADDING)
        codes[:, :depth] = torch.stack([found.codes for found in founds], dim=1)
        total = cast("torch.Tensor", total)
        if self.diveq and self.training:
            places = torch.arange(total.shape[0], device=total.device)
            total = Reparam().estimate(tokens, total, places, None)
        return total, codes, losses

    def _against(
        self, tokens: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of given codes, and the sum of the levels' cross entropies."""
        if self.implicit_neural_codebook:
            text = "cross entropies of implicit neural codebooks are not supported"
            raise OptionError(text)
        require_range(codes, self.codebook_sizes)
        residual, terms, total = tokens, [], None
        for level, part in enumerate(self._levels):
            book = cast("VectorQuantize", part)
            own = codes[:, level]
            points = unit_rows(residual) if book.metric == "cosine" else residual
            terms.append(cross_entropy(points, book.code_vectors(), own, book.metric))
            vectors = book.decode_tokens(own)
            residual = residual - vectors.detach()
            total = vectors if total is None else total + vectors
        return cast("torch.Tensor", total), torch.stack(terms).sum()

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each level, (q, b, ..., codebook_dim).

        Args:
            indices: (b, ..., q), or a list of (b, ...) for each level, with q at most
                `num_quantizers`; -1, and levels that are left out, have the vector zero.

        Raises:
            ShapeError: more levels than there are.
            CodeRangeError: an index out of range that is not -1.
        """
        indices = of_levels(indices)
        if not indices.ndim or not 0 < indices.shape[-1] <= self.num_quantizers:
            text = (
                f"indices must have 1 to {self.num_quantizers} levels in the last axis, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        missing = self.num_quantizers - indices.shape[-1]
        wide = require_codes(indices, indices.ndim)
        codes = nn.functional.pad(wide, (0, missing), value=PADDING)
        dropped = codes == PADDING
        codes = codes.masked_fill(dropped, 0)
        require_range(codes, self.codebook_sizes)
        grid = tuple(codes.shape[:-1])
        each: list[torch.Tensor] = []
        total: torch.Tensor | None = None
        for level, part in enumerate(self._levels):
            rows = codes[..., level].reshape(-1)
            step = after(part, total)
            vectors = step.decode_tokens(rows)
            total = vectors if total is None else total + vectors
            gone = dropped[..., level].reshape(-1, 1)
            each.append(vectors.masked_fill(gone, 0.0).reshape(*grid, self.codebook_dim))
        return torch.stack(each)

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the sum of the vectors of all levels after `project_out`, (b, ..., dim)."""
        total, *rest = self.get_codes_from_indices(indices)
        for vectors in rest:
            total = total + vectors
        return outward(self.project_out, total)
