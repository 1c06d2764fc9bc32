"""Attributes of the original's `VectorQuantize` that follow from others.

In: the layer's keywords. Out: what they come to, to be read and not to be set. Must not hold state.
"""

from torch import nn
from torch.optim import Optimizer

from certvq.compat.vector_quantize_pytorch._layer import Layer
from certvq.compat.vector_quantize_pytorch._options import Options


class Attributes(nn.Module):
    """What users of `VectorQuantize` read beside its keywords."""

    layers: nn.ModuleList
    options: Options
    codebook_diversity_loss_weight: float
    orthogonal_reg_weight: float

    @property
    def ema_update(self) -> bool:
        """Whether the codebook is a moving average."""
        return self.options.averages

    @property
    def eps(self) -> float:
        """What smooths the counts of the averages."""
        return self.options.eps

    @property
    def use_cosine_sim(self) -> bool:
        """Whether codes are compared by cosine similarity."""
        return self.options.use_cosine_sim

    @property
    def rotation_trick(self) -> bool:
        """Whether gradients are rotated."""
        return self.options.rotates

    @property
    def directional_reparam(self) -> bool:
        """Whether vectors are reparametrised."""
        return self.options.directional_reparam

    @property
    def sync_update_v(self) -> float:
        """Share of a vector's gradient that it gets once more."""
        return self.options.sync_update_v

    @property
    def has_codebook_diversity_loss(self) -> bool:
        """Whether the loss has a term for the diversity of codes."""
        return self.codebook_diversity_loss_weight > 0.0

    @property
    def has_codebook_orthogonal_loss(self) -> bool:
        """Whether the loss has a term for the orthogonality of code vectors."""
        return self.orthogonal_reg_weight > 0.0

    @property
    def in_place_codebook_optimizer(self) -> Optimizer | tuple[Optimizer, ...] | None:
        """The inner optimiser, or None; with separate codebooks one for each."""
        inner = [
            layer.inner_optimizer.optimizer
            for layer in self.layers
            if isinstance(layer, Layer) and layer.inner_optimizer is not None
        ]
        return None if not inner else inner[0] if len(inner) == 1 else tuple(inner)
