"""The entry: canonical codes of a batch.

In: a model and batches. Out: `CanonicalCodes`. What the rungs do is in `_float64`, `_decide` and
`_refine`.
"""

from collections.abc import Callable
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
from certvq.network._decide import CodeVectors, Decision
from certvq.network._float64 import bounded_latents
from certvq.network._graph import Network
from certvq.network._numbers import flint
from certvq.network._refine import FIRST_PRECISION, refine
from certvq.network._reused import Ready, Reused
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
    Cost: a capture of the model (`CanonicalEncoder` captures once for many batches), a pass in
        float64, and a bound for each place. Open tokens cost about a second each.

    Example:
        >>> encoder = nn.Conv2d(1, 2, 2, stride=2).eval()
        >>> found = canonical_codes(encoder, torch.rand(1, 1, 4, 4), codebook=torch.eye(2))
        >>> found.codes.shape, found.counts()["OPEN"]
        (torch.Size([1, 2, 2]), 0)
    """
    return CanonicalEncoder(model, codebook=codebook)(batch, precision=precision)


class CanonicalEncoder:
    """A model whose batches get canonical codes, captured once for each shape of batch.

    Each call gives what `canonical_codes` gives. The last 8 shapes are kept. Parameters and buffers
    are compared with those of the last call, and the model is captured anew if any has changed;
    what else a module computes with, such as an epsilon or a stride, must stay as it is.

    Args:
        model: see `canonical_codes`.
        codebook: see `canonical_codes`; copied.

    Raises:
        OptionError: a model without a codebook.

    Example:
        >>> encoder = nn.Conv2d(1, 2, 2, stride=2).eval()
        >>> encode = CanonicalEncoder(encoder, codebook=torch.eye(2))
        >>> [encode(torch.rand(1, 1, 4, 4)).counts()["OPEN"] for _ in range(3)]
        [0, 0, 0]
    """

    def __init__(
        self, model: nn.Module, *, codebook: Float[torch.Tensor, "K D"] | None = None
    ) -> None:
        flint()
        encoder, vectors = _parts(model, codebook)
        self._reused = Reused(
            encoder, lambda network: CodeVectors(_codebook_rows(vectors(), network))
        )

    def __call__(self, batch: torch.Tensor, *, precision: int = MOST_PRECISION) -> CanonicalCodes:
        """Return the canonical codes of a batch.

        Args:
            batch: see `canonical_codes`.
            precision: the most bits of the balls that open tokens are computed with.

        Returns:
            Codes, how each was decided, and margins, on the CPU.

        Raises:
            OptionError: a model in train mode, or too little precision.
            CaptureError: the model has no graph of operators with rules.
            NonFiniteError: NaN or infinity in batch, parameters or codebook.
            ShapeError: latents and codebook do not fit together.
            DTypeError: numbers of a type that is not covered.
            FloatEnvironmentError: the processor flushes subnormal numbers.
        """
        require_ieee754()
        if precision < FIRST_PRECISION:
            text = f"precision must be at least {FIRST_PRECISION} bits, got {precision}"
            raise OptionError(text)
        source = source_of(batch)
        ready = self._reused.ready(batch)
        decision, rungs = _decided(ready, source, precision)
        return _result(ready.network, decision, rungs)


class _Encoder(nn.Module):
    """A VQ-VAE up to its quantizer, channels at axis 1; in the mode of the VQ-VAE."""

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.latents(images).movedim(-1, 1)


def _parts(
    model: Any, codebook: torch.Tensor | None
) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """Return the encoder, and a function that returns its code vectors as they are now."""
    if codebook is not None:
        kept = codebook.detach().clone()
        return model, lambda: kept
    if isinstance(model, VQVAE):
        model.only_codebook("canonical_codes")  # refuses models of several
        return _Encoder(model), lambda: model.only_codebook("canonical_codes")
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


def _decided(ready: Ready, source: Source, precision: int) -> tuple[Decision, np.ndarray]:
    """Climb the rungs; return the decision of all tokens, and the rung of each."""
    network, rows = ready.network, ready.codebook
    latents = bounded_latents(network, source.bounded(), constants=ready.constants)
    latents = along(latents, 1)
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
