"""Several codes for each latent: slices of its features, with one codebook or one for each.

In: tokens, codes and vectors of all heads. Out: those of each codebook, and the way back. Must not
know of modules.
"""

from dataclasses import dataclass

import torch

from certvq.errors import ShapeError


@dataclass(frozen=True)
class Heads:
    """How latents are cut.

    Attributes:
        count: number of heads.
        separate: whether each has a codebook of its own.
    """

    count: int
    separate: bool

    def parts(self, inside: torch.Tensor) -> list[torch.Tensor]:
        """Cut tokens (N, h d) into those of each codebook."""
        width = inside.shape[1] // self.count
        if self.separate:
            return list(inside.unflatten(1, (self.count, width)).unbind(dim=1))
        return [inside.reshape(inside.shape[0] * self.count, width)]

    def together(self, vectors: list[torch.Tensor]) -> torch.Tensor:
        """Undo `parts`."""
        if self.separate:
            return torch.cat(vectors, dim=-1)
        one = vectors[0]
        if self.count == 1:
            return one
        return one.reshape(one.shape[0] // self.count, self.count * one.shape[1])

    def codes(self, found: list[torch.Tensor]) -> torch.Tensor:
        """Return codes (N,), (N, h), or (N, count), from those of each codebook."""
        if self.separate:
            return torch.stack(found, dim=1)
        return found[0] if self.count == 1 else found[0].reshape(-1, self.count)

    def own(self, codes: torch.Tensor) -> list[torch.Tensor]:
        """Cut codes (N, h) into those of each codebook."""
        return list(codes.unbind(dim=1)) if self.separate else [codes.reshape(-1)]

    def rows(self, indices: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Return indices (N, h), and the shape without the axis of the heads.

        Raises:
            ShapeError: another number of heads.
        """
        grid = tuple(indices.shape if self.count == 1 else indices.shape[:-1])
        if self.count > 1 and indices.shape[-1] != self.count:
            text = (
                f"indices must have a last axis of size heads={self.count}, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        return indices.reshape(-1, self.count), grid
