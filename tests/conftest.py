"""Fixtures shared by all tests: one seed for random numbers, printed when a test fails."""

import contextlib
import copy
import os
import runpy
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # on the CPU; `make gpu-test` compiles the kernels
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
if find_spec("jaxtyping") and os.environ.get("CERTVQ_SHAPES") != "0":  # before certvq is imported
    runpy.run_path(str(Path(__file__).parent / "shapes.py"))["install"]()


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run."""
    seed = 20261122
    request.node.add_report_section("setup", "seed", str(seed))
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def pair():
    """Two processes of `torch.distributed`, for all tests; see `pair.py`."""
    two = runpy.run_path(str(Path(__file__).parent / "pair.py"))["Pair"]()
    yield two
    two.end()


@pytest.fixture
def interrupt_everywhere():
    """Return a function that presses Ctrl-C at line after line of a step of a layer."""

    def interrupt(layer, step, check, *, most=60):
        """Interrupt a step at up to so many lines of certvq, the last ones among them.

        Args:
            layer: copied, to see how many lines there are.
            step: called with a layer.
            check: called with the layer and the number of the line after each.
        """
        twins = [copy.deepcopy(layer) for _ in range(2)]  # the first fills caches
        count = [_run_until(lambda twin=twin: step(twin), None) for twin in twins][-1]
        near = list(range(max(0, count - most // 2), count))
        far = range(0, count - len(near), max(1, 2 * (count - len(near)) // most))
        for line in [*far, *near]:
            with contextlib.suppress(KeyboardInterrupt):
                _run_until(lambda: step(layer), line)
                assert line > count - 15  # the first run may have cleared up after others
                break  # so that the line before was the last one
            check(layer, line)
        return count

    return interrupt


def _run_until(step, stop):
    """Run a step until a line of certvq; return how many lines it runs through."""
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if "/certvq/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            seen += 1
            if stop is not None and seen > stop:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
    return seen
