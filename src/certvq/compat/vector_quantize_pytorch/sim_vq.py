"""The original's `SimVQ`.

In: latents (b, ..., d) or (b, d, ...). Out: vectors, indices and the loss. Must not search by
itself.
"""

from collections.abc import Callable

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, checked
from certvq.compat.vector_quantize_pytorch._codebook import code_vectors_given
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import restored, rows_of
from certvq.nn import RotationTrick, StraightThrough
from certvq.nn import SimVQ as _Mapped
from certvq.nn._core.codes import require_integers

__getattr__ = names_of(__name__)


class SimVQ(Translated):
    """Quantize with a learned map of frozen vectors; see `certvq.nn.SimVQ`.

    Keywords are the original's: `input_to_quantize_commit_loss_weight` weighs the commitment term
    within the loss, `commitment_weight` the whole.

    Guarantee: that of `certvq.nn.SimVQ`.
    """

    fixed = frozenset(["codebook_size", "rotation_trick", "input_to_quantize_commit_loss_weight"])
    renames = {  # noqa: RUF012 (typed in the base)
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
        self.quantizer = _Mapped(
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
        """Return the vectors of indices (b, ...)."""
        vectors = self.quantizer.decode(require_integers(indices).reshape(1, -1))[0]
        return restored(vectors, tuple(indices.shape), first=self.channel_first)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as x, indices (b, ...) int64 and the weighted loss."""
        rows, shape, grid = rows_of(x, self.quantizer.dim, first=self.channel_first)
        quantized, codes, loss = self.quantizer(rows[None])
        vectors = grid.restore(quantized[0], shape)
        return vectors, codes.reshape(shape), loss * self.commitment_weight
