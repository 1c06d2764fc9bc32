"""Which keys a mask of attention keeps, and what it adds."""

import math

import pytest
import torch

from certvq.network.rules._masks import FAR, keys_of, refusal_of_mask

ADDED = torch.tensor([[0.5, -math.inf, 2.0 * FAR], [0.0, 1.0, -3.0]])


def test_truth_values_and_minus_infinity_leave_keys_out():
    causal = keys_of({"is_causal": True}, 2, 3)
    assert causal.kept.tolist() == [[True, False, False], [True, True, False]]
    assert keys_of({"attn_mask": ADDED > 0}, 2, 3).kept.tolist() == (ADDED > 0).tolist()
    added = keys_of({"attn_mask": ADDED}, 2, 3)
    assert added.kept.tolist() == [[True, False, True], [True, True, True]]
    assert added.near.tolist() == [[True, False, False], [True, True, True]]


def test_numbers_are_added_and_what_is_far_weighs_nothing():
    keys = keys_of({"attn_mask": ADDED}, 2, 3)
    raised = keys.raised(torch.ones(2, 3, dtype=torch.float64))
    assert raised[1].tolist() == [1.0, 2.0, -2.0]
    assert raised[0, 0] == 1.5
    sizes = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    assert torch.equal(keys.tail(sizes) + sizes, sizes)
    huge = keys.tail(sizes * 2.0**50)
    assert isinstance(huge, torch.Tensor)
    assert huge.isinf().any()


@pytest.mark.rows(
    ("arguments", "text"),
    [
        ({"attn_mask": ADDED, "is_causal": True}, "is_causal"),
        ({"attn_mask": torch.tensor([[math.nan]])}, "NaN or infinity"),
        ({"attn_mask": torch.tensor([[False, False]])}, "a query without keys"),
        ({"attn_mask": "computed"}, "computed of floats"),
    ],
)
def test_masks_that_are_refused(arguments, text):
    assert text in refusal_of_mask(arguments)
    assert not refusal_of_mask({"attn_mask": ADDED})
