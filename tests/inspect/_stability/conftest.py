"""What the tests of stability reports share."""

import pytest
import torch
from torch import nn

from certvq.nn import Gradient, Uniform, VectorQuantize


@pytest.fixture
def line():
    """Give a layer on the line with code vectors at 0, 1, 2 and 3, so that borders are known."""
    layer = VectorQuantize(1, 4, update=Gradient(), start=Uniform()).eval()
    layer.codebook.data = torch.arange(4.0)[:, None]
    return layer


@pytest.fixture
def shifted(line):
    """Give a function from a shift to a model on the line that moves latents by that much."""

    class Shift(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by
            self.quantizer = line

        def forward(self, z):
            return self.quantizer(z + torch.tensor(self.by, dtype=z.dtype))

    return Shift
