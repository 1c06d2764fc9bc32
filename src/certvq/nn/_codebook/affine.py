"""A codebook that follows the mean and spread of the latents.

In: latents and code vectors. Out: running moments, and the affine map from one to the other. Must
not search for codes.
"""

from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch.device import WideBuffers
from certvq.nn._torch.distributed import ALONE, Peers
from certvq.nn._torch.modes import widest

_LEAST_VARIANCE = 1e-5
"""Variances below count as this."""


@checked
@dataclass(frozen=True)
class Affine:
    """Shift and scale all code vectors to the running mean and deviation of the latents.

    Mathematics, for each feature: ``c' = (c - m_c) s_z / s_c + m_z`` with running means m and
    deviations s of the stored code vectors and of the latents, ``s = sqrt(max(variance, 1e-5))``.
    Codes are the nearest among the c' as rounded, and `decode` returns c'. The moments are taken in
    at the beginning of each training forward, before codes are assigned; with several processes,
    from all of them.

    Attributes:
        batch_decay: weight of the past of the latents' moments, in [0, 1]; 1 keeps those of the
            first batch.
        codebook_decay: likewise of the code vectors' moments.

    Raises:
        OptionError: an option out of its range.

    References:
        Huh et al., "Straightening Out the Straight-Through Estimator: Overcoming Optimization
        Challenges in Vector Quantized Networks", 2023 (arXiv 2305.08842), section 4.1.
    """

    batch_decay: float = 0.99
    codebook_decay: float = 0.9

    def __post_init__(self) -> None:
        for name in ("batch_decay", "codebook_decay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                text = f"Affine {name} must lie in [0, 1], got {getattr(self, name)}"
                raise OptionError(text)


class AffineMap(WideBuffers):
    """The running moments, and the map that they make; the identity before the first batch.

    Attributes:
        begun: (), whether there was a batch.
        batch_mean, batch_variance, codebook_mean, codebook_variance: (D,).
    """

    begun: torch.Tensor
    batch_mean: torch.Tensor
    batch_variance: torch.Tensor
    codebook_mean: torch.Tensor
    codebook_variance: torch.Tensor

    def __init__(self, option: Affine, dim: int) -> None:
        super().__init__()
        self.option = option
        self.register_buffer("begun", torch.zeros(()))  # a float, for averages of models
        for name in ("batch", "codebook"):
            self.register_buffer(f"{name}_mean", torch.zeros(dim))
            self.register_buffer(f"{name}_variance", torch.ones(dim))

    @torch.no_grad()
    def observe(self, latents: torch.Tensor, codebook: torch.Tensor, peers: Peers = ALONE) -> None:
        """Take the moments of a batch and of the code vectors in.

        Args:
            latents: (N, D); no latent on any process changes nothing.
            codebook: (K, D), as stored.
            peers: the processes, which are asked twice.
        """
        kind = widest(latents.device)
        wide = latents.to(kind)
        own = torch.cat([wide.sum(dim=0), wide.new_full((1,), float(len(wide)))])
        sums = peers.add(own)
        count = sums[-1]
        if not bool(count):
            return
        mean = sums[:-1] / count
        variance = peers.add((wide - mean).square().sum(dim=0)) / count
        book = codebook.to(kind)
        fresh = {
            "batch_mean": (mean, self.option.batch_decay),
            "batch_variance": (variance, self.option.batch_decay),
            "codebook_mean": (book.mean(dim=0), self.option.codebook_decay),
            "codebook_variance": (book.var(dim=0, correction=0), self.option.codebook_decay),
        }
        begun = bool(self.begun)
        for name, (value, decay) in fresh.items():
            running = getattr(self, name)
            past = running.to(kind) * decay + value * (1.0 - decay)
            running.copy_(past if begun else value)
        self.begun.fill_(1.0)

    def forward(self, codebook: torch.Tensor) -> torch.Tensor:
        """Map stored code vectors to those in use, (K, D)."""
        mapped = (codebook - self.codebook_mean) * self.ratio() + self.batch_mean
        return mapped.to(codebook.dtype)

    def inverse(self, latents: torch.Tensor) -> torch.Tensor:
        """Map latents to where stored code vectors are, (N, D)."""
        return (latents - self.batch_mean) / self.ratio() + self.codebook_mean

    def ratio(self) -> torch.Tensor:
        """Return the factor of each feature, (D,)."""
        variances = (self.batch_variance, self.codebook_variance)
        batch, codebook = (v.clamp(min=_LEAST_VARIANCE).sqrt() for v in variances)
        return batch / codebook
