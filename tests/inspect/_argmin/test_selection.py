"""Calls that choose codes, and results with other codes in them."""

import pytest
import torch

from certvq.inspect._argmin.selection import (
    chosen_along,
    other_choice,
    read_ranking,
    read_selection,
)

S = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
CODES = torch.tensor([2, 0])


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(
    ("func", "sign"),
    [
        (torch.argmin, 1),
        (torch.argmax, -1),
        (torch.Tensor.argmin, 1),
        (torch.Tensor.argmax, -1),
        (torch.min, 1),
        (torch.max, -1),
        (torch.Tensor.min, 1),
        (torch.Tensor.max, -1),
    ],
)
def test_an_argmin_is_read_and_answered(func, sign, keepdim):
    for dim in (1, -1):
        own = func(S, dim=dim, keepdim=keepdim)
        selection = read_selection(func, (S, dim, keepdim), {})
        assert selection.sign == sign
        assert torch.equal(selection.codes_in(own), (sign * S).argmin(1))
        answer = selection.result_with((sign * S).argmin(1))
        other = selection.result_with(CODES)
        if selection.gives_values:
            assert type(answer) is type(own)
            assert torch.equal(answer.values, own.values)
            assert torch.equal(other.values.flatten(), torch.tensor([2.0, 0.0]))
            own, answer, other = own.indices, answer.indices, other.indices
        assert torch.equal(answer, own)
        assert other.shape == own.shape
        assert torch.equal(other.flatten(), CODES)


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.argmin, (S,), {}),
        (torch.argmin, (S, 0), {}),
        (torch.max, (S, S), {}),
        (torch.max, (S,), {}),
        (torch.argmax, (S.long(), 1), {}),
        (torch.sum, (S, 1), {}),
        (torch.argmin, (torch.tensor(1.0), 0), {}),
        (torch.argmin, (S, 1), {"out": CODES}),
    ],
)
def test_other_calls_choose_no_codes(func, args, kwargs):
    assert read_selection(func, args, kwargs) is None


@pytest.mark.parametrize("names", [("dim", "keepdim"), ("axis", "keepdims")])
def test_named_arguments_are_read(names):
    """By the names of numpy too, which torch takes."""
    given = dict(zip(names, (1, True), strict=True))
    selection = read_selection(torch.argmin, (), {"input": S, **given})
    assert selection.scores is S
    assert selection.result_with(CODES).shape == torch.argmin(S, **given).shape == (2, 1)


def test_other_ways_to_choose_are_seen():
    assert other_choice(torch.topk, (S, 1)) is S
    assert other_choice(torch.Tensor.sort, (S,)) is S
    assert other_choice(torch.Tensor.numpy, (S,)) is S
    assert other_choice(torch.argmin, (S, 1)) is None
    assert other_choice(torch.sort, (S.long(),)) is None


@pytest.mark.parametrize("func", [torch.topk, torch.Tensor.topk])
@pytest.mark.parametrize(("largest", "sign"), [(True, -1), (False, 1)])
def test_a_ranking_is_read_and_answered(func, largest, sign):
    own = func(S, 2, -1, largest)
    selection = read_ranking(func, (S, 2), {"largest": largest})
    assert (selection.sign, selection.count) == (sign, 2)
    right = (sign * S).argsort(1)[:, :2]
    assert torch.equal(selection.codes_in(own), right)
    answer = selection.result_with(right)
    assert type(answer) is type(own)
    assert torch.equal(answer.values, own.values)
    assert torch.equal(answer.indices, own.indices)
    other = selection.result_with(torch.tensor([[1, 0], [1, 2]]))
    assert torch.equal(other.values, torch.tensor([[1.0, 3.0], [5.0, 4.0]]))


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.argmin, (S, 1), {}),
        (torch.topk, (S, 2, 0), {}),
        (torch.topk, (S.long(), 2), {}),
        (torch.topk, (S, 2), {"out": (S, CODES)}),
    ],
)
def test_other_calls_rank_no_codes(func, args, kwargs):
    assert read_ranking(func, args, kwargs) is None


def test_named_arguments_of_a_ranking_are_read():
    selection = read_ranking(torch.topk, (), {"input": S, "k": 1, "dim": 1})
    assert selection.scores is S
    assert (selection.count, selection.sign) == (1, -1)


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "shape"),
    [
        (torch.argmin, (S, 0), {}, (3, 2)),
        (torch.Tensor.min, (S,), {"dim": -1}, (2, 3)),
        (torch.argsort, (S,), {}, (2, 3)),
        (torch.topk, (S, 1, 0), {}, (3, 2)),
        (torch.kthvalue, (S, 1), {}, (2, 3)),
        (torch.argmin, (S,), {}, None),
        (torch.topk, (S[0], 1), {}, None),
        (torch.max, (S, S), {}, None),
        (torch.sum, (S, 1), {}, None),
    ],
)
def test_the_axis_of_a_choice_comes_last(func, args, kwargs, shape):
    assert chosen_along(func, args, kwargs) == shape


def test_one_row_of_scores_needs_no_axis():
    assert read_selection(torch.Tensor.argmin, (S[0],), {}).codes_in(S[0].argmin()) == 1
