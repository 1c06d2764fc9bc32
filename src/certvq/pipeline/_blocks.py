"""Walk over many rows in blocks, so that progress can be shown.

In: how many rows. Out: slices. That a code depends on its own row alone makes any split as good as
any other. Must not touch arrays.
"""

from collections.abc import Iterator

from certvq._types import Progress

_BLOCK = 1 << 15


def blocks(rows: int, stage: str, progress: Progress) -> Iterator[slice]:
    """Yield slices that cover ``range(rows)`` in order, at least one.

    Args:
        rows: how many.
        stage: to be named in the progress.
        progress: called after each block.

    Example:
        >>> from certvq._types import no_progress
        >>> list(blocks(40000, "assigning", no_progress))
        [slice(0, 32768, None), slice(32768, 40000, None)]
    """
    for start in range(0, max(rows, 1), _BLOCK):
        stop = min(start + _BLOCK, rows)
        yield slice(start, stop)
        progress(stage, stop, rows)
