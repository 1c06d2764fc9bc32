"""Levels one after the other, and slices of features, as the original's classes have them.

In: their keywords; latents or indices of all levels. Out: how many levels are used, the vectors of
each and their sum; what each slice is given. Must not quantize.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked, require
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._tensors import (
    Given,
    Grid,
    grid_of_latents,
    mapped_back,
    of_levels,
    outward,
    projections,
    through,
)
from certvq.errors import CodeRangeError, OptionError, ShapeError
from certvq.nn import PADDING, Found
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.usage import Place
from certvq.nn._levels.grouped_residual import slice_width
from certvq.nn._levels.residual import add_up, descend
from certvq.nn._torch.distributed import Peers, peers_of
from certvq.nn._torch.modes import beneath, holds_numbers, sizes

_SEEDS = 10_000


def draw_seed(device: torch.device, peers: Sequence[Peers] = (), most: int = _SEEDS) -> int:
    """Draw a seed, the same on all of the given processes, from torch's default generator."""
    drawn = torch.randint(0, most, (), device=device)
    for group in peers:
        group.add(drawn)
    return int(drawn)


class Levels(Translated):
    """What residual quantizers have in common.

    Args:
        dim: size of the feature axis.
        inner: features of the levels' vectors.
        codebook_sizes: number of codes of each level.
        dropout: whether train mode uses a random number of the first levels.
        cutoff: place of the last level that is always used.
        multiple_of: numbers of levels are multiples of this, or all.
    """

    fixed = frozenset(
        [
            "has_projections",
            "num_quantizers",
            "quantize_dropout",
            "quantize_dropout_cutoff_index",
            "quantize_dropout_multiple_of",
        ]
    )
    code_axes = ("level",)

    layers: Any

    gaps: ClassVar[bool] = True
    """Whether -1 may stand before other indices."""

    def __init__(
        self,
        dim: int,
        inner: int,
        codebook_sizes: Sequence[int],
        *,
        dropout: bool,
        cutoff: int,
        multiple_of: int,
    ) -> None:
        super().__init__()
        count = len(codebook_sizes)
        if not 0 <= cutoff < count:
            text = f"quantize_dropout_cutoff_index must lie in range({count}), got {cutoff}"
            raise OptionError(text)
        self.dim = dim
        self.codebook_dim = inner
        self.num_quantizers = count
        self.codebook_sizes = tuple(codebook_sizes)
        self.quantize_dropout = dropout and count > 1
        self.quantize_dropout_cutoff_index = cutoff
        self.quantize_dropout_multiple_of = multiple_of
        self.has_projections = dim != inner
        self.project_in, self.project_out = projections(dim, inner)

    @property
    def codebook_size(self) -> int:
        """Number of codes of the first level."""
        return self.codebook_sizes[0]

    def level_vectors(
        self, level: int, places: torch.Tensor, total: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the vectors (N, d) of a level's indices (N,), after levels with a sum (N, d)."""
        raise NotImplementedError

    def levels_last(self, indices: Given) -> torch.Tensor:
        """Return indices with the levels on the last axis, (b, ..., q)."""
        return of_levels(indices)

    def rounded(self, total: torch.Tensor) -> torch.Tensor:
        """Return a sum of vectors in the type of number that the last map is given."""
        return total

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each level as they are added up, (q, b, ..., d).

        Args:
            indices: (b, ..., q) as `forward` returns them, or a list of (b, ...) for each level,
                with q at most `num_quantizers`; levels that are left out, and -1, have the vector
                zero.
        """
        return self.level_codes(self.levels_last(indices))

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the sum of the vectors of all levels after the last map, (b, ..., dim)."""
        return self.decoded(indices)

    def decoded(self, indices: Given) -> torch.Tensor:
        """Add in the order of the levels, so that decoding gives the same bits as `forward`."""
        total, *rest = self.level_codes(self.levels_last(indices))
        for vectors in rest:
            total = total + vectors
        return outward(self.project_out, self.rounded(total))

    def level_codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors of each level for indices (b, ..., q)."""
        count = self.num_quantizers
        if not indices.ndim or not 0 < sizes(indices)[-1] <= count:
            text = (
                f"indices must have 1 to {count} levels in the last axis, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        missing = count - sizes(indices)[-1]
        wide = require_integers(indices)
        codes = nn.functional.pad(wide, (0, missing), value=PADDING)
        dropped = hidden = codes == PADDING
        if not self.gaps:
            later = torch.cat([dropped[..., 1:], torch.ones_like(dropped[..., :1])], dim=-1)
            if holds_numbers(codes) and bool(beneath(dropped & ~later).any()):
                text = (
                    "indices must not follow -1, which says that a level and all after it were "
                    "left out"
                )
                raise CodeRangeError(text)
            hidden = dropped & later  # compilers and exporters find gaps out of range
        codes = require_range(codes.masked_fill(hidden, 0), self.codebook_sizes)
        each: list[torch.Tensor] = []
        total: torch.Tensor | None = None
        for level, (own, gone) in enumerate(zip(codes.unbind(-1), dropped.unbind(-1), strict=True)):
            vectors = self.level_vectors(level, own.reshape(-1), total)
            total = vectors if total is None else total + vectors
            vectors = vectors.masked_fill(gone.reshape(-1, 1), 0.0)
            each.append(vectors.reshape(*own.shape, vectors.shape[-1]))
        return torch.stack(each)

    def descended(
        self,
        x: torch.Tensor,
        rows: torch.Tensor,
        grid: Grid,
        seed: int | None,
        step: Callable[[int, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
        *,
        kind: torch.dtype | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as x, codes (b, ..., q) and losses (q,).

        Args:
            x: latents.
            rows: what the first level is given, (N, d).
            grid: where x has its features.
            seed: of the random depth.
            step: what a level finds for rows (N, d), by its place: vectors, codes (N,), a loss.
            kind: type of number of the vectors; None is that of their sum.
        """
        depth, shape = self.draw_depth(seed, x.device), grid.of(x)
        founds = descend(rows, depth, lambda level, rest, _: Found(*step(level, rest), {}))
        missing = (0, self.num_quantizers - depth)
        codes = torch.stack([found.codes for found in founds], dim=-1)
        codes = nn.functional.pad(codes, missing, value=PADDING)
        losses = nn.functional.pad(torch.stack([found.loss for found in founds]), missing)
        total = self.rounded(add_up(founds))
        out = mapped_back(self.project_out, total, total.dtype if kind is None else kind)
        return grid.restore(out, shape), codes.reshape(*shape, self.num_quantizers), losses

    def draw_depth(
        self, seed: int | None, device: torch.device, *, peers: Sequence[Peers] = ()
    ) -> int:
        """Return how many levels are used, the same number on all of the given processes."""
        require(rand_quantize_dropout_fixed_seed=seed)
        if not (self.training and self.quantize_dropout):
            return self.num_quantizers
        chosen = draw_seed(device, peers) if seed is None else seed
        cutoff, multiple = self.quantize_dropout_cutoff_index, self.quantize_dropout_multiple_of
        last = random.Random(chosen).randrange(cutoff, self.num_quantizers)  # noqa: S311 (no secret)
        return min(self.num_quantizers, -(-(last + 1) // multiple) * multiple)


class ScalarLevels(Levels):
    """Levels that work in float32 at least, and are all used where there is no gradient.

    Their vectors have the type of number of the first level.
    """

    gaps = False

    @property
    def level_kind(self) -> torch.dtype:
        return self.layers[0].quantizer.kind

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        return super().get_codes_from_indices(indices).to(self.level_kind)

    def rounded(self, total: torch.Tensor) -> torch.Tensor:
        narrow = self.level_kind.itemsize < torch.float32.itemsize
        return total.to(self.level_kind) if narrow else total

    def draw_depth(
        self, seed: int | None, device: torch.device, *, peers: Sequence[Peers] = ()
    ) -> int:
        require(rand_quantize_dropout_fixed_seed=seed)
        if not torch.is_grad_enabled():
            return self.num_quantizers
        return super().draw_depth(seed, device, peers=peers)

    def inward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the first level is given for latents (N, dim)."""
        rows = through(self.project_in, tokens)
        return rows.to(torch.promote_types(rows.dtype, torch.float32))


class Groups(Translated):
    """Slices of the features, each with a quantizer of its own.

    Args:
        dim: size of the feature axis, a multiple of `groups`.
        groups: how many slices.
        accept_image_fmap: whether features are on axis 1.
        kwargs: of every group's quantizer.
    """

    fixed = frozenset(["accept_image_fmap"])
    learns = True

    part: ClassVar[Any]
    """The class of the quantizers."""

    @checked(codebook_size=SIZES)
    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **kwargs: Any
    ) -> None:
        super().__init__()
        self.dim = dim
        self.accept_image_fmap = accept_image_fmap
        width, options = slice_width(dim, groups), self.options_of(kwargs)
        self.rvqs = nn.ModuleList(self.part(dim=width, **options) for _ in range(groups))
        self.groups = groups
        self.codebook_size = self.parts[0].codebook_size

    def options_of(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the keywords of the parts, or a named error."""
        return kwargs

    @property
    def codebooks(self) -> torch.Tensor:
        """Code vectors of all groups and levels, (g, q, codebook_size, d)."""
        return torch.stack([part.codebooks for part in self.parts])

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self.accept_image_fmap else -1

    @property
    def parts(self) -> list[Any]:
        """The quantizer of each group."""
        return list(self.rvqs)

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each group and level, (g, q, b, ..., d).

        Args:
            indices: (g, b, ..., q), or a list of (g, b, ...) for each level or (b, ..., q) for each
                group.
        """
        pairs = zip(self.parts, self.each_group(indices), strict=True)
        return torch.stack([part.get_codes_from_indices(own) for part, own in pairs])

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of all groups side by side, along `split_dim`; see above."""
        pairs = zip(self.parts, self.each_group(indices), strict=True)
        whole = torch.cat([part.decoded(own) for part, own in pairs], dim=-1)
        return whole.movedim(whole.ndim - 1, self.split_dim)

    def each_group(self, indices: Given) -> tuple[Given, ...]:
        """Return the indices of each group; a list holds one tensor for each level or group."""
        if isinstance(indices, list | tuple):
            levels = self.parts[0].num_quantizers
            shapes = [tuple(getattr(each, "shape", ())) for each in indices]
            grouped = len(shapes) == self.groups and all(
                (levels,) in (s[-1:], s[1:2]) for s in shapes
            )
            if grouped and len(shapes) == levels and all(s[:1] == (self.groups,) for s in shapes):
                text = (
                    f"a list of indices of shapes {shapes} may hold those of levels or of groups; "
                    "give one tensor (g, b, ..., q)"
                )
                raise ShapeError(text)
            if grouped:
                return tuple(indices)
        whole = of_levels(indices)
        if not whole.ndim or len(whole) != self.groups:
            text = f"indices must be of {self.groups} groups, got shape {tuple(whole.shape)}"
            raise ShapeError(text)
        if isinstance(indices, torch.Tensor):
            return tuple(indices)
        return tuple([level[group] for level in indices] for group in range(self.groups))

    def quantize(
        self, x: torch.Tensor, each: Sequence[dict[str, Any]] = (), **given: Any
    ) -> tuple[Any, ...]:
        """Quantize each slice, all with one depth.

        Vectors stand side by side, and what else the parts return is stacked; the vectors of all
        levels, ``return_all_codes``, are a tuple.

        Args:
            x: latents.
            each: indices of each part, whose cross entropies are then added up.
            given: arguments of all.
        """
        grid_of_latents(x, first=False)
        if x.shape[self.split_dim] != self.dim:
            text = (
                f"latents must have dim={self.dim} features at axis {self.split_dim}, got shape "
                f"{tuple(x.shape)}"
            )
            raise ShapeError(text)
        pieces = x.chunk(self.groups, dim=self.split_dim)

        def step() -> tuple[Any, ...]:
            peers = () if given.get("freeze_codebook") else peers_of(self)
            seed = draw_seed(x.device, peers) if self.training else None
            triples = zip(self.parts, pieces, each or [{}] * self.groups, strict=True)
            results = [
                part(piece, rand_quantize_dropout_fixed_seed=seed, **given, **own)
                for part, piece, own in triples
            ]
            vectors, *rest = zip(*results, strict=True)
            whole = torch.cat(vectors, dim=self.split_dim)
            if each:
                return whole, torch.stack(rest[0]).sum()
            stacked = len(rest) - bool(given.get("return_all_codes"))
            return whole, *map(torch.stack, rest[:stacked]), *rest[stacked:]

        return self._whole(x, step)

    def _places(self, codes: torch.Tensor) -> dict[str, Place]:
        return {
            f"group{group}/{name}": place
            for group, part in enumerate(self.parts)
            for name, place in part._places(codes[group]).items()  # noqa: SLF001 (its own kind)
        }
