"""How close the tokens of a run sit to the border of their cells, in figures.

In: a `Run`. Out: a `Stability`, or None where the run holds no radii. Must not draw.
"""

from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array
from certvq.runs._read import Run

_NEAR, _NEARISH = 0.01, 0.05
_TOP_PERCENTILE = 98.0


@dataclass(frozen=True)
class Stability:
    """Proved radii relative to `unit`, which `reference` names.

    Attributes:
        unit: what 100 % is, in the units of the latents.
        reference: the same in words.
        shares: of the tokens with a relative radius below 1 % and below 5 %.
        median: of the relative radii; infinite where there is only one code.
        top: the relative radius at which the scale of the maps ends; 0 where there is no scale.
    """

    unit: float
    reference: str
    shares: tuple[float, float]
    median: float
    top: float


def near_border(radius: Float64Array, unit: float) -> tuple[float, float]:
    """Return the shares of radii below 1 % and below 5 % of `unit`."""
    return float((radius < _NEAR * unit).mean()), float((radius < _NEARISH * unit).mean())


def stability(run: Run) -> Stability | None:
    """Summarise the proved radii of all held-out tokens of a run."""
    known = [photo.radius.ravel() for photo in run.photos if photo.radius is not None]
    radius = np.concatenate(known) if known else np.zeros(0)
    if not radius.size:
        return None
    unit, reference = _unit(run)
    finite = radius[np.isfinite(radius)] / unit
    return Stability(
        unit=unit,
        reference=reference,
        shares=near_border(radius, unit),
        median=float(np.median(radius) / unit),
        top=float(np.percentile(finite, _TOP_PERCENTILE)) if finite.size else 0.0,
    )


def _unit(run: Run) -> tuple[float, str]:
    if run.latent_norm:
        return run.latent_norm, "the root mean square of the latents' norms"
    squares = np.square(run.codebook).sum(axis=1)
    norm = float(np.sqrt((run.counts @ squares) / max(1, run.counts.sum())))
    if norm:
        return norm, "the root mean square of the norms of the code vectors chosen"
    return 1.0, "the unit of the latents (they are all zero)"
