"""The entry: canonical codes of a batch.

In: a model and a batch. Out: `CanonicalCodes`. What the rungs do is in `_float64`, `_decide` and
`_refine`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import nn

from certvq._types import Bool, Float, Float64, Int64, UInt8
from certvq.assign._validate import require_ieee754
from certvq.errors import OptionError, ShapeError
from certvq.models import VQVAE
from certvq.network._bounded import along
from certvq.network._capture import capture
from certvq.network._decide import CodeVectors, Decision
from certvq.network._float64 import bounded_latents
from certvq.network._graph import Network
from certvq.network._numbers import flint
from certvq.network._refine import FIRST_PRECISION, refine
from certvq.network._source import Source, source_of

MOST_PRECISION = 2048
"""Bits of a midpoint beyond which a token is left open unless more are asked for. Chosen."""


class Rung(IntEnum):
    """How a token was decided, from fast to slow.

    Attributes:
        FLOAT64: its error bound in float64 is below its stability radius.
        WIDER: reserved for arithmetic between float64 and `EXACT`; not used yet.
        EXACT: by rational numbers, or by balls of up to the stated precision.
        OPEN: not decided; the code is -1.
    """

    FLOAT64 = 0
    WIDER = 1
    EXACT = 2
    OPEN = 3


@dataclass(frozen=True)
class CanonicalCodes:
    """The codes that a network has over the real numbers.

    Attributes:
        codes: (B, *places) int64; -1 where a token is open.
        decided_by: (B, *places) uint8, a `Rung` each.
        margin: (B, *places) float64, a proved lower bound on how far the real latent may move
            before its code changes; 0 at a tie, for an open token, and where nothing more is
            proved.
        open: (B, *places) bool, which tokens were not decided.
    """

    codes: Int64[torch.Tensor, "B *places"]
    decided_by: UInt8[torch.Tensor, "B *places"]
    margin: Float64[torch.Tensor, "B *places"]
    open: Bool[torch.Tensor, "B *places"]

    def counts(self) -> dict[str, int]:
        """Return the number of tokens of each rung, by name."""
        return {rung.name: int((self.decided_by == rung).sum()) for rung in Rung}


def canonical_codes(
    model: nn.Module,
    batch: torch.Tensor,
    *,
    codebook: Float[torch.Tensor, "K D"] | None = None,
    precision: int = MOST_PRECISION,
) -> CanonicalCodes:
    """Return the codes that a network has over the real numbers.

    Parameters and inputs are read as the exact numbers that they are. With z the value of the
    network's formula over the real numbers, ``code = min { i : for all j, |z-c_i| <= |z-c_j| }``.
    It depends on nothing else: not on precision, batch, threads, library or device.

    Args:
        model: a `certvq.models.VQVAE` in eval mode, or with `codebook` an encoder in eval mode: a
            module that maps a tensor to latents of channels at axis 1, ``(B, D, *places)``.
        batch: what the model takes, finite: floats, each an exact number, of any float type; or
            uint8, each of which stands for the rational number ``byte / 255``.
        codebook: (K, D) code vectors; None only for a `VQVAE`, which has its own.
        precision: the most bits of the balls that open tokens are computed with, at least 128.

    Returns:
        Codes, how each was decided, and margins, on the CPU.

    Raises:
        OptionError: a model in train mode, without codebook, or too little precision.
        CaptureError: the model has no graph of operators with rules; the text names what has none.
        NonFiniteError: NaN or infinity in batch, parameters or codebook.
        ShapeError: latents and codebook do not fit together.
        DTypeError: numbers of a type that is not covered.
        BackendUnavailableError: python-flint is not installed.
        FloatEnvironmentError: the processor flushes subnormal numbers.

    Guarantee: every code that is not -1 is the code of the real-valued network
        (``canonical_of_bound_lt_radius``, or balls and rational numbers); docs/canonical.md says
        which real function each operator means, and what is assumed.
    Ties: the lowest index. Exact ties are decided for networks of linear maps, ReLU, leaky ReLU and
        pooling; in others they stay open.
    Cost: a pass in float64, and a bound for each place. Open tokens cost about a second each.

    Example:
        >>> encoder = nn.Conv2d(1, 2, 2, stride=2).eval()
        >>> found = canonical_codes(encoder, torch.rand(1, 1, 4, 4), codebook=torch.eye(2))
        >>> found.codes.shape, found.counts()["OPEN"]
        (torch.Size([1, 2, 2]), 0)
    """
    flint()
    require_ieee754()
    if precision < FIRST_PRECISION:
        text = f"precision must be at least {FIRST_PRECISION} bits, got {precision}"
        raise OptionError(text)
    encoder, vectors = _parts(model, codebook)
    source = source_of(batch)
    network = capture(encoder, batch)
    rows = CodeVectors(_codebook_rows(vectors, network))
    decision, rungs = _decided(network, source, rows, precision)
    return _result(network, decision, rungs)


class _Encoder(nn.Module):
    """A VQ-VAE up to its quantizer, channels at axis 1."""

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.latents(images).movedim(-1, 1)


def _parts(model: Any, codebook: torch.Tensor | None) -> tuple[nn.Module, torch.Tensor]:
    if codebook is not None:
        return model, codebook
    if isinstance(model, VQVAE):
        return _Encoder(model), model.only_codebook("canonical_codes")
    text = (
        f"model must be a certvq.models.VQVAE, or an encoder with codebook=..., got "
        f"{type(model).__name__} without a codebook; give its code vectors, (K, D)"
    )
    raise OptionError(text)


def _codebook_rows(codebook: torch.Tensor, network: Network) -> np.ndarray:
    shape, latents = tuple(codebook.shape), network.output.shape
    if len(latents) < 2:
        text = f"the model must return latents (B, D, ...), got shape {latents}"
        raise ShapeError(text)
    if len(shape) != 2 or shape[1] != latents[1]:
        text = (
            f"codebook must be (K, {latents[1]}) for latents of shape {latents}, whose channels "
            f"are at axis 1, got {shape}"
        )
        raise ShapeError(text)
    return codebook.detach().to("cpu", torch.float64).numpy()


def _decided(
    network: Network, source: Source, rows: CodeVectors, precision: int
) -> tuple[Decision, np.ndarray]:
    """Climb the rungs; return the decision of all tokens, and the rung of each."""
    latents = along(bounded_latents(network, source.bounded()), 1)
    flat = latents.value.movedim(1, -1).reshape(-1, latents.value.shape[1]).numpy()
    first = rows.decide_bounded(flat, latents.error.reshape(-1).numpy())
    rungs = np.where(first.decided, Rung.FLOAT64, Rung.OPEN).astype(np.uint8)
    left = np.flatnonzero(~first.decided)
    if not len(left):
        return first, rungs
    then = refine(network, source, rows, left, precision)
    codes, margin, decided = first.codes.copy(), first.margin.copy(), first.decided.copy()
    codes[left], margin[left], decided[left] = then.codes, then.margin, then.decided
    rungs[left[then.decided]] = Rung.EXACT
    return Decision(codes, margin, decided), rungs


def _result(network: Network, decision: Decision, rungs: np.ndarray) -> CanonicalCodes:
    batch, _, *places = network.output.shape
    shape = (batch, *places)
    arrays = (decision.codes, rungs, decision.margin, ~decision.decided)
    return CanonicalCodes(*(torch.from_numpy(each.reshape(shape)) for each in arrays))
