"""Searches and checks within graphs of standard operators."""

import math

import pytest
import torch

from certvq.nn._scalar.nearest_scalars import nearest_scalars
from certvq.nn._torch.tracing import nearest_in_graph

TINY = 2.0**-149


def tables():
    draw = torch.Generator().manual_seed(0)
    yield "random", torch.randn(7, generator=draw)
    yield "equal", torch.tensor([1.0, 0.5, 1.0, 0.5, 2.0])
    yield "ties that the later number has", torch.tensor([2.0, 0.0, 1.0, -1.0])
    yield "sums that are rounded", torch.tensor([1.0, 2.0**-40, 1.0 + 2.0**-23, -(2.0**-60)])
    yield "ends of float32", torch.tensor([3e38, -3e38, TINY, -TINY, 0.0])
    yield "one", torch.tensor([0.25])


@pytest.mark.parametrize("values", [pytest.param(v, id=name) for name, v in tables()])
def test_the_nearest_number_is_that_of_the_search(values):
    """Also at midpoints, and one float beside them."""
    middle = ((values[:, None].double() + values.double()) / 2).float().flatten()
    infinity = torch.tensor(math.inf)
    latents = torch.cat(
        [values, middle, middle.nextafter(infinity), middle.nextafter(-infinity), values * 0.9]
    )
    index, levels = torch.arange(len(values))[None], (len(values),)
    expected = nearest_scalars(latents[:, None], values, index, levels)[1]
    found = nearest_in_graph(latents[None].double(), values[None].double())
    assert torch.equal(found[0], expected)
