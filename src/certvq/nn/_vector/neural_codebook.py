"""A codebook that a small network adapts to what earlier levels have found for a token.

In: tokens, and the sum of the vectors of the levels before. Out: codes of the code vectors that are
nearest after the network. Used as a level of `Residual`. Must not know of the other levels.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from certvq import bounds
from certvq.assign import assign
from certvq.errors import ExportError, NonFiniteError, OptionError
from certvq.nn._codebook.gradient import Gradient
from certvq.nn._core.latents import largest_of, require_finite_latents
from certvq.nn._core.losses import mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._estimators.estimator import StraightThrough
from certvq.nn._torch import random as _random
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import beside, full_precision, recorded, transforming, widened
from certvq.nn._vector.vector_quantize import VectorQuantize

_STRAIGHT = StraightThrough()
_OPTIONS = {
    "commitment_weight",
    "start",
    "revive",
    "estimator",
    "generator",
    "layout",
    "process_group",
}
_BLOCK = 2**22
"""Numbers of transformed code vectors that are held at a time."""


@checked
@dataclass(frozen=True)
class Neural:
    """Adapt the codebooks of all levels but the first to each token's partial sum.

    Attributes:
        depth: residual blocks of each level's network, >= 0.
        hidden: their width; None is that of the tokens.
        skip: whether the network adds to the code vector; then it starts as the identity.

    Raises:
        OptionError: `depth` or `hidden` out of range.

    References:
        Huijben, Douze, Muckley, van Sloun, Verbeek, "Residual Quantization with Implicit Neural
        Codebooks" (QINCo), 2024, section 3.
    """

    depth: int = 4
    hidden: int | None = None
    skip: bool = True

    def __post_init__(self) -> None:
        if self.depth < 0:
            text = f"Neural depth must be at least 0, got {self.depth}"
            raise OptionError(text)
        if self.hidden is not None and self.hidden < 1:
            text = f"Neural hidden must be at least 1, got {self.hidden}"
            raise OptionError(text)


class Transform(nn.Module):
    """The network: ``x = [c +] W [s; c] + b``, then ``x <- x + MLP(x)`` a few times.

    Args:
        dim: D.
        options: depth, width and skip.
        generator: source of the numbers that the parameters start with.
    """

    def __init__(self, dim: int, options: Neural, generator: torch.Generator | None) -> None:
        super().__init__()
        hidden = options.hidden or dim
        self.skip = options.skip
        self.proj_in = _linear(2 * dim, dim, generator, zero=self.skip)
        self.layers = nn.ModuleList(
            nn.Sequential(
                _linear(dim, hidden, generator, zero=False),
                nn.SiLU(),
                _linear(hidden, dim, generator, zero=self.skip),
            )
            for _ in range(options.depth)
        )

    def forward(self, vectors: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        """Adapt code vectors.

        Args:
            vectors: (..., D) code vectors.
            sums: (..., D) sums of the vectors of earlier levels; both broadcast.

        Returns:
            (..., D), computed in the parameters' type of number, under autocast too.
        """
        dim = vectors.shape[-1]
        with full_precision(vectors.device):
            weight = self.proj_in.weight
            sums = sums.to(weight.dtype)
            x = functional.linear(sums, weight[:, :dim], self.proj_in.bias) + functional.linear(
                vectors, weight[:, dim:]
            )
            if self.skip:
                x = x + vectors
            for block in self.layers:
                x = x + block(x)
        return x


def _linear(
    inputs: int, outputs: int, generator: torch.Generator | None, *, zero: bool
) -> nn.Linear:
    """Make a linear map of zeros, or of uniform numbers as torch would draw them."""
    layer = nn.Linear(inputs, outputs, device="meta")
    _random.start(layer, 0.0 if zero else 1.0 / math.sqrt(inputs), generator)
    return layer


@checked
class NeuralCodebook(Quantizer):
    """Quantize by code vectors that depend on the sum of earlier levels' vectors.

    Mathematics: for a token r and the sum s of the levels before, the code vectors are ``f(c_i,
    s)`` with a network f; ``loss = mse(sg[r], f(c_i, s)) + commitment_weight mse(r, sg[f(c_i,
    s)])``. The codebook before f is that of a `VectorQuantize` that learns by gradient.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, >= 1.
        neural: the network.
        options: of `VectorQuantize`: `update`, which has to be `Gradient`, `commitment_weight`,
            `start`, `revive`, `estimator`, `generator`, `layout`, `process_group`.

    Attributes:
        base: the codebook before the network, and how it starts and revives.
        transform: the network.
        learns: whether train mode lets `base` start and revive codes; not where it is the codebook
            of an earlier level as well, which does so.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the code is the nearest one over the real numbers among the K vectors ``f(c_i, s)``
        as the search computes them: float64 distances with a bound, then `certvq.assign` for rows
        that float64 leaves open. The vector that is returned is computed again for the chosen codes
        alone, and may differ from the search's by the rounding of matrix products. It equals
        `decode` of as many codes bit for bit, where the device computes equal products equally.
    Ties: the lowest index.
    Cost: time and memory of f for N K vectors, of which 4 million numbers are held at a time.

    Example:
        >>> level = NeuralCodebook(2, 8, neural=Neural(depth=1)).eval()
        >>> found = level.after(torch.zeros(5, 2)).quantize_tokens(torch.randn(5, 2))
        >>> found.codes.shape
        torch.Size([5])
    """

    def __init__(self, dim: int, codebook_size: int, *, neural: Neural, **options: Any) -> None:
        update = options.pop("update", Gradient())
        if not isinstance(update, Gradient):
            text = f"neural codebooks learn by Gradient, not by {update}"
            raise OptionError(text)
        extra = options.keys() - _OPTIONS
        if extra:
            text = f"neural codebooks take the options {sorted(_OPTIONS)}, not {sorted(extra)}"
            raise OptionError(text)
        super().__init__(dim, layout=options.pop("layout", "b n d"))
        self.update = update
        self.base = VectorQuantize(dim, codebook_size, update=update, **options)
        self.learns = True
        self.transform = Transform(dim, neural, options.get("generator"))

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.base.codebook_size

    def after(self, sums: torch.Tensor) -> "_Given":
        """Return this level for tokens whose earlier levels' vectors have the given sums (N, D)."""
        return _Given(self, sums)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize as the first level would, with sums of zero; see `Quantizer`."""
        return self.after(self._no_sums(tokens.shape[0])).quantize_tokens(tokens)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode with sums of zero; see `Quantizer`."""
        return self.after(self._no_sums(tokens.shape[0])).encode_tokens(tokens)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode with sums of zero; see `Quantizer`."""
        return self.after(self._no_sums(codes.shape[0])).decode_tokens(codes)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse what would destroy the codebook; see `Quantizer`."""
        each = self.transform.named_parameters()
        bad = [name for name, numbers in each if not math.isfinite(largest_of([numbers]))]
        if bad:
            text = f"parameters of the network must be finite, but those of {bad[0]} are not"
            return NonFiniteError(text)
        return self.base.token_error(tokens)

    def _no_sums(self, count: int) -> torch.Tensor:
        return self.base.codebook.new_zeros(count, self.dim)


