"""Mixed radix: exact integers both ways, up to 2^63 - 1."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from certvq.nn._scalar.radix import join_digits, place_values, split_codes

levels_and_digits = st.lists(
    st.integers(1, 4096).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    min_size=1,
    max_size=40,
).filter(lambda pairs: math.prod(n for n, _ in pairs) <= 2**63)


@given(levels_and_digits)
def test_digits_and_codes_are_the_same_number(pairs):
    levels = tuple(n for n, _ in pairs)
    digits = [i for _, i in pairs]
    code = sum(i * place for i, place in zip(digits, place_values(levels), strict=True))
    column = torch.tensor(digits)[:, None]
    assert join_digits(column, levels).tolist() == [code]
    assert join_digits(column.short(), levels).tolist() == [code]
    assert split_codes(torch.tensor([code]), levels).tolist() == column.tolist()
