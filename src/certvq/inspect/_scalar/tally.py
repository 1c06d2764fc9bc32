"""Add up what one scalar quantizer of a model did, batch by batch.

In: latents, the indices that the layer returned, and its exact grid. Out: `LayerAudit`. Must not
run a model, nor know whose it is.
"""

import math

import torch

from certvq.errors import NonFiniteError
from certvq.inspect._audit.report import LayerAudit
from certvq.inspect._scalar.grid import Grid


class ScalarTally:
    """Adds up the indices of one layer.

    Args:
        name: of the layer.
        kind: its class.
        perturbation: how far each latent may move; None for the rounding of each.

    Attributes:
        otherwise: empty; every index can be audited.
    """

    def __init__(self, name: str, kind: str, perturbation: float | None) -> None:
        self.name, self.kind, self.perturbation = name, kind, perturbation
        self.otherwise: list[str] = []
        self._tokens = self._wrong = self._ties = self._unstable = 0
        self._largest = 0.0
        self._size = self._dim = 0

    def observe(self, latents: torch.Tensor, codes: torch.Tensor, grid: Grid) -> None:
        """Audit indices.

        Args:
            latents: (N, D) as the layer received them, finite.
            codes: integers (N,) of any type, in range or not.
            grid: of the layer.
        """
        digits, given = grid.digits(latents), codes.detach().long()
        right = grid.join(digits)
        bad = given != right
        inside = bad & (given >= 0) & (given < grid.shape[0])
        ties = torch.zeros_like(bad)
        if inside.any():
            limits, exact = (each.to(latents.device) for each in (grid.limits, grid.exact))
            below, above = _cells(latents[inside], grid.split(given[inside]), limits)
            gap = torch.maximum(below, above).clamp(min=0).square().sum(1)
            at_border = (latents[inside].double()[:, :, None] == limits) & exact
            ties[inside] = (gap == 0) & at_border.any(2).any(1)
            self._largest = max(self._largest, float(gap.max()))
        if bool((bad & ~inside).any()):
            self._largest = math.inf
        self._tokens, (self._size, self._dim) = self._tokens + len(given), grid.shape
        self._ties += int(ties.sum())
        self._wrong += int((bad & ~ties).sum())
        self._unstable += int((grid.distances(latents) <= self._reach(latents)).sum())

    def _reach(self, latents: torch.Tensor) -> torch.Tensor | float:
        if self.perturbation is not None:
            return self.perturbation
        norms = latents.detach().double().norm(dim=1)
        return norms * (torch.finfo(latents.dtype).eps / 2)

    def audits(self) -> list[LayerAudit]:
        """Return the audit of the layer, an empty one if it never ran."""
        return [
            LayerAudit(
                name=self.name,
                kind=self.kind,
                tokens=self._tokens,
                codebook_size=self._size,
                dim=self._dim,
                wrong=self._wrong,
                ties_broken_otherwise=self._ties,
                largest_excess=self._largest,
                unstable=self._unstable,
            )
        ]


def _cells(
    latents: torch.Tensor, places: torch.Tensor, limits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by how much latents (N, D) lie below and above the cells of levels (N, D)."""
    infinite = limits.new_full((len(limits), 1), math.inf)
    ends = torch.cat([-infinite, limits, infinite], dim=1).T
    low, high = ends.gather(0, places), ends.gather(0, places + 1)
    wide = latents.detach().double()
    return low - wide, wide - high


def require_finite(latents: torch.Tensor, name: str) -> None:
    """Require finite latents (N, D).

    Raises:
        NonFiniteError: naming the layer, the first bad row and column.
    """
    bad = (~torch.isfinite(latents)).nonzero()
    if len(bad):
        row, column = (int(each) for each in bad[0])
        text = (
            f"layer {name!r}: latents must be finite, got {float(latents[row, column])} at row "
            f"{row}, column {column} ({len(bad)} bad entries in all); find where they arise before "
            "quantizing"
        )
        raise NonFiniteError(text)
