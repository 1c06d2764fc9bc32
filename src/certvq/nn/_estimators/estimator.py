"""What all estimators have in common.

In: latents, a codebook and codes. Out: vectors with a gradient. Must not know how codes are found.
"""

import abc
from typing import ClassVar

import torch


class Estimator(abc.ABC):
    """How the gradient of the vectors reaches the latents in train mode.

    In eval mode quantizers that take an estimator use `straight_through`.

    Attributes:
        exact: whether the value of `estimate` is the code vectors themselves, bit for bit.
    """

    exact: ClassVar[bool] = True

    def choose(
        self, latents: torch.Tensor, codebook: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor | None:
        """Choose other codes than the nearest ones, for those estimators that sample.

        Args:
            latents: (N, D), finite.
            codebook: (K, D).
            generator: source of the random choices.

        Returns:
            int64 (N,), or None for the nearest codes.
        """
        del latents, codebook, generator
        return None

    @abc.abstractmethod
    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the vectors that go on to the decoder.

        Args:
            latents: (N, D), any float type.
            codebook: (K, D), with its graph.
            codes: (N,) int64 in ``range(K)``.
            generator: source of random numbers, where there are any.

        Returns:
            (N, D) of the codebook's type of number, with a gradient for `latents`; where the class
            says so, also one for `codebook`.
        """
