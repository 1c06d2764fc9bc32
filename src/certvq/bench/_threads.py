"""The same number of threads for every contender.

In: a number. Out: a block in which certvq, torch, FAISS, BLAS and OpenMP use so many threads. Only
libraries that are imported already are touched: import them first.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from certvq.bench._environment import environment_of

_VARIABLE = "CERTVQ_NUM_THREADS"


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Give every library that is imported `threads` threads; restore what was there before."""
    with ExitStack() as stack:
        _limit_pools(stack, threads)
        _limit_torch(stack, threads)
        _limit_faiss(stack, threads)
        stack.enter_context(environment_of({_VARIABLE: str(threads)}))
        yield


def _limit_pools(stack: ExitStack, threads: int) -> None:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # the BLAS does as it likes, as certvq itself does without threadpoolctl
        return
    stack.enter_context(threadpool_limits(limits=threads))


def _limit_torch(stack: ExitStack, threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads)


def _limit_faiss(stack: ExitStack, threads: int) -> None:
    faiss = sys.modules.get("faiss")
    if faiss is not None:
        stack.callback(faiss.omp_set_num_threads, faiss.omp_get_max_threads())
        faiss.omp_set_num_threads(threads)
