"""How evenly a quantizer uses its codes, over as many batches as one likes.

In: a quantizer, and the codes that it returned. Out: figures. Must not know of families.
"""

from typing import Any

import torch

from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import BaseQuantizer
from certvq.nn._core.usage import Tally, merged, over_processes, tally, usage_figures
from certvq.nn._torch.distributed import Peers, require_group


@checked
class CodeUsage:
    """Count codes batch by batch, as over an epoch.

    Figures over many batches cannot be averaged from those of each: a batch of 1,000 latents uses
    at most 1,000 codes.

    Args:
        layer: the quantizer, which says what its codes mean; nothing else of it is looked at.
        process_group: whose counts `compute` adds up; None is torch's default group, where there is
            one, and False is this process alone.

    Raises:
        OptionError: no process group.

    Example:
        >>> from certvq.nn import FSQ
        >>> layer = FSQ((5, 5)).eval()
        >>> usage = CodeUsage(layer)
        >>> for _ in range(3):
        ...     usage.update(layer(torch.zeros(1, 4, 2)).codes)
        >>> usage.compute()
        {'perplexity': 1.0, 'codebook_usage': 0.04, 'dead_codes': 24.0}
    """

    def __init__(self, layer: BaseQuantizer, *, process_group: Any = None) -> None:
        self._layer = layer
        self._peers = Peers(require_group(process_group), "CodeUsage")
        self._tallies: dict[str, Tally] = {}

    def update(self, codes: torch.Tensor) -> None:
        """Count the codes of a batch.

        Args:
            codes: as the layer returned them; `certvq.nn.PADDING` is left out.

        Raises:
            DTypeError, ShapeError: no codes of this layer.
        """
        for name, place in self._layer.code_places(codes).items():
            fresh = tally(place)
            old = self._tallies.get(name)
            self._tallies[name] = fresh if old is None else merged(old, fresh)

    def compute(self) -> dict[str, float]:
        """Return the figures of all codes since the latest `reset`.

        With several processes it adds up their counts, so that all of them have to call it.

        Returns:
            As `BaseQuantizer.metrics` names them; empty where no code was counted.
        """
        tallies = self._tallies
        if self._peers.together():
            tallies = over_processes(tallies, self._peers.group)
        return usage_figures(tallies, shared=self._layer.shares_codebook)

    def reset(self) -> None:
        """Forget all counts."""
        self._tallies = {}
