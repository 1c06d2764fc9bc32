"""What is no dense tensor is refused by name; test_contract.py has the layers' side."""

import pytest
import torch

from certvq.errors import DTypeError
from certvq.nn._core.latents import require_dense


def test_dense_tensors_of_any_type_pass():
    for given in (torch.zeros(2, 3)[:, 1], torch.zeros(0, dtype=torch.complex64)):
        assert require_dense(given, "latents") is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([1.0], "weights must be a torch.Tensor, got list; use torch.as_tensor"),
        (torch.eye(2).to_sparse(), "weights .* got the layout sparse_coo; use .to_dense"),
        (torch.eye(3, device="meta"), r"weights must hold numbers, .* shape \(3, 3\) .* meta"),
    ],
)
def test_others_are_named(given, text):
    with pytest.raises(DTypeError, match=text):
        require_dense(given, "weights")
