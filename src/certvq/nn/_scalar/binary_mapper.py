"""Bits drawn from logits, as one-hot vectors with the gradient of their probabilities.

In: logits of any layout, one for each bit. Out: one-hot vectors of 2^bits entries, their indices
and the divergence from fair coins. Must not search: the codes are signs, or draws.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import applied, followed, sizes, transforming, widest

_MOST_BITS = 30
"""A vector of more entries than 2^30 does not fit into the memory of most machines."""

_BLOCK = 2**19
"""Probabilities of codes that the backward pass holds at once."""


@checked
class BinaryMapper(Quantizer):
    """Turn logits of bits into one of 2^bits one-hot vectors.

    Mathematics: in train mode bit h is 1 with probability ``sigmoid(l_h / temperature)``,
    independently; in eval mode it is 1 where ``l_h > 0``. The code is ``sum_h b_h 2^h``, and
    `quantized` its one-hot vector. Backwards stands for it ``G``, the probability of each code:
    ``G_y = prod_h sigmoid(l_h)^(y_h) sigmoid(-l_h)^(1 - y_h)``. The loss lets each latent have
    `free_nats` of information without cost: ``mean max(0, KL - free_nats)`` with
    ``KL = sum_h (log 2 - entropy of bit h)``.

    Args:
        bits: D, number of logits of a token, from 1 to 30.
        free_nats: finite and >= 0; the default is one bit.
        temperature: of the draws, finite and > 0.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the draws; None is torch's default generator. Its state is part of the
            state dict.

    Raises:
        OptionError: an option out of its range.

    Guarantee: in eval mode the signs of the code (1 for bit 1, -1 for bit 0) are the corner of the
    hypercube that is nearest to the logits, over the real numbers (``sign_isNearestCode``). In
    train mode the code is a draw. ``quantized == decode(codes)`` bit for bit, in both modes; its
    feature axis has 2^bits entries. The gradient is exactly that of ``G``, up to rounding.
    Ties: a logit of 0 gives bit 0, so the lowest index.
    Cost: O(N 2^bits) time and memory.

    Example:
        >>> layer = BinaryMapper(2).eval()
        >>> quantized, codes, loss = layer(torch.tensor([[[3.0, -1.0], [-2.0, 0.5]]]))
        >>> codes, quantized[0, 0]
        (tensor([[1, 2]]), tensor([0., 1., 0., 0.]))

    References:
        Fleuret, "The Free Transformer", 2025, arXiv 2510.17558, equations 7 and 8;
        Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016
        (free bits).
    """

    def __init__(
        self,
        bits: int,
        *,
        free_nats: float = math.log(2.0),
        temperature: float = 1.0,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        if not 1 <= bits <= _MOST_BITS:
            text = f"bits must lie in 1 to {_MOST_BITS}, got {bits}; vectors have 2^bits entries"
            raise OptionError(text)
        if not 0.0 <= free_nats < math.inf:
            text = f"free_nats must be finite and at least 0, got {free_nats}"
            raise OptionError(text)
        if not 0.0 < temperature < math.inf:
            text = f"temperature must be finite and above 0, got {temperature}"
            raise OptionError(text)
        super().__init__(bits, layout=layout)
        self.free_nats = free_nats
        self.temperature = temperature
        self.draw_from(generator)

    @property
    def codebook_size(self) -> int:
        """2^bits."""
        return 1 << self.dim

    @property
    def width(self) -> int:
        """2^bits, entries of a one-hot vector."""
        return 1 << self.dim

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Draw bits in train mode, take the likelier ones in eval mode; see `Quantizer`."""
        if self.training:
            ones = draw_bits(tokens, self.temperature, self.generator)
        else:
            ones = require_finite_latents(tokens.detach()) > 0.0
        codes = bits_to_codes(ones)
        vectors = one_hot(tokens, codes, self.kind)
        divergence = fair_coin_divergence(tokens)
        loss = functional.relu(divergence - self.free_nats).sum() / max(1, tokens.shape[0])
        information = divergence.detach().sum() / max(1, tokens.shape[0])
        return Found(vectors, codes, loss, {"free_nats_loss": loss.detach(), "nats": information})

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of the signs; see `Quantizer`."""
        return bits_to_codes(require_finite_latents(tokens.detach()) > 0.0)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Return one-hot vectors (N, 2^bits); see `Quantizer`."""
        return _unit_vectors(codes, self.codebook_size, self.kind)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Look for NaN and infinity; see `Quantizer`."""
        return finite_error(tokens)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"bits={self.dim}, free_nats={self.free_nats}, temperature={self.temperature}, "
            f"layout={self._layout.name!r}"
        )


def draw_bits(
    logits: torch.Tensor, temperature: float, generator: torch.Generator | None
) -> torch.Tensor:
    """Draw each bit with probability ``sigmoid(l / temperature)``.

    Args:
        logits: (N, H).
        temperature: > 0.
        generator: source of the draws.

    Returns:
        bool (N, H).
    """
    chance = torch.sigmoid(logits.detach().to(widest(logits.device)) / temperature)
    level = _random.uniform(logits.numel(), generator, logits.device)
    return level.reshape(logits.shape) < chance


def bits_to_codes(ones: torch.Tensor) -> torch.Tensor:
    """Read bits as numbers, the first bit being worth 1.

    Args:
        ones: bool (..., H), H at most 63.

    Returns:
        int64 (...).

    Example:
        >>> bits_to_codes(torch.tensor([[True, False, True]]))
        tensor([5])
    """
    worth = torch.tensor([1 << place for place in range(sizes(ones)[-1])], device=ones.device)
    return (ones * worth).sum(dim=-1)


def codes_to_bits(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Undo `bits_to_codes`: bool (..., bits)."""
    places = torch.arange(bits, device=codes.device)
    return (codes[..., None] >> places) % 2 == 1


