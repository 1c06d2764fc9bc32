"""The number of threads is that of the block, and the former one afterwards."""

import pytest
import torch

from certvq.pipeline._threads import torch_threads


def _fail_within(count: int) -> None:
    with torch_threads(count):
        assert torch.get_num_threads() == count
        raise ZeroDivisionError


def test_the_number_is_put_back_even_after_a_failure() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        _fail_within(before + 1)
    assert torch.get_num_threads() == before
