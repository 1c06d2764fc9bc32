"""Values beside bounds on their errors."""

import torch

from certvq.network._bounded import Bounded, along, broadcast_error, narrowed
from certvq.network._wide import wide


def test_the_error_of_a_vector_is_the_norm_of_those_of_its_entries():
    given = Bounded(torch.zeros(1, 2).double(), torch.tensor([[3.0, 4.0]]).double(), None)
    assert 5.0 <= along(given, 1).error.item() < 5.0 + 1e-12
    assert 5.0 <= broadcast_error(given, (1, 2), 1).item() < 5.0 + 1e-12


def test_a_vector_that_is_broadcast_along_its_axis_errs_in_each_entry():
    given = Bounded(torch.zeros(1, 1).double(), torch.tensor([[2.0]]).double(), 1)
    assert 4.0 <= broadcast_error(given, (1, 4), 1).item() < 4.0 + 1e-12


def test_what_is_left_of_a_pair_counts_as_an_error():
    pair = wide(torch.ones(1, 2).double(), torch.full((1, 2), 2.0**-54).double())
    near = narrowed(Bounded(pair, torch.full((1, 2), 2.0**-60).double(), None))
    assert torch.equal(near.value, torch.ones(1, 2).double())
    assert (near.error >= 2.0**-54 + 2.0**-60).all()
