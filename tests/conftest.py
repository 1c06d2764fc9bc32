"""Fixtures shared by all tests: one seed for random numbers, printed when a test fails."""

import os
import runpy
import signal
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # on the CPU; `make gpu-test` compiles the kernels
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