@dataclass(frozen=True)
class _Given:
    """A level with the sums that its codebooks depend on."""

    level: NeuralCodebook
    sums: torch.Tensor

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        base, latents = self.level.base, tokens.detach()
        if base.training and self.level.learns:
            base.learn_tokens(latents)
        codes = self.encode_tokens(latents)
        if base.training:
            base.observe_now(latents, codes)
        learning = self.decode_tokens(codes)
        value = learning.detach()
        estimator = base.estimator if self.level.training else _STRAIGHT
        places = torch.arange(len(value), device=value.device)
        vectors = estimator.estimate(tokens, value, places, base.generator)
        commitment = mean_square(tokens, value)
        codebook = self.level.update.weight * mean_square(latents, learning)
        loss = codebook + base.commitment_weight * commitment
        figure = commitment.detach()
        return Found(vectors, codes, loss, {"codebook_loss": figure, "commitment_loss": figure})

    @torch.no_grad()
    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = require_finite_latents(tokens)
        book = self.level.base.codebook[None]
        rows = max(1, _BLOCK // book.numel())
        found = [
            nearest_of_own(piece, self.level.transform(book, sums[:, None]))
            for piece, sums in zip(tokens.split(rows), self.sums.split(rows), strict=True)
        ]
        return torch.cat(found)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        vectors = functional.embedding(codes, self.level.base.codebook)
        transformed: torch.Tensor = self.level.transform(vectors, self.sums)
        return transformed


def nearest_of_own(tokens: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Find for each token the nearest of its own code vectors.

    Args:
        tokens: (N, D) finite.
        vectors: (N, K, D).

    Returns:
        int64 (N,).

    Raises:
        NonFiniteError: NaN or infinity among the vectors.

    Guarantee: nearest over the real numbers: a code is left out only if a lower bound of its
        squared distance exceeds an upper bound of another's (``refine_sound``); rows with several
        codes left are decided by `certvq.assign`.
    Ties: the lowest index.

    Example:
        >>> tokens, vectors = torch.zeros(1, 2), torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])
        >>> nearest_of_own(tokens, vectors)
        tensor([0])
    """
    if recorded():
        text = (
            "a search among code vectors of each token's own has no operator in graphs, got a "
            "neural level; export decode, and encode by the layer itself"
        )
        raise ExportError(text)
    if transforming():
        return apart(lambda *given: (nearest_of_own(*given),), [tokens, vectors], [])[0]
    if not bool(vectors.isfinite().all()):
        row, code, column = torch.nonzero(~vectors.isfinite())[0].tolist()
        text = (
            "code vectors must be finite after the network, got "
            f"{float(vectors[row, code, column])} for row {row}, code {code}, column {column}; its "
            "parameters are too large"
        )
        raise NonFiniteError(text)
    dim = tokens.shape[1]
    home, tokens, vectors = tokens.device, beside(tokens), beside(vectors)
    sqdist = (widened(tokens)[:, None] - widened(vectors)).square().sum(dim=2)
    least = sqdist.amin(dim=1, keepdim=True)
    near = ~(sqdist > bounds.farther_factor(dim) * least + bounds.farther_slack(dim))
    codes = near.byte().argmax(dim=1)
    for row in torch.nonzero(near.sum(dim=1) > 1).flatten().tolist():
        rivals = torch.nonzero(near[row]).flatten()
        codes[row] = rivals[assign(tokens[row : row + 1], vectors[row, rivals]).codes[0]]
    return codes.to(home)
