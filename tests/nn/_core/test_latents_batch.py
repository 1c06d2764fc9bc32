"""Batches that would destroy the state are found before anything changes."""

import math

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.nn._core.latents import check_batch


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_entry_is_named(bad):
    tokens = torch.zeros(4, 3)
    tokens[2, 1] = bad
    error = check_batch(tokens, torch.zeros(2, 3), torch.float32)
    assert isinstance(error, NonFiniteError)
    assert "row 2, column 1" in str(error)
    assert str(error).startswith("latents")


def test_a_codebook_that_diverged_is_named():
    codebook = torch.zeros(2, 3)
    codebook[1, 0] = math.nan
    error = check_batch(torch.zeros(4, 3), codebook, torch.float32)
    assert str(error).startswith("codebook must be finite, got nan at row 1, column 0")


def test_the_limit_keeps_sums_of_squares_finite():
    """At the limit the worst batch still has a finite sum; one step above it is refused."""
    tokens = torch.zeros(4, 3)
    largest = torch.finfo(torch.float32).max
    limit = math.sqrt(largest / 48)
    below = torch.tensor(limit * (1 - 1e-6))
    assert check_batch(tokens + below, torch.zeros(2, 3), torch.float32) is None
    assert ((2 * (tokens + below)) ** 2).sum() < math.inf
    tokens[3, 2] = -limit * (1 + 1e-6)
    error = check_batch(tokens, torch.zeros(2, 3), torch.float32)
    assert "at row 3, column 2; scale them down" in str(error)
    assert check_batch(tokens, torch.zeros(2, 3), torch.float64) is None


def test_a_half_precision_codebook_has_its_own_limit():
    error = check_batch(
        torch.tensor([[2e4]]), torch.zeros(1, 1, dtype=torch.float16), torch.float32
    )
    assert "at most 1.64e+04 in magnitude" in str(error)


def test_an_empty_batch_is_fine():
    assert check_batch(torch.zeros(0, 3), torch.zeros(2, 3), torch.float32) is None
