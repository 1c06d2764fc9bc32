"""What a contender is.

In: nothing. Out: `Contender`, and the searches that it prepares. Must not know any library.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from certvq._types import Array
from certvq.bench._data import Float32Array

Search: TypeAlias = Callable[[Float32Array], Array]
"""Latents (N, D) to codes (N,), a NumPy array."""

Prepare: TypeAlias = Callable[[Float32Array], Search]
"""A codebook (K, D) to a search."""


@dataclass(frozen=True)
class Changing:
    """A search that changes what it searches, so that every call needs one of its own.

    Attributes:
        fresh: returns a search in the state before any call. It is not what is measured.
    """

    fresh: Callable[[], Search]

    def __call__(self, latents: Float32Array) -> Array:
        return self.fresh()(latents)


def ready(search: Search) -> Search:
    """Return what may be called once, so that only that call need be timed."""
    return search.fresh() if isinstance(search, Changing) else search


@dataclass(frozen=True)
class Contender:
    """One way to find codes.

    Attributes:
        name: as tables show it.
        modules: what has to be installed for it.
        prepare: takes the codebook, returns the search.
        matrices: how many float32 matrices N x K it is reckoned to hold at once; 0 where it goes
            through the latents in blocks.
        note: what its figures mean, where that is not what those of the others mean.
        environment: variables that are set while it is prepared and searches.
        ways: all ways to prepare it, by name, where there are several; in each cell the
            fastest counts.
    """

    name: str
    modules: tuple[str, ...]
    prepare: Prepare
    matrices: int = 0
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ways: Mapping[str, Prepare] = field(default_factory=dict[str, Prepare])

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(name for name in self.modules if not _is_installed(name))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
