"""Held-out photographs over the real numbers, and what rounded runs make of them.

In: a model and photographs. Out: margins of canonical codes, and how many codes of rounded runs are
others. Must not write files.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from certvq._types import Float64Array, Progress, no_progress
from certvq.assign import assign, prepare
from certvq.data import Photograph
from certvq.errors import BackendUnavailableError
from certvq.models import VQVAE
from certvq.network import CanonicalEncoder
from certvq.runs import CanonicalFigures, RoundedRun
from certvq.tokens._network import inference


@dataclass(frozen=True)
class CanonicalRun:
    """Canonical codes of photographs.

    Attributes:
        figures: for the summary.
        margins: float64 (rows, columns) by key.
    """

    figures: CanonicalFigures
    margins: dict[str, Float64Array]


def canonical_run(
    model: VQVAE, photographs: Sequence[Photograph], *, progress: Progress = no_progress
) -> CanonicalRun | None:
    """Find canonical codes, and compare the codes of rounded runs with them.

    Args:
        model: with one codebook, on the CPU.
        photographs: of its channels; each byte stands for ``byte / 255``.
        progress: called after each photograph.

    Returns:
        Margins and figures; None where python-flint is not installed.
    """
    try:
        encoder = CanonicalEncoder(model.eval())
    except BackendUnavailableError:
        return None
    wide, codebook = copy.deepcopy(model).double(), prepare(model.only_codebook("the demo"))
    decided: dict[str, int] = {}
    margins: dict[str, Float64Array] = {}
    other: dict[str, int] = {}
    moved: dict[str, list[Float64Array]] = {}
    for photograph in photographs:
        pixels = torch.tensor(photograph.pixels).permute(2, 0, 1)[None]
        found = encoder(pixels)
        margins[photograph.key] = found.margin[0].numpy()
        for rung, count in found.counts().items():
            decided[rung.lower()] = decided.get(rung.lower(), 0) + count
        runs = _rounded(model, wide, pixels)
        for name, latents in runs.items():
            differ = assign(latents, codebook).codes != found.codes.flatten()
            other[name] = other.get(name, 0) + int(differ.sum())
            step = (latents.double() - runs["float64"]).norm(dim=1)
            moved.setdefault(name, []).append(step.numpy())
        progress("canonical", len(margins), len(photographs))
    medians = {name: float(np.median(np.concatenate(each))) for name, each in moved.items()}
    least = float(min(each.min() for each in margins.values()))
    figures = {name: RoundedRun(other[name], medians[name]) for name in other}
    return CanonicalRun(CanonicalFigures(decided, least, figures), margins)


def _rounded(model: VQVAE, wide: VQVAE, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the latents (N, D) of one photograph in several runs."""
    images = pixels.float() / 255
    batch = torch.cat([images, images.flip(3), images.flip(2), 1 - images])
    with inference(model), inference(wide):
        found = {
            "float32": model.latents(images),
            "float32, first of a batch of 4": model.latents(batch),
            "float64": wide.latents(pixels.double() / 255),
        }
        with torch.autocast("cpu", torch.bfloat16):
            found["bfloat16"] = model.latents(images)
    return {name: each[0].reshape(-1, each.shape[-1]).clone() for name, each in found.items()}
