"""Add up what one quantizer of a model did, batch by batch, by exact arithmetic.

In: what was compared, and the codes. Out: `LayerAudit`, one for each codebook. Must not run a
model, nor know whose it is.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from certvq.assign import audit, prepare, rank, stability_radius
from certvq.assign._arrays import to_host
from certvq.errors import NonFiniteError
from certvq.inspect._argmin.explain import LEAST_LENGTH
from certvq.inspect._audit.report import LayerAudit
from certvq.inspect._libraries.adapter import Comparison
from certvq.spec._rounded import to_float


class _Place(NamedTuple):
    """A codebook of a layer: the place of its search, its head, and how many codes are chosen."""

    ordinal: int
    head: int
    candidates: int


class LayerTally:
    """Adds up the codebooks of one layer, which are known when it first runs.

    Args:
        name: of the layer.
        kind: its class.
        perturbation: how far each latent may move; None for the rounding of each.

    Attributes:
        otherwise: names of methods that returned codes without a search that could be audited.
    """

    def __init__(self, name: str, kind: str, perturbation: float | None) -> None:
        self.name, self.kind, self.perturbation = name, kind, perturbation
        self.otherwise: list[str] = []
        self._tallies: dict[_Place, _Tally] = {}

    def observe(
        self, ordinal: int, comparison: Comparison, codes: torch.Tensor, held: torch.dtype
    ) -> None:
        """Audit what was compared, codebook by codebook.

        Args:
            ordinal: which of the searches of a call this is.
            comparison: what was compared.
            codes: (H, N), or (H, N, count).
            held: type of the latents as the layer received them.

        Raises:
            NonFiniteError: NaN or infinity; names the layer, row and column.
        """
        columns = codes if codes.ndim == 3 else codes.unsqueeze(2)
        candidates = columns.shape[2]
        parts = zip(comparison.latents, comparison.codebook, columns, strict=True)
        for head, (latents, codebook, chosen) in enumerate(parts):
            place = _Place(ordinal, 0 if comparison.own else head, candidates)
            tally = self._tallies.setdefault(place, _Tally(candidates))
            try:
                if not (tally.tokens or comparison.own):
                    tally.look_at(codebook.detach(), unit=comparison.unit)
                tally.add(latents.detach(), codebook.detach(), chosen, self._reach(latents, held))
            except NonFiniteError as error:
                token = f", token {head}" if comparison.own else ""
                text = f"layer {self.name!r}{token}: {error}"
                raise NonFiniteError(text) from None

    def _reach(self, latents: torch.Tensor, held: torch.dtype) -> np.ndarray | float:
        """Return the perturbation, or that of each row (N,)."""
        if self.perturbation is not None:
            return self.perturbation
        norms = latents.detach().double().norm(dim=1).cpu().numpy()
        return norms * (torch.finfo(held).eps / 2)

    def audits(self) -> list[LayerAudit]:
        """Return one audit for each codebook, or an empty one if the layer never ran."""
        tallies = list(self._tallies.values()) or [_Tally(1)]
        single = len(tallies) == 1
        names = [self.name] if single else [f"{self.name}[{i}]" for i in range(len(tallies))]
        return [tally.audit(each, self.kind) for each, tally in zip(names, tallies, strict=True)]


class _Tally:
    """Adds up the batches of one codebook, of which each latent gets some codes."""

    def __init__(self, candidates: int) -> None:
        self.candidates = candidates
        self.tokens = self.wrong = self.ties = self.unstable = 0
        self.largest = Fraction(0)
        self.shape = (0, 0)
        self.equal = self.zero = 0

    def look_at(self, codebook: torch.Tensor, *, unit: bool) -> None:
        """Count code vectors (K, D) that equal earlier ones, and unit ones too short for that."""
        self.equal = len(codebook) - len(prepare(codebook).lowest)
        self.zero = int((codebook.norm(dim=1) < LEAST_LENGTH).sum()) if unit else 0

    def add(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        reach: np.ndarray | float,
    ) -> None:
        """Audit a batch: (N, D), (K, D), (N, candidates), and how far each latent may be moved."""
        first = codes[:, 0]
        report = audit(latents, codebook, first)
        found = report.violations
        right = first.detach().cpu().numpy().copy()
        right[found.rows] = found.nearest
        self.largest = max(self.largest, found.largest())
        wrong, ties = set(found.rows[~found.ties].tolist()), set(found.rows[found.ties].tolist())
        if self.candidates > 1:
            self._add_candidates(latents, codebook, codes, wrong, ties)
        radius = to_host(stability_radius(latents, codebook, right))
        self.tokens += report.rows
        self.wrong += len(wrong)
        self.ties += len(ties - wrong)
        self.unstable += int((radius < reach).sum())
        self.shape = (int(codebook.shape[0]), int(codebook.shape[1]))

    def _add_candidates(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        wrong: set[int],
        ties: set[int],
    ) -> None:
        """Require that no code which is left out is nearer than one that is chosen.

        Where the sets differ, each chosen code that is not among the nearest is compared, exactly,
        with the nearest one that is left out.
        """
        nearest = to_host(rank(latents, codebook, self.candidates).codes)
        for row, (chosen, best) in enumerate(zip(codes.tolist(), nearest.tolist(), strict=True)):
            left_out = [code for code in best if code not in chosen]
            extra = sorted(set(chosen) - set(best))
            if not left_out:
                continue
            pair = codebook[[left_out[0], *extra]]
            among = latents[row : row + 1].expand(len(extra), -1)
            for violation in audit(among, pair, range(1, len(pair))).violations:
                if violation.is_tie:
                    ties.add(row)
                else:
                    wrong.add(row)
                    self.largest = max(self.largest, violation.excess)

    def audit(self, name: str, kind: str) -> LayerAudit:
        """Return what was counted."""
        size, dim = self.shape
        return LayerAudit(
            name=name,
            kind=kind,
            tokens=self.tokens,
            codebook_size=size,
            dim=dim,
            wrong=self.wrong,
            ties_broken_otherwise=self.ties,
            largest_excess=to_float(self.largest),
            unstable=self.unstable,
            candidates=self.candidates,
            equal_vectors=self.equal,
            zero_vectors=self.zero,
        )
