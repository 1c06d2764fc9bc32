"""The filter on torch tensors: the same float64 scores, multiplied where the latents are.

In: blocks of latents on any device. Out: `Filtered`, on the host. Reading, centring and norms are
NumPy's, in the calling thread, whose float environment was checked; torch multiplies and finds the
maxima. float64 products are not touched by torch's TF32, bfloat16 or autocast switches. Must not be
imported unless torch is installed.
"""

import numpy as np
import torch

from certvq import bounds
from certvq._types import Int64Array
from certvq.assign._arrays import to_host
from certvq.assign._exact import Pairs
from certvq.assign._filter import Filtered, joined
from certvq.assign._filter_numpy import numpy_filter
from certvq.assign._prepare import Prepared
from certvq.errors import DeviceMemoryError

_BLOCK_SCORES = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Scores of a block: on a CPU as in `_filter_numpy`; on a GPU 256 MiB of float64, chosen and not
measured."""

_FEWEST_ROWS = 32
"""As in `_filter_numpy`; where memory is short, blocks are not halved below this."""

_MOST_ROWS = 1 << 16
"""Where there are few codes; chosen, not measured."""


class TorchFilter:
    """Centred scores of one codebook on one device."""

    parallel = False  # torch has threads of its own

    def __init__(self, prepared: Prepared, exponent: int, device: torch.device) -> None:
        self._host = numpy_filter(prepared, exponent)
        self._device = device
        augmented = torch.from_numpy(self._host.augmented)
        try:
            self._augmented = augmented.to(device)
        except torch.OutOfMemoryError as error:
            raise _too_large(augmented.nbytes, "the codebook", str(error)) from error

    def block_rows(self) -> int:
        """Return how many latents a block should have."""
        scores = _BLOCK_SCORES.get(self._device.type, 1 << 20)
        return min(_MOST_ROWS, max(_FEWEST_ROWS, scores // max(self._augmented.shape)))

    def run(self, latents: torch.Tensor, besides: Int64Array | None = None) -> Filtered:
        """Decide the rows of a block that lead by more than twice the radius.

        Raises:
            DeviceMemoryError: there is no room for the scores of `_FEWEST_ROWS` latents either.
        """
        try:
            return self._run(latents, besides)
        except torch.OutOfMemoryError as error:
            if len(latents) <= _FEWEST_ROWS:
                needed = 8 * len(latents) * int(self._augmented.shape[1])
                text = f"the scores of {len(latents)} latents"
                raise _too_large(needed, text, str(error)) from error
        middle = len(latents) // 2
        parts = (slice(0, middle), slice(middle, None))
        halves = [
            self.run(latents[part], None if besides is None else besides[part]) for part in parts
        ]
        return joined(*halves)

    def _run(self, latents: torch.Tensor, besides: Int64Array | None) -> Filtered:
        host = to_host(latents)
        augmented, radius = self._host.augment(host)
        scores = torch.from_numpy(augmented).to(self._device) @ self._augmented
        if besides is not None:
            left_out = torch.from_numpy(besides).to(self._device)
            scores.scatter_(1, left_out[:, None], -torch.inf)
        best, codes = scores.max(dim=1)
        threshold = torch.from_numpy(bounds.candidate_threshold(best.cpu().numpy(), radius))
        threshold = threshold.to(self._device)
        scores.scatter_(1, codes[:, None], -torch.inf)
        open_rows = torch.nonzero(~(scores.amax(dim=1) < threshold)).squeeze(1)
        opened = scores[open_rows]
        opened.scatter_(1, codes[open_rows][:, None], best[open_rows][:, None])
        found = torch.nonzero(~(opened < threshold[open_rows][:, None])).cpu().numpy()
        rows = open_rows.cpu().numpy()
        pairs = Pairs(np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1]))
        if besides is not None:
            pairs = pairs.keep(pairs.codes != besides[rows][pairs.rows])
        return Filtered(codes.cpu().numpy(), rows, host[rows].astype(np.float64), pairs)


def _too_large(needed: int, what: str, reason: str) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"backend 'torch' needs at least {needed} free bytes of device memory for {what}; free "
        f"some, or assign tensors on the CPU ({reason})"
    )


def torch_filter(prepared: Prepared, exponent: int, device: torch.device) -> TorchFilter:
    """Return the filter of a codebook on a device, built once."""
    return prepared.derive(
        f"torch:{device}", exponent, lambda: TorchFilter(prepared, exponent, device)
    )
