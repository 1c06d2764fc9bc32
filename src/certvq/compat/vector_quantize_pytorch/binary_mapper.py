"""The original's `BinaryMapper`.

In: logits with any leading axes. Out: one-hot vectors and the auxiliary loss. Must not draw from
anything but torch's default generator, as the original.
"""

import torch
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._checks import checked, require
from certvq.compat.vector_quantize_pytorch._functions import NAT, binary_entropy
from certvq.compat.vector_quantize_pytorch._module import Translated, keep_codes
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import wide_type
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import require_dense, require_finite_latents, require_floats
from certvq.nn._scalar.binary_mapper import (
    BinaryMapper as Mapper,
)
from certvq.nn._scalar.binary_mapper import (
    bits_to_codes,
    code_log_probability,
    codes_to_bits,
    fair_coin_divergence,
    one_hot,
)
from certvq.nn._torch.coins import coins

__getattr__ = names_of(__name__)


class BinaryMapper(Translated):
    """Map logits of bits to one-hot vectors; see `certvq.nn.BinaryMapper`.

    Args:
        bits: number of logits.
        kl_loss_threshold: divergence from fair coins that costs nothing, in nats.
        deterministic_on_eval: whether eval mode takes the likelier bits rather than draw.

    Guarantee: deterministic codes are the nearest corners, as of `certvq.nn.BinaryMapper`; drawn
    ones are those of the original with the same state of torch's default generator.

    References:
        Fleuret, "The Free Transformer", 2025, arXiv 2510.17558.
    """

    @checked()
    def __init__(
        self,
        bits: int = 1,
        kl_loss_threshold: float = NAT,
        deterministic_on_eval: bool = False,
    ) -> None:
        super().__init__()
        self.quantizer = Mapper(bits, free_nats=kl_loss_threshold)
        self.bits = bits
        self.num_codes = 1 << bits
        self.kl_loss_threshold = kl_loss_threshold
        self.deterministic_on_eval = deterministic_on_eval

    @property
    def codes(self) -> torch.Tensor:
        """The bits of every code, bool (2^bits, bits)."""
        device = self.quantizer.home
        return codes_to_bits(torch.arange(self.num_codes, device=device), self.bits)

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return self.num_codes

    def binary_entropy(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the entropy of the bits, (...), in nats."""
        return binary_entropy(logits)

    def calc_aux_loss(
        self,
        logits: torch.Tensor,
        reduce_aux_kl_loss: bool = True,
    ) -> torch.Tensor:
        """Return the divergence from fair coins beyond the threshold: its mean, or (...)."""
        loss = functional.relu(fair_coin_divergence(logits) - self.kl_loss_threshold)
        return loss.sum() / max(1, loss.numel()) if reduce_aux_kl_loss else loss

    def log_prob(
        self,
        logits: torch.Tensor,
        *,
        indices: torch.Tensor | None = None,
        one_hot: torch.Tensor | None = None,
        sum_bits: bool = True,
    ) -> torch.Tensor:
        """Return the log-probability of codes, given as numbers or as one-hot vectors."""
        if (indices is None) == (one_hot is None):
            text = "log_prob needs either indices or one_hot, got " + (
                "neither" if indices is None else "both"
            )
            raise OptionError(text)
        if one_hot is not None:
            indices = one_hot.argmax(dim=-1)
        assert indices is not None
        codes = require_range(require_integers(indices), self.num_codes)
        wanted = tuple(logits.shape[:-1])
        if tuple(codes.shape) != wanted:
            text = (
                f"log_prob needs one code for each of the logits {wanted}, got {tuple(codes.shape)}"
            )
            raise ShapeError(text)
        each = code_log_probability(logits, codes)
        return each.sum(dim=-1) if sum_bits else each

    def forward(
        self,
        logits: torch.Tensor,
        temperature: float = 1.0,
        straight_through: bool | None = None,
        calc_aux_loss: bool | None = None,
        deterministic: bool | None = None,
        return_indices: bool = False,
        reduce_aux_kl_loss: bool = True,
    ) -> tuple[torch.Tensor, ...]:
        """Return one-hot vectors (..., 2^bits), the codes (...) if wanted, and the loss."""
        require_dense(logits, "logits")
        require_floats(logits)
        if logits.shape[-1:] != (self.bits,):
            shape = tuple(logits.shape)
            text = f"logits must have {self.bits} entries in the last axis, got shape {shape}"
            raise ShapeError(text)
        require(temperature=temperature)
        rows = require_finite_latents(logits.reshape(-1, self.bits))
        if deterministic is None:
            deterministic = self.deterministic_on_eval and not self.training
        if deterministic:
            ones = rows > 0.0
        else:
            ones = coins((rows.detach() / temperature).sigmoid()).bool()
        codes = bits_to_codes(ones)
        through = self.training if straight_through is None else straight_through
        kind = torch.promote_types(logits.dtype, torch.float32) if through else torch.float32
        vectors = one_hot(rows if through else rows.detach(), codes, kind)
        wanted = self.training if calc_aux_loss is None else calc_aux_loss
        loss = (
            self.calc_aux_loss(logits, reduce_aux_kl_loss)
            if wanted
            else rows.new_zeros((), dtype=wide_type(rows))
        )
        vectors = vectors.reshape(*logits.shape[:-1], self.num_codes)
        keep_codes(self, (), codes)  # which may be no part of the result
        if return_indices:
            return vectors, codes.reshape(logits.shape[:-1]), loss
        return vectors, loss
