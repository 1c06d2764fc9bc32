"""Hold a Ctrl-C back while something must not be cut in two.

In: a block of code. Out: the block done as a whole, and the interruption after it. Must not know
what the block does.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold a Ctrl-C back until the block has ended.

    A second one within the block interrupts it at once. Only Python's own handler is stood in for,
    and only in the main thread: elsewhere, and under another handler, nothing is held back.

    Raises:
        KeyboardInterrupt: when the block has ended, if a Ctrl-C came within it.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield
        return
    came = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            signal.default_int_handler(number, frame)
        came = True

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
