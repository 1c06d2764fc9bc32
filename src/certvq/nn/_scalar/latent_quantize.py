"""Latent quantization: every feature takes one of a few learned values.

In: latents. Out: for each feature the nearest of its values, and their places as one exact integer.
Must not know of images or models.
"""

import math

import torch
from torch import nn

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import LayoutName, check_batch, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._scalar.learned_scalars import choose
from certvq.nn._scalar.nearest_scalars import nearest_scalars
from certvq.nn._scalar.radix import require_levels, split_codes
from certvq.nn._torch.device import default_device
from certvq.nn._torch.distributed import require_whole


@checked
class LatentQuantize(Quantizer):
    """Replace each feature by the nearest of its own learned values.

    Mathematics: with the values v_d of feature d, ``quantized_d = v_d[i_d]`` with ``i_d = min { i :
    for all j, |z_d - v_d[i]| <= |z_d - v_d[j]| }``, and
    ``code = i_1 + L_1 (i_2 + L_2 (i_3 + ...))``; ``loss = quantization_weight * mse(sg[z], v[i]) +
    commitment_weight * mse(z, sg[v[i]])``, of which the first term teaches the values and the
    second the encoder. Straight through, the gradient of `quantized` goes to the latents unchanged.

    Args:
        levels: number of values of each feature, 1 to 2^31 - 1; at most 2^63 codes in all.
        quantization_weight: finite, >= 0.
        commitment_weight: finite, >= 0.
        learn_values: whether the values are a parameter; else they stay where they start, evenly
            spread: ``-1/2 ... 1/2`` for odd L, ``i / L - 1/2`` for even L, so that 0 is a value,
            and where there is one value, that one.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``, of ``len(levels)``
            features.

    Attributes:
        levels: as given.
        values: (sum of the levels,), the values of the first feature, then those of the next; an
            ``nn.Parameter`` with `learn_values` and a buffer without.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the code is nearest to the latent over the real numbers, among all points of the
    grid of the values as they are stored (``grid_round_isNearestCode``); latents and values are
    taken as exact numbers. Codes are decoded with the values that they were found with:
    ``quantized == decode(codes)`` bit for bit, in train and eval mode, until an optimiser moves
    the values.
    Ties: the lowest index, in each feature and so in the code.
    Cost: ``N D L`` comparisons for L up to 33, ``N D log L`` beyond.

    Example:
        >>> layer = LatentQuantize((5, 4)).eval()
        >>> quantized, codes, loss = layer(torch.tensor([[[0.1, 0.2], [-3.0, 0.125]]]))
        >>> codes
        tensor([[17, 10]])
        >>> quantized
        tensor([[[ 0.0000,  0.2500],
                 [-0.5000,  0.0000]]])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Hsu, Dorrell, Whittington, Wu, Finn, "Disentanglement via Latent Quantization", 2023,
        section 3.
    """

    values: torch.Tensor

    def __init__(
        self,
        levels: tuple[int, ...] | list[int],
        *,
        quantization_weight: float = 0.1,
        commitment_weight: float = 0.1,
        learn_values: bool = True,
        layout: LayoutName = "b n d",
    ) -> None:
        levels = tuple(int(count) for count in levels)
        require_levels(levels, least=1)
        _require_weights(quantization_weight, commitment_weight)
        super().__init__(len(levels), layout=layout)
        self.levels = levels
        self.quantization_weight = quantization_weight
        self.commitment_weight = commitment_weight
        values = torch.cat([_even_values(count) for count in levels]).to(default_device())
        if learn_values:
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)
        index = torch.full((len(levels), max(levels)), sum(levels), device="cpu")
        for d, count in enumerate(levels):
            index[d, :count] = torch.arange(count, device="cpu") + sum(levels[:d])
        self.register_constant("index", index)

    @property
    def codebook_size(self) -> int:
        """K, the product of the levels."""
        return math.prod(self.levels)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Take the nearest values; see `Quantizer`."""
        # In train mode `token_error` has been asked.
        latents = tokens if self.training else require_finite_latents(tokens)
        places, codes = self._places(latents.detach())
        chosen = choose(tokens, self.values, places)
        value = chosen.commitment.detach()
        loss = self.commitment_weight * chosen.commitment
        loss = loss + self.quantization_weight * chosen.taught
        figures = {"quantization_loss": value, "commitment_loss": value}
        return Found(chosen.vectors, codes, loss, figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of the nearest values; see `Quantizer`."""
        return self._places(require_finite_latents(tokens.detach()))[1]

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Look values up; see `Quantizer`."""
        require_whole(self.values, f"LatentQuantize({self.levels})")
        return self.values[
            split_codes(codes, self.levels).T + self.constant("index", codes.device)[:, 0]
        ]

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse latents or values whose losses could overflow; see `Quantizer`."""
        wide = torch.promote_types(self.values.dtype, torch.float32)
        return check_batch(tokens, self.values.detach().unsqueeze(1), wide)

    @property
    def steady(self) -> bool:
        """True, as an optimiser moves the values; see `Quantizer`."""
        return True

    def level_indices(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the place of each feature's value.

        Args:
            codes: int64 (...), each in ``range(K)``.

        Returns:
            int64 (..., D).

        Raises:
            CodeRangeError: a code outside ``range(K)``.
        """
        wide = require_range(require_integers(codes), self.codebook_size)
        return split_codes(wide, self.levels).movedim(0, -1)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"levels={self.levels}, quantization_weight={self.quantization_weight}, "
            f"commitment_weight={self.commitment_weight}, layout={self._layout.name!r}"
        )

    def _places(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the places of the nearest values among `values`, (N, D), and the codes (N,)."""
        require_whole(self.values, f"LatentQuantize({self.levels})")
        index = self.constant("index", latents.device)
        return nearest_scalars(latents, self.values.detach(), index, self.levels)


def _even_values(count: int) -> torch.Tensor:
    cpu = torch.device("cpu")  # where transformers builds on meta, it keeps linspace on the CPU
    if count % 2:
        return (
            torch.linspace(-0.5, 0.5, count, device=cpu)
            if count > 1
            else torch.zeros(1, device=cpu)
        )
    return torch.arange(count, device=cpu) / count - 0.5


def _require_weights(quantization_weight: float, commitment_weight: float) -> None:
    weights = {"quantization_weight": quantization_weight, "commitment_weight": commitment_weight}
    for name, weight in weights.items():
        if not 0.0 <= weight < math.inf:
            text = f"{name} must be finite and at least 0, got {weight}"
            raise OptionError(text)
