"""The original's `BinaryMapper`.

In: logits with any leading axes. Out: one-hot vectors and the auxiliary loss. Must not draw from
anything but torch's default generator, as the original.
"""

from typing import Any

import torch
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._checks import checked, require
from certvq.compat.vector_quantize_pytorch._functions import NAT, binary_entropy
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._tensors import wide_type
from certvq.errors import OptionError, ShapeError, TransformError
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.dense import require_dense
from certvq.nn._core.finite import require_finite_latents
from certvq.nn._core.layout import require_floats
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
from certvq.nn._torch.modes import is_batched, transforming

__all__ = ["NAT", "BinaryMapper", "binary_entropy"]

__getattr__ = absent(__name__)


class BinaryMapper(Translated):
    """Map logits of bits to one-hot vectors; see `certvq.nn.BinaryMapper`.

    Args:
        bits: number of logits.
        kl_loss_threshold: divergence from fair coins that costs nothing, in nats.
        deterministic_on_eval: whether eval mode takes the likelier bits rather than draw.

    Raises:
        OptionError: an option out of its range.

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
        """Return the log-probability of codes, given as numbers or as one-hot vectors.

        Raises:
            OptionError: neither or both are given.
            DTypeError, CodeRangeError: indices that are not integers, or out of range.
            ShapeError: indices or one-hot vectors that do not go with the logits.
        """
        if (indices is None) == (one_hot is None):
            text = "log_prob needs either indices or one_hot, got " + (
                "neither" if indices is None else "both"
            )
            raise OptionError(text)
        if one_hot is not None:
            indices = one_hot.argmax(dim=-1)
        assert indices is not None
        codes = require_range(require_codes(indices, indices.ndim), self.num_codes)
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
        """Return one-hot vectors (..., 2^bits), the codes (...) if wanted, and the loss.

        Raises:
            ShapeError: another number of logits.
            NonFiniteError: NaN or infinity.
            TransformError: bits are drawn under `torch.func.vmap` without `randomness`.
        """
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
        if return_indices:
            return vectors, codes.reshape(logits.shape[:-1]), loss
        return vectors, loss


def coins(probabilities: torch.Tensor) -> torch.Tensor:
    """Draw one coin for each probability, by `torch.bernoulli`.

    Under `torch.func.vmap` with ``randomness="same"``, for which torch has no rule, each sample
    gets the coins that it gets alone from the same state of the generator.

    Args:
        probabilities: any shape and float type; no derivative goes through.

    Returns:
        0 and 1, of their shape and type.

    Raises:
        TransformError: `vmap` without `randomness`.

    Example:
        >>> torch.func.vmap(coins, randomness="same")(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    if transforming() and is_batched(probabilities):
        drawn: torch.Tensor = _Coins.apply(probabilities.detach())
        return drawn
    return probabilities.bernoulli()


class _Coins(torch.autograd.Function):
    @staticmethod
    def forward(probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities.bernoulli()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        del inputs
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        """Say that there is none; torch asks for this method."""
        del ctx, cotangents
        return None

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> Any:
        """Say that there is none."""
        del ctx, tangents
        return None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """Draw for all samples at once, or for each from the same state."""
        (probabilities,), (dim,) = given, in_dims
        if info.randomness == "error":
            text = (
                "drawing bits under torch.func.vmap needs to know whether all samples have the "
                'same random numbers, got randomness="error"; give vmap randomness="same" or '
                '"different", or draw none with deterministic=True'
            )
            raise TransformError(text)
        assert dim is not None
        if info.randomness == "different":
            return coins(probabilities.movedim(dim, 0)), 0
        source = _source(probabilities.device)
        state = source.get_state()
        drawn = []
        for sample in probabilities.unbind(dim):
            source.set_state(state)
            drawn.append(coins(sample))
        return torch.stack(drawn), 0


def _source(device: torch.device) -> torch.Generator:
    """Return torch's default generator of a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[
            torch.cuda.current_device() if device.index is None else device.index
        ]
    return torch.default_generator