def fair_coin_divergence(logits: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the bits from fair coins, in nats.

    Mathematics: ``sum_h (log 2 - H(sigmoid(l_h)))`` with the entropy written as
    ``H = log(1 + exp(-|l|)) + |l| sigmoid(-|l|)``, which neither overflows nor cancels.

    Args:
        logits: (..., H).

    Returns:
        (...), in float32 or wider.

    Example:
        >>> fair_coin_divergence(torch.tensor([[0.0, 0.0], [1e4, -1e4]]))
        tensor([0.0000, 1.3863])
    """
    size = logits.to(torch.promote_types(logits.dtype, torch.float32)).abs()
    entropy = functional.softplus(-size) + size * torch.sigmoid(-size)
    return (math.log(2.0) - entropy).sum(dim=-1)


def code_log_probability(logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each bit of codes, (..., H), in float32 or wider.

    Args:
        logits: (..., H).
        codes: int64 (...), in ``range(2^H)``.

    Example:
        >>> code_log_probability(torch.tensor([0.0, 0.0]), torch.tensor(3)).exp()
        tensor([0.5000, 0.5000])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    signs = torch.where(codes_to_bits(codes, logits.shape[-1]), wide, -wide)
    return functional.logsigmoid(signs)


def _unit_vectors(codes: torch.Tensor, size: int, kind: torch.dtype) -> torch.Tensor:
    vectors = codes.new_zeros(codes.shape[0], size, dtype=kind)
    places = codes[:, None]
    if transforming():  # `torch.func.vmap` has no rule for the other one
        return vectors.scatter(1, places, 1.0)
    return vectors.scatter_(1, places, 1.0)


def one_hot(logits: torch.Tensor, codes: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Return one-hot vectors of codes that backwards are the probabilities of all codes.

    Args:
        logits: (N, H).
        codes: int64 (N,), in ``range(2^H)``.
        kind: type of number of the result.

    Returns:
        (N, 2^H), exactly 0 and 1.
    """
    result: torch.Tensor = applied(_OneHot, _OneHotBothWays, logits, codes, kind)
    return result


class _OneHot(torch.autograd.Function):
    @staticmethod
    def forward(logits: torch.Tensor, codes: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
        size = 1 << logits.shape[1]
        return _unit_vectors(codes, size, kind)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.dtype], output: torch.Tensor
    ) -> None:
        del output
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Multiply by the derivative of G, ``dG_y / dl_h = G_y (y_h - sigmoid(l_h))``."""
        (logits,) = ctx.saved_tensors
        rows = max(1, _BLOCK >> logits.shape[1])
        if followed() or len(logits) <= rows:
            return _pull_back(logits, cotangents[0]), None, None
        parts = zip(logits.split(rows), cotangents[0].split(rows), strict=True)
        return torch.cat([_pull_back(*part) for part in parts]), None, None


def _pull_back(logits: torch.Tensor, cotangents: torch.Tensor) -> torch.Tensor:
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weighted = probabilities(wide) * cotangents.to(wide.dtype)
    size = weighted.shape[1]
    bits = codes_to_bits(torch.arange(size, device=wide.device), wide.shape[1])
    inside = weighted @ bits.to(wide.dtype)
    gradient = inside - weighted.sum(dim=1, keepdim=True) * torch.sigmoid(wide)
    return gradient.to(logits.dtype)


class _OneHotBothWays(_OneHot):
    """With the derivative of forward mode, which compilers refuse."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.dtype], output: torch.Tensor
    ) -> None:
        ctx.kind = output.dtype
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        """Multiply the derivative of G by the tangents of the logits."""
        (logits,) = ctx.saved_tensors
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        moved = tangents[0].to(wide.dtype)
        size = 1 << wide.shape[1]
        bits = codes_to_bits(torch.arange(size, device=wide.device), wide.shape[1])
        inside = moved @ bits.T.to(wide.dtype)
        slope = inside - (moved * torch.sigmoid(wide)).sum(dim=1, keepdim=True)
        return (probabilities(wide) * slope).to(ctx.kind)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability of every code, (N, 2^H), built bit by bit.

    Args:
        logits: (N, H), float32 or wider.

    Example:
        >>> probabilities(torch.tensor([[0.0, torch.inf]]))
        tensor([[0.0000, 0.0000, 0.5000, 0.5000]])
    """
    whole = logits.new_ones(len(logits), 1)
    for logit in logits.unbind(1):
        pair = torch.sigmoid(torch.stack([-logit, logit], dim=1))
        whole = (pair[:, :, None] * whole[:, None, :]).flatten(1)
    return whole
