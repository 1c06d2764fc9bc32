"""Only tensors that hold numbers may be looked at."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from certvq.nn._core.eager import holds_numbers


def test_ordinary_tensors_and_parameters_do():
    assert holds_numbers(torch.zeros(2))
    assert holds_numbers(torch.nn.Parameter(torch.zeros(2)))


def test_those_without_memory_do_not():
    assert not holds_numbers(torch.zeros(2, device="meta"))
    with FakeTensorMode():
        assert not holds_numbers(torch.zeros(2))


def test_those_that_a_compiler_follows_do_not():
    compiled = torch.compile(lambda x: x + holds_numbers(x), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0.0
