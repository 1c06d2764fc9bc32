"""The original's `SimVQ`.

In: latents (b, ..., d) or (b, d, ...). Out: vectors, indices and the loss. Must not search by
itself.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, checked
from certvq.compat.vector_quantize_pytorch._features import as_features, as_tokens
from certvq.compat.vector_quantize_pytorch._readable import code_vectors_given
from certvq.compat.vector_quantize_pytorch._renamed import Renamed
from certvq.nn import RotationTrick, StraightThrough
from certvq.nn import SimVQ as Mapped


class SimVQ(Renamed):
    """Quantize with a learned map of frozen vectors; see `certvq.nn.SimVQ`.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes.
        codebook_transform: the map; None for a linear one without bias.
        init_fn: applied to the frozen vectors once.
        channel_first: whether latents are (b, d, ...).
        rotation_trick: whether the gradient is rotated, in train mode.
        input_to_quantize_commit_loss_weight: weight of the commitment term within the loss.
        commitment_weight: weight of the whole loss.
        frozen_codebook_dim: size of the frozen vectors; None for `dim`.

    Raises:
        OptionError: an option out of its range, or a map with dropout or batch statistics.

    Guarantee: that of `certvq.nn.SimVQ`.
    """

    fixed = frozenset({"codebook_size", "rotation_trick", "input_to_quantize_commit_loss_weight"})

    renames: ClassVar[dict[str, str | None]] = {
        "frozen_codebook": "quantizer.frozen",
        "code_transform.": "quantizer.transform.",
    }

    @checked(channel_first=FLAG)
    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_transform: nn.Module | None = None,
        init_fn: Callable[[torch.Tensor], torch.Tensor] | None = None,
        channel_first: bool = False,
        rotation_trick: bool = True,
        input_to_quantize_commit_loss_weight: float = 0.25,
        commitment_weight: float = 1.0,
        frozen_codebook_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.quantizer = Mapped(
            dim,
            codebook_size,
            code_dim=frozen_codebook_dim,
            transform=codebook_transform,
            commitment_weight=input_to_quantize_commit_loss_weight,
            estimator=RotationTrick() if rotation_trick else StraightThrough(),
        )
        if init_fn is not None:
            with torch.no_grad():
                self.quantizer.frozen.copy_(init_fn(self.quantizer.frozen))
        self.codebook_size = codebook_size
        self.channel_first = channel_first
        self.rotation_trick = rotation_trick
        self.input_to_quantize_commit_loss_weight = input_to_quantize_commit_loss_weight
        self.commitment_weight = commitment_weight

    @property
    def codebook(self) -> torch.Tensor:
        """The mapped code vectors, (codebook_size, dim)."""
        return self.quantizer.codebook

    @property
    def frozen_codebook(self) -> torch.Tensor:
        """The frozen vectors, which can be set."""
        return self.quantizer.frozen

    @frozen_codebook.setter
    def frozen_codebook(self, vectors: torch.Tensor) -> None:
        frozen = self.quantizer.frozen
        with torch.no_grad():
            frozen.copy_(code_vectors_given(vectors, frozen, "frozen_codebook"))

    @property
    def code_transform(self) -> nn.Module:
        """The map."""
        return self.quantizer.transform

    def indices_to_codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors of indices (b, ...).

        Raises:
            CodeRangeError: an index outside ``range(codebook_size)``.
        """
        vectors = self.quantizer.decode(indices.reshape(1, -1))
        return as_features(vectors, tuple(indices.shape), channel_first=self.channel_first)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as x, indices (b, ...) int64 and the weighted loss."""
        tokens, grid = as_tokens(x, channel_first=self.channel_first)
        quantized, codes, loss = self.quantizer(tokens)
        return (
            as_features(quantized, grid, channel_first=self.channel_first),
            codes.reshape(grid),
            loss * self.commitment_weight,
        )
