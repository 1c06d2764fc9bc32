"""Lookup-free quantization: the sign of every feature is a bit.

In: latents. Out: corners of a cube, or of a cube within the unit sphere, and their bits as one
exact integer. There is no codebook in memory. Must not know of images or models.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import require_range
from certvq.nn._core.latents import LayoutName, check_batch, require_finite_latents
from certvq.nn._core.losses import mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._estimators.exchange import exchange
from certvq.nn._scalar.bit_entropy import Entropy, batch_entropy, sample_entropy
from certvq.nn._scalar.entropy_loss import entropy_loss, fits
from certvq.nn._torch.distributed import Peers
from certvq.nn._torch.modes import (
    backward_alone,
    exporting,
    holds_numbers,
    transforming,
    unwatched,
    wants_derivative,
)

_MOST_DIM = 63
"""Bits of a code that is not negative as an int64."""

_SAFE = 2.0**40
"""Up to here the sums of squares of 2^40 numbers are finite in float32."""

_ENTROPY = Entropy()


@checked
class LFQ(Quantizer):
    """Replace each feature by plus or minus a constant, after its sign.

    Mathematics: ``quantized_d = s`` where ``z_d > 0`` and ``-s`` elsewhere, with ``s = scale``, or
    ``s = scale / sqrt(D)`` with `spherical`; ``code = sum_d 2^(D - d) [z_d > 0]`` for d from 1, so
    that the first feature is the most significant bit. The gradient of `quantized` goes to the
    latents as they enter the losses: ``u = z``, or ``c tanh(z / c)`` with ``soft_clamp = c``, and
    with `spherical` scaled to the norm `scale`. In train mode
    ``loss = entropy loss (see Entropy) + commitment_weight * mse(u, sg[quantized])``; in eval mode
    the entropy is left out.

    Args:
        dim: D, number of features and bits, 1 to 63.
        scale: > 0.
        spherical: binary spherical quantization (BSQ).
        soft_clamp: c, at least `scale`; None for no clamp.
        entropy: `Entropy`, or None for none; with more than 20 bits it needs `group_bits`.
        commitment_weight: finite, >= 0.
        layout: names of the axes of latents, one of `LayoutName`.

    Attributes:
        scale: as given.
        spherical: as given.
        soft_clamp: as given.
        entropy: as given.
        commitment_weight: as given.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the code is nearest to the latent over the real numbers, among all 2^D corners of
    the cube of any half-edge (``sign_isNearestCode``, with the features from last to first). Soft
    clamp and normalisation are made of functions that keep signs, so the same code is nearest to u
    in real arithmetic, whatever its rounding. ``quantized == decode(codes)`` bit for bit, in train
    and eval mode.
    Ties: the lowest index. A feature that is 0 (or -0) is as near to either corner; its bit is 0.
    Cost: ``N D``, besides `Entropy`; no memory that grows with the number of codes.

    Example:
        >>> layer = LFQ(3, spherical=True).eval()
        >>> quantized, codes, loss = layer(torch.tensor([[[0.2, -1.0, 0.7], [0.0, 0.0, 4.0]]]))
        >>> codes
        tensor([[5, 1]])
        >>> layer.bits(codes)
        tensor([[[1, 0, 1],
                 [0, 0, 1]]])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", 2023,
        section 3.1; Zhao, Xiong, Krähenbühl, "Image and Video Tokenization with Binary Spherical
        Quantization", 2024.
    """

    def __init__(
        self,
        dim: int,
        *,
        scale: float = 1.0,
        spherical: bool = False,
        soft_clamp: float | None = None,
        entropy: Entropy | None = _ENTROPY,
        commitment_weight: float = 0.0,
        layout: LayoutName = "b n d",
    ) -> None:
        super().__init__(dim, layout=layout)
        _require_options(dim, scale, soft_clamp, commitment_weight)
        if entropy is not None:
            entropy.require_bits(dim)
        self.scale = scale
        self.spherical = spherical
        self.soft_clamp = soft_clamp
        self.entropy = entropy
        self.commitment_weight = commitment_weight

    @property
    def codebook_size(self) -> int:
        """K, 2 to the power D."""
        return 2**self.dim

    @property
    def peers(self) -> Peers:
        """The processes over whose batches the entropy is taken; see `Entropy`."""
        group = False if self.entropy is None else self.entropy.process_group
        return Peers(group, type(self).__name__)

    @property
    def communicates(self) -> bool:
        """Whether a forward pass of it, as things are, talks to other processes."""
        return self.training and self.peers.together()

    @property
    def corner(self) -> float:
        """Half the edge of the cube, s."""
        return self.scale / math.sqrt(self.dim) if self.spherical else self.scale

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Take signs; see `Quantizer`."""
        fixed = tokens.detach()
        positive = (fixed if self.training else require_finite_latents(fixed)) > 0
        vectors = self._vectors(positive)
        latents = self.latents(tokens)
        commitment = mean_square(latents if self.commitment_weight else latents.detach(), vectors)
        loss = self.commitment_weight * commitment
        figures = {"commitment_loss": commitment.detach()}
        if self.training and self.entropy is not None:
            term, *entropies = self._entropy_loss(latents, self.entropy)
            loss = loss + term if self.commitment_weight else term
            figures["sample_entropy"], figures["batch_entropy"] = entropies
        if wants_derivative(tokens):
            vectors = exchange(latents, vectors)
        return Found(vectors, _join_bits(positive), loss, figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the signs as codes; see `Quantizer`."""
        return _join_bits(require_finite_latents(tokens) > 0)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Return corners of the cube; see `Quantizer`."""
        return self._vectors(self._bits(codes) > 0)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse latents whose losses could overflow; see `Quantizer`."""
        wide = torch.promote_types(tokens.dtype, torch.float32)
        return check_batch(tokens, tokens.new_zeros((1, 1), dtype=wide), wide)

    @property
    def steady(self) -> bool:
        """True; see `Quantizer`."""
        return True

    def reach(self, largest: float) -> float:
        """Return `scale`, where the losses are far from overflow; see `Quantizer`."""
        return self.scale if largest <= _SAFE else math.inf

    def latents(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the latents as they enter the losses, clamped and normalised; differentiable.

        Args:
            tokens: (..., D), any float type.

        Returns:
            The same shape, float32 or float64.
        """
        wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        if self.soft_clamp is not None:
            wide = torch.tanh(wide / self.soft_clamp) * self.soft_clamp
        if self.spherical and not self.training:  # train mode refuses what overflows here
            wide = wide / wide.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
        return functional.normalize(wide, dim=-1) * self.scale if self.spherical else wide

    def entropies(
        self, latents: torch.Tensor, entropy: Entropy
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the entropy of each latent, on average, and that of the batch, in nats.

        Args:
            latents: (N, D), as `latents` gives them.
            entropy: temperature and groups.
        """
        logits = latents * self._sharpness(entropy)
        batch = batch_entropy(logits, group_bits=entropy.group_bits, peers=self.peers)
        return sample_entropy(logits), batch

    def _sharpness(self, entropy: Entropy) -> float:
        """Return what makes logits of bits of latents."""
        return 4.0 * entropy.inverse_temperature * self.corner

    def _entropy_loss(
        self, latents: torch.Tensor, entropy: Entropy
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss of latents (N, D), and both entropies without gradients."""
        whole = entropy.group_bits is None or entropy.group_bits >= self.dim
        if whole and fits(latents) and backward_alone() and not self.peers.together():
            return entropy_loss(
                latents, self._sharpness(entropy), entropy.weight, entropy.diversity
            )
        sample, batch = self.entropies(latents, entropy)
        loss = entropy.weight * (sample - entropy.diversity * batch)
        return loss, sample.detach(), batch.detach()

    def bits(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the bits of codes, that of the first feature first.

        Args:
            codes: int64 (...), each in ``range(K)``.

        Returns:
            int64 (..., D), 0 or 1.

        Raises:
            CodeRangeError: a code outside ``range(K)``.
        """
        return self._bits(require_range(codes, self.codebook_size))

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, scale={self.scale}, spherical={self.spherical}, "
            f"soft_clamp={self.soft_clamp}, entropy={self.entropy}, "
            f"commitment_weight={self.commitment_weight}, layout={self._layout.name!r}"
        )

    def _bits(self, codes: torch.Tensor) -> torch.Tensor:
        places = torch.arange(self.dim - 1, -1, -1, device=codes.device)
        if exporting():  # ONNX shifts no signed integers
            return codes.unsqueeze(-1) // (1 << places) % 2
        return codes.unsqueeze(-1) >> places & 1

    def _vectors(self, positive: torch.Tensor) -> torch.Tensor:
        low = torch.full_like(positive, -self.corner, dtype=self.kind)
        return low.masked_fill_(positive, self.corner)


def _join_bits(positive: torch.Tensor) -> torch.Tensor:
    """Read rows of signs (N, D) as binary numbers, the first feature as the highest bit."""
    if unwatched(positive) and positive.is_cpu:
        places = torch.from_numpy(1 << np.arange(positive.shape[1])[::-1].copy())
        return positive.long() @ places
    rows = positive.T.contiguous()
    # torch 2.6 has no view of another type under `torch.func.vmap`.
    rows = rows.to(torch.int8) if transforming() or exporting() else rows.view(torch.int8)
    codes = rows[-1].long()
    for place, row in enumerate(reversed(rows[:-1].unbind()), start=1):
        if not holds_numbers(row):  # torch 2.6 compiles `alpha` in the type of `row`
            codes = codes + row.to(torch.int64) * (1 << place)
        else:
            codes.add_(row, alpha=1 << place)
    return codes


def _require_options(
    dim: int, scale: float, soft_clamp: float | None, commitment_weight: float
) -> None:
    if dim > _MOST_DIM:
        text = (
            f"dim must be at most {_MOST_DIM}, as codes are int64, got {dim}; quantize slices of "
            "the features separately"
        )
        raise OptionError(text)
    if not 0.0 < scale < math.inf:
        text = f"scale must be finite and above 0, got {scale}"
        raise OptionError(text)
    if soft_clamp is not None and not scale <= soft_clamp < math.inf:
        text = f"soft_clamp must be finite and at least scale={scale}, got {soft_clamp}"
        raise OptionError(text)
    if not 0.0 <= commitment_weight < math.inf:
        text = f"commitment_weight must be finite and at least 0, got {commitment_weight}"
        raise OptionError(text)
