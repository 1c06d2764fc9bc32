"""The gradients that the original gives the code vectors that go on.

In: what a layer found. Out: the same vectors with a gradient. Must not change any state.
"""

from dataclasses import dataclass

import torch

from certvq.compat.vector_quantize_pytorch._layer import Hit
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.nn import Gumbel, Reparam, RotationTrick, straight_through


@dataclass(frozen=True)
class Gradients:
    """Which gradients are wanted.

    Attributes:
        options: the keywords of the layer.
        variance: of `directional_reparam`.
        routed: whether the latents get a gradient at all.
        learns: whether the codebook is a parameter.
        temperature: of the softmax whose gradient `straight_through` takes.
    """

    options: Options
    variance: float
    routed: bool
    learns: bool
    temperature: float

    def of(self, hit: Hit, *, training: bool) -> torch.Tensor:
        """Return the vectors of a hit, (N, D) or (N, count, D)."""
        vectors, options = hit.vectors, self.options
        plain = vectors if self.learns else vectors.detach()
        if not training:
            return plain
        if not self.routed:
            if options.straight_through and self.temperature > 0.0 and hit.codes.ndim == 1:
                soft = Gumbel(self.temperature, soft=True, cosine=options.use_cosine_sim)
                return soft.estimate(hit.points, hit.book, hit.codes, None)
            return plain
        points = hit.points
        if vectors.ndim == 3:
            points = points[:, None].expand_as(vectors)
        points, flat = points.reshape(-1, points.shape[-1]), vectors.reshape(-1, vectors.shape[-1])
        rows = torch.arange(flat.shape[0], device=flat.device)
        if options.rotates:
            result = RotationTrick().estimate(points, flat, rows, None)
        elif options.directional_reparam:
            result = Reparam(self.variance).estimate(points, flat, rows, None)
        else:
            result = straight_through(points, flat, rows)
        if options.sync_update_v > 0.0:
            result = result + options.sync_update_v * (result - result.detach())
        return result.reshape(vectors.shape)
