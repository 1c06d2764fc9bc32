"""Blocks of rows on several threads, each with a matrix product of its own.

In: a function on blocks and the number of rows. Out: the blocks done. A BLAS that splits every
small product over all cores waits at each of them, and waits for long where the cores are shared;
one product a thread does not. That needs threadpoolctl (installed with scikit-learn) to keep the
BLAS to one thread; without it the blocks run one after another and the BLAS does as it likes.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from certvq.assign._validate import require_ieee754


def each_block(work: Callable[[slice], None], rows: int, step: int, *, threads: int) -> None:
    """Call `work` for consecutive slices of ``range(rows)``, in any order, perhaps in parallel.

    Args:
        work: must write to its own slice only.
        rows: N.
        step: rows in a block.
        threads: how many at most.

    Raises:
        FloatEnvironmentError: a thread is not in IEEE 754 mode; besides, whatever `work` raises, or
            a signal handler: no block is begun after it, and those that run are not waited for.
    """
    blocks = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    if threads == 1 or len(blocks) < 2 or _blas_controller() is None:
        for block in blocks:
            work(block)
        return
    from concurrent.futures import ThreadPoolExecutor

    def checked(block: slice) -> None:
        require_ieee754()
        work(block)

    with _single_threaded_blas():
        pool = ThreadPoolExecutor(min(threads, len(blocks)))
        try:
            for done in [pool.submit(checked, block) for block in blocks]:
                done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_limits = threading.Lock()
_users: list[Any] = []
"""One limiter for all calls that run at the same time: the last to leave restores the BLAS."""

_LONGEST_WAIT = 5.0
"""Seconds that a fork waits for products; a block's takes far less."""

_gate = threading.Condition()
_multiplying: set[int] = set()
"""Threads that are within a product."""
_forks = 0
"""How many threads are about to fork."""
_torch_of_parent = False


@contextmanager
def no_fork() -> Iterator[None]:
    """Let no thread fork while a matrix product runs.

    OpenBLAS stops its threads before a fork, and waits for ever if they are at work, or leaves the
    child a lock that nobody releases.
    """
    thread = threading.get_ident()
    with _gate:
        _gate.wait_for(lambda: not _forks, _LONGEST_WAIT)
        _multiplying.add(thread)
    try:
        yield
    finally:
        with _gate:
            _multiplying.discard(thread)
            _gate.notify_all()


def torch_was_forked() -> bool:
    """Say whether this process was forked from one that had loaded torch.

    torch's threads are not in it; whoever asks them on a CPU waits for ever.
    """
    return _torch_of_parent


def _before_fork() -> None:
    global _forks  # noqa: PLW0603 (of the process)
    own = threading.get_ident()  # a signal's handler may fork within a product
    with _gate:
        _forks += 1
        _gate.wait_for(lambda: not _multiplying - {own}, _LONGEST_WAIT)


def _after_fork() -> None:
    global _forks  # noqa: PLW0603
    with _gate:
        _forks -= 1
        _gate.notify_all()


def _begin_anew() -> None:
    """Forget, in a child that was forked, the threads that held locks: they are not in it."""
    global _limits, _gate, _forks, _torch_of_parent  # noqa: PLW0603 (nobody would release them)
    _limits, _gate, _forks = threading.Lock(), threading.Condition(), 0
    _users.clear()
    _multiplying.clear()
    _torch_of_parent = "torch" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_begin_anew
    )


@contextmanager
def _single_threaded_blas() -> Iterator[None]:
    with _limits:
        _users.append(_users[0] if _users else _blas_controller().limit(limits=1))
    try:
        yield
    finally:
        with _limits:
            limiter = _users.pop()
            if not _users:
                limiter.restore_original_limits()


@cache
def _blas_controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
