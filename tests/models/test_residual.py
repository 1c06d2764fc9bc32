"""A block adds to its input and leaves it alone where its last weights are zero."""

import torch

from certvq.models._residual import ResidualBlock, residual_stack


def test_zero_weights_are_the_identity():
    block = ResidualBlock(4, 2)
    torch.nn.init.zeros_(block.body[3].weight)
    features = torch.randn(1, 4, 3, 3)
    assert torch.equal(block(features), features)


def test_a_block_is_its_formula():
    block = ResidualBlock(4, 2)
    features = torch.randn(1, 4, 5, 3)
    wide, narrow = block.body[1], block.body[3]
    expected = features + narrow(torch.relu(wide(torch.relu(features))))
    assert torch.equal(block(features), expected)


def test_a_stack_ends_in_relu():
    stack = residual_stack(4, 2, 3)
    assert sum(isinstance(layer, ResidualBlock) for layer in stack) == 3
    assert stack(torch.randn(1, 4, 3, 3)).min() >= 0.0
    assert torch.equal(residual_stack(4, 2, 0)(-torch.ones(1, 4, 1, 1)), torch.zeros(1, 4, 1, 1))
