"""How many threads torch computes with.

In: a number. Out: that many within a block, and as many as before after it. Must not know what is
computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads within a block.

    The operations of a small model end in well under a millisecond, and threads wait for each other
    after every one. Where another program wants the same cores, that wait costs far more than the
    second core gains: on two busy cores a single thread was seen to make ten times the steps.

    Args:
        count: at least 1.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
