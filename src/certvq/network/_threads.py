"""Pieces of work, each with a thread of its own.

In: a function, and what it is called with. Out: what it returns.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def each_alone(work: Callable[[_Given], _Made], pieces: Sequence[_Given]) -> list[_Made]:
    """Work on pieces with as many threads as torch has, each of which has a piece by itself.

    Threads that share each product would wait for each other after every one, which takes longer,
    and far longer where another program wants the same cores. Inside, torch has one thread.
    """
    before = torch.get_num_threads()
    threads = min(before, len(pieces))
    if threads == 1:
        return [work(piece) for piece in pieces]

    def alone(piece: _Given) -> _Made:
        torch.set_num_threads(1)  # of this thread, and of those that begin later
        with torch.inference_mode():  # likewise; it may change tensors of either mode
            return work(piece)

    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="certvq-network") as executor:
            return list(executor.map(alone, pieces))
    finally:
        torch.set_num_threads(before)
