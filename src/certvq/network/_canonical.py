"""The entry: canonical codes of a batch.

In: a model and batches. Out: `CanonicalCodes`. What the rungs do is in `_float64`, `_decide` and
`_refine`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import nn

from certvq._types import Bool, Float, Float64, Int64, UInt8
from certvq.assign._validate import require_ieee754
from certvq.errors import OptionError
from certvq.network._bounded import Bounded
from certvq.network._codecs import coder_of
from certvq.network._decide import Decision
from certvq.network._float64 import bounded_latents
from certvq.network._graph import Network
from certvq.network._levels import Levels
from certvq.network._numbers import flint
from certvq.network._pieces import Piece, boxes_around
from certvq.network._refine import FIRST_PRECISION, refine
from certvq.network._reused import Ready, Reused
from certvq.network._source import Source, source_of
from certvq.network._threads import each_alone
from certvq.network._wide import NoWideFormError
from certvq.network._wider import decide_latents, decide_near_ties

MOST_PRECISION = 2048
"""Bits of a midpoint beyond which a token is left open unless more are asked for. Chosen."""


_ENOUGH = 64
"""Tokens of a batch of which float64 decided none, so that the next one is not worth it. Chosen."""

Codebooks = Float[torch.Tensor, "K D"] | Sequence[Float[torch.Tensor, "K D"]]


class Rung(IntEnum):
    """How a token was decided, from fast to slow.

    Attributes:
        FLOAT64: its error bound in float64 is below its stability radius.
        WIDER: likewise in pairs of float64 numbers.
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

    Places are those of the latents; a model of several levels has one more axis for them, the last.

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
        """Return the number of codes of each rung, by name."""
        return {rung.name: int((self.decided_by == rung).sum()) for rung in Rung}


def canonical_codes(
    model: nn.Module,
    batch: torch.Tensor,
    *,
    codebook: Codebooks | None = None,
    levels: int | None = None,
    precision: int = MOST_PRECISION,
) -> CanonicalCodes:
    """Return the codes that a network has over the real numbers.

    Parameters and inputs are read as the exact numbers that they are. With z the value of the
    network's formula over the real numbers, ``code = min { i : for all j, |z-c_i| <= |z-c_j| }``; a
    next level has ``z - c_i`` for z. DAC projects z at each level and compares directions. Codes
    depend on nothing else: not on precision, batch, threads, library or device.

    Args:
        model: in eval mode: a `certvq.models.VQVAE`; VQModel of diffusers; ChameleonVQVAE,
            JanusVQVAE, DacModel, EncodecModel or MimiModel of transformers; or with `codebook` an
            encoder, a module that maps a tensor to latents of channels at axis 1,
            ``(B, D, *places)``.
        batch: what the model takes, finite: floats, each an exact number, of any float type; or
            uint8, each of which stands for the rational number ``byte / 255``.
        codebook: (K, D) code vectors, or a list of these, one for each level of a residual
            quantizer; None for a model that has its own.
        levels: how many levels of a residual quantizer count, from the first; None for all.
        precision: the most bits of the balls that open tokens are computed with, at least 128.

    Returns:
        Codes, how each was decided, and margins, on the CPU.

    Raises:
        OptionError: a model in train mode, without codebook, with fewer levels than asked for, or
            too little precision.
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
        float64, and a bound for each place. Where tokens are open, another pass in pairs, of what
        they depend on; those left over cost about a second each.

    Example:
        >>> encoder = nn.Conv2d(1, 2, 2, stride=2).eval()
        >>> found = canonical_codes(encoder, torch.rand(1, 1, 4, 4), codebook=torch.eye(2))
        >>> found.codes.shape, found.counts()["OPEN"]
        (torch.Size([1, 2, 2]), 0)
    """
    return CanonicalEncoder(model, codebook=codebook, levels=levels)(batch, precision=precision)


