"""A model that is encoded canonically batch after batch.

In: an encoder and codebooks. Out: for each shape of batch the captured network, with all that
does not depend on the input; both anew once a parameter has changed. Must not decide anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import torch
from torch import nn

from certvq.network._bounded import Bounded
from certvq.network._capture import capture, require_eval
from certvq.network._float64 import bounded_constants
from certvq.network._graph import Network
from certvq.network._levels import Levels
from certvq.network._pieces import Piece, strips_of
from certvq.network._wide import AVAILABLE

_SHAPES = 8
"""Captured graphs that are kept; the oldest one goes first. Chosen."""


@dataclass
class Ready:
    """A network of one shape of batch, with what its batches have in common.

    Attributes:
        network: as captured.
        constants: its `bounded_constants`.
        levels: the codebooks.
        narrow: whether float64 is worth it; where it decided nothing of many tokens, it is not
            tried again. Codes are the same either way.
        wide: whether all operators have a form in pairs.
    """

    network: Network
    constants: dict[str, Bounded]
    levels: Levels
    narrow: bool = True
    wide: bool = AVAILABLE
    _strips: dict[int, list[Piece]] = field(default_factory=dict)

    def strips(self, count: int) -> list[Piece]:
        """Return the output in so many strips, or fewer."""
        if count not in self._strips:
            self._strips[count] = strips_of(self.network, self.constants, count)
        return self._strips[count]

    @cached_property
    def wide_constants(self) -> dict[str, Bounded]:
        """Its `bounded_constants` in pairs."""
        return bounded_constants(self.network, narrow=self.constants)


class Reused:
    """Captured networks of an encoder.

    Args:
        encoder: in eval mode whenever it is used.
        rows: codebooks that go with the latents of a network.
    """

    def __init__(self, encoder: nn.Module, rows: Callable[[Network], Levels]) -> None:
        self._encoder, self._rows = encoder, rows
        self._state: dict[str, torch.Tensor] = {}
        self._ready: dict[tuple[int, ...], Ready] = {}
        self._lock = Lock()

    def ready(self, batch: torch.Tensor) -> Ready:
        """Return what fits the shape of a batch; numbers of the model are compared bit by bit.

        Threads capture one after another.
        """
        with self._lock:
            return self._found(batch)

    def _found(self, batch: torch.Tensor) -> Ready:
        require_eval(self._encoder)
        state = _state_of(self._encoder)
        if not _same(state, self._state):
            self._ready.clear()
            self._state = {name: each.detach().clone() for name, each in state.items()}
        shape = tuple(batch.shape)
        if shape not in self._ready:
            network = capture(self._encoder, batch)
            rows = self._rows(network)
            while len(self._ready) >= _SHAPES:
                self._ready.pop(next(iter(self._ready)))
            self._ready[shape] = Ready(network, bounded_constants(network), rows)
        return self._ready[shape]


def _state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    named = (*module.named_parameters(), *module.named_buffers())
    return dict(named)


def _same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return state.keys() == other.keys() and all(
        each.dtype == other[name].dtype
        and each.device == other[name].device
        and torch.equal(each, other[name])
        for name, each in state.items()
    )
