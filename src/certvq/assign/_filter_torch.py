"""The filter on torch tensors: the same float64 scores, computed where the latents are.

In: blocks of latents on any device. Out: `Filtered`, on the host; only open rows travel. float64
products are not touched by torch's TF32, bfloat16 or autocast switches. Must not be imported
unless torch is installed.
"""

import numpy as np
import torch

from certvq import bounds
from certvq.assign._exact import Pairs
from certvq.assign._filter import Filtered
from certvq.assign._filter_numpy import numpy_filter
from certvq.assign._prepare import Prepared

_BLOCK_SCORES = {"cpu": 1 << 20, "cuda": 1 << 25}


class TorchFilter:
    """Centred scores of one codebook on one device."""

    parallel = False  # torch has threads of its own

    def __init__(self, prepared: Prepared, exponent: int, device: torch.device) -> None:
        host = numpy_filter(prepared, exponent)
        self._device = device
        self._exponent = exponent
        self._dim = prepared.dim
        self._codebook_rows = len(prepared.distinct)
        self._centre = torch.from_numpy(host.centre.copy()).to(device)
        self._augmented = torch.from_numpy(host.augmented).to(device)
        self._code_norm = host.code_norm

    def block_rows(self) -> int:
        """Return how many latents a block should have."""
        scores = _BLOCK_SCORES.get(self._device.type, 1 << 20)
        return min(1 << 16, max(32, scores // self._codebook_rows))

    def run(self, latents: torch.Tensor) -> Filtered:
        """Decide the rows of a block that lead by more than twice the radius."""
        exact = latents.detach().double()
        scores, radius = self._scores(exact)
        best, codes = scores.max(dim=1)
        threshold = torch.from_numpy(
            bounds.candidate_threshold(best.cpu().numpy(), radius.cpu().numpy())
        ).to(self._device)
        scores.scatter_(1, codes[:, None], -torch.inf)
        open_rows = torch.nonzero(~(scores.amax(dim=1) < threshold)).squeeze(1)
        opened = scores[open_rows]
        opened.scatter_(1, codes[open_rows][:, None], best[open_rows][:, None])
        pairs = torch.nonzero(~(opened < threshold[open_rows][:, None])).cpu().numpy()
        return Filtered(
            codes.cpu().numpy(),
            open_rows.cpu().numpy(),
            exact[open_rows].cpu().numpy(),
            Pairs(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])),
        )

    def _scores(self, exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centred = self._scaled(exact) - self._centre
        squares = (centred * centred).sum(dim=1)
        norms = bounds.norm_upper(squares.cpu().numpy(), self._dim)
        radius = torch.from_numpy(bounds.score_radius(norms, self._code_norm, self._dim))
        ones = torch.ones((len(centred), 1), dtype=torch.float64, device=self._device)
        return torch.cat([centred, ones], dim=1) @ self._augmented, radius

    def _scaled(self, exact: torch.Tensor) -> torch.Tensor:
        if not self._exponent:
            return exact
        first = self._exponent // 2  # 2.0**1024 would overflow: scale in two exact factors
        return exact * 2.0**-first * 2.0 ** (first - self._exponent)


def torch_filter(prepared: Prepared, exponent: int, device: torch.device) -> TorchFilter:
    """Return the filter of a codebook on a device, built once."""
    return prepared.derive(
        f"torch:{device}", exponent, lambda: TorchFilter(prepared, exponent, device)
    )