class CanonicalEncoder:
    """A model whose batches get canonical codes, captured once for each shape of batch.

    Each call gives what `canonical_codes` gives. The last 8 shapes are kept. Parameters and buffers
    are compared with those of the last call, and the model is captured anew if any has changed;
    what else a module computes with, such as an epsilon or a stride, must stay as it is.

    Args:
        model: see `canonical_codes`.
        codebook: see `canonical_codes`; copied.
        levels: see `canonical_codes`.

    Raises:
        OptionError: a model without a codebook.

    Example:
        >>> encoder = nn.Conv2d(1, 2, 2, stride=2).eval()
        >>> encode = CanonicalEncoder(encoder, codebook=torch.eye(2))
        >>> [encode(torch.rand(1, 1, 4, 4)).counts()["OPEN"] for _ in range(3)]
        [0, 0, 0]
    """

    def __init__(
        self, model: nn.Module, *, codebook: Codebooks | None = None, levels: int | None = None
    ) -> None:
        flint()
        self._coder = coder_of(model, codebook)

        def used(network: Network) -> Levels:
            found = self._coder.levels(network.output.shape)
            return found if levels is None else found.first(levels)

        self._reused = Reused(self._coder.encoder, used)

    def __call__(self, batch: torch.Tensor, *, precision: int = MOST_PRECISION) -> CanonicalCodes:
        """Return the canonical codes of a batch.

        Args:
            batch: see `canonical_codes`.
            precision: the most bits of the balls that open tokens are computed with.

        Returns:
            Codes, how each was decided, and margins, on the CPU.

        Raises:
            OptionError: a model in train mode, fewer levels than asked for, or too little
                precision.
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
        return _result(ready.network, decision, rungs, single=self._coder.single)


def _decided(ready: Ready, source: Source, precision: int) -> tuple[Decision, np.ndarray]:
    """Climb the rungs; return the decision of all levels of all tokens, and the rung of each."""
    found = _Found(ready)
    if ready.narrow or not ready.wide:
        _try_float64(ready, source, found)
        ready.narrow = len(found.decided) < _ENOUGH or bool(found.decided.any())
    if ready.wide and len(found.left()):
        _try_wide(ready, source, found)
    tokens = found.left()
    if len(tokens):
        then = refine(ready.network, source, ready.levels, tokens, precision)
        found.take(Rung.EXACT, tokens, then)
    return Decision(found.codes, found.margin, found.decided), found.rungs


def _try_float64(ready: Ready, source: Source, found: "_Found") -> None:
    """Decide in float64, a strip for each thread."""

    def decided(piece: Piece) -> Decision:
        return decide_latents(ready.levels, _latents(piece, source))

    strips = ready.strips(torch.get_num_threads())
    for piece, then in zip(strips, each_alone(decided, strips), strict=True):
        found.take(Rung.FLOAT64, piece.tokens, then)


def _try_wide(ready: Ready, source: Source, found: "_Found") -> None:
    """Decide in pairs, or remember that an operator has no form in these.

    Only the receptive fields of open tokens are computed, which make boxes.
    """
    try:
        for piece in boxes_around(ready.network, ready.wide_constants, found.left()):
            latents = _latents(piece, source, pairs=True)
            found.take(Rung.WIDER, piece.tokens, decide_latents(ready.levels, latents))
            left = np.flatnonzero(~found.decided[piece.tokens].all(axis=1))
            if len(left):
                then = decide_near_ties(ready.levels, latents, left)
                found.take(Rung.WIDER, piece.tokens[left], then)
    except NoWideFormError:
        ready.wide = False


def _latents(piece: Piece, source: Source, *, pairs: bool = False) -> Bounded:
    given = source.part(piece.source).bounded(pairs=pairs)
    return bounded_latents(piece.network, given, constants=piece.constants)


class _Found:
    """What the rungs have decided so far; arrays are (N, levels)."""

    def __init__(self, ready: Ready) -> None:
        batch, _, *places = ready.network.output.shape
        shape = (math.prod((batch, *places)), ready.levels.count)
        self.codes, self.margin = np.full(shape, -1, np.int64), np.zeros(shape)
        self.decided, self.rungs = np.zeros(shape, bool), np.full(shape, Rung.OPEN, np.uint8)

    def left(self) -> np.ndarray:
        """Return the numbers of tokens of which a level is open."""
        return np.flatnonzero(~self.decided.all(axis=1))

    def take(self, rung: Rung, tokens: np.ndarray, then: Decision) -> None:
        """Take what a rung decided of tokens, where it was open."""
        new = np.zeros(self.decided.shape, bool)
        new[tokens] = then.decided & ~self.decided[tokens]
        chosen = new[tokens]
        self.codes[new], self.margin[new] = then.codes[chosen], then.margin[chosen]
        self.decided[new], self.rungs[new] = True, rung


def _result(
    network: Network, decision: Decision, rungs: np.ndarray, *, single: bool
) -> CanonicalCodes:
    batch, _, *places = network.output.shape
    shape = (batch, *places) if single else (batch, *places, decision.codes.shape[1])
    arrays = (decision.codes, rungs, decision.margin, ~decision.decided)
    return CanonicalCodes(*(torch.from_numpy(each.reshape(shape)) for each in arrays))
