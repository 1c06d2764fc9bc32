"""The same number of threads for all."""

import os

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from certvq.bench._threads import thread_limit


@pytest.mark.parametrize("before", [None, "5"])
def test_all_libraries_are_limited_and_restored(before, monkeypatch):
    if before is None:
        monkeypatch.delenv("CERTVQ_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("CERTVQ_NUM_THREADS", before)
    np.ones((2, 2)) @ np.ones((2, 2))
    threads = torch.get_num_threads()
    with thread_limit(1):
        assert os.environ["CERTVQ_NUM_THREADS"] == "1"
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert os.environ.get("CERTVQ_NUM_THREADS") == before
    assert torch.get_num_threads() == threads
