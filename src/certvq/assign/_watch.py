"""Let a caller see each search that runs below it, whoever asked for it.

In: a function. Out: a block within which it gets every `Assignment` of this thread, and mostly the
codebook searched. It cannot change them. Must not import torch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from certvq.assign._assignment import Assignment
from certvq.assign._prepare import Prepared

Watcher: TypeAlias = Callable[[Assignment, Prepared | None], None]
"""Gets a result, and the codebook searched; None where it is not prepared, or is a grid."""

WATCHERS: ContextVar[tuple[Watcher, ...]] = ContextVar("WATCHERS", default=())
"""Those of this thread; asked first where a result to show has to be made."""


@contextmanager
def watching(see: Watcher) -> Iterator[None]:
    """Call `see` with what `certvq.assign` and layers of nn find within a block, in this thread.

    Example:
        >>> import numpy as np, certvq
        >>> seen = []
        >>> with watching(lambda found, codebook: seen.append(found.counts())):
        ...     _ = certvq.assign(np.zeros((2, 1)), np.array([[0.0], [9.0]]))
        >>> seen
        [{'filter': 2, 'refined': 0, 'exact': 0}]
    """
    token = WATCHERS.set((*WATCHERS.get(), see))
    try:
        yield
    finally:
        WATCHERS.reset(token)


def show(found: Assignment, codebook: Prepared | None) -> None:
    """Give a result to all that watch."""
    for see in WATCHERS.get():
        see(found, codebook)
