"""No held-out photograph is ever among those to learn from."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq.data import Photograph, from_arrays, split_by_photograph
from certvq.errors import DataError, OptionError


def photographs(count):
    return from_arrays({f"p{i}": np.full((2, 2), i, np.uint8) for i in range(count)})


def heldout_keys(given_, **options):
    return {p.key for p in split_by_photograph(given_, **options).validation}


@settings(deadline=None)
@given(count=st.integers(2, 12), seed=st.integers(-5, 2**70), data=st.data())
def test_a_number_holds_out_as_many_and_loses_none(count, seed, data):
    heldout = data.draw(st.integers(1, count - 1))
    given_ = photographs(count)
    split = split_by_photograph(given_, heldout=heldout, seed=seed)
    assert len(split.validation) == heldout
    assert [p for p in given_ if p in split.train] == split.train
    assert [p for p in given_ if p in split.validation] == split.validation
    assert {p.key for p in (*split.train, *split.validation)} == {p.key for p in given_}


def test_the_choice_depends_on_the_seed_and_not_on_the_order():
    given_ = photographs(10)
    choices = [heldout_keys(given_, heldout=3, seed=seed) for seed in range(20)]
    assert [heldout_keys(given_[::-1], heldout=3, seed=seed) for seed in range(20)] == choices
    assert len(set(map(frozenset, choices))) > 10


def test_the_choice_is_the_documented_one():
    def rank(key):
        return hashlib.sha256(f"7:{key}".encode()).hexdigest()

    first = sorted([f"p{i}" for i in range(20)], key=rank)[:5]
    assert heldout_keys(photographs(20), heldout=5, seed=7) == set(first)


def test_one_more_photograph_displaces_at_most_one():
    for seed in range(30):
        before = heldout_keys(photographs(9), heldout=3, seed=seed)
        after = heldout_keys(photographs(10), heldout=3, seed=seed)
        assert len(before - after) <= 1


def test_keys_are_held_out_by_name_in_the_order_of_the_photographs():
    split = split_by_photograph(photographs(4), heldout=("p3", "p1"))
    assert [p.key for p in split.train] == ["p0", "p2"]
    assert [p.key for p in split.validation] == ["p1", "p3"]


@pytest.mark.parametrize("heldout", [0, -1, 4, 9, [], ["p0", "p1", "p2", "p3"]])
def test_both_parts_hold_at_least_one(heldout):
    with pytest.raises(OptionError, match=r"got \d of 4; hold out between 1 and 3"):
        split_by_photograph(photographs(4), heldout=heldout)


def test_an_unknown_key_is_named_with_those_known():
    with pytest.raises(OptionError, match="heldout names 'tom', which no photograph has; the keys"):
        split_by_photograph(photographs(3), heldout=["p1", "tom"])
    with pytest.raises(OptionError, match="p18, p19, ...$"):
        split_by_photograph(photographs(30), heldout=["tom"])
    with pytest.raises(OptionError, match="the keys are p0, p1, p2$"):
        split_by_photograph(photographs(3), heldout=["tom"])


def test_a_key_named_twice_is_refused():
    with pytest.raises(OptionError, match=r"heldout names a key twice: \['p1', 'p1'\]"):
        split_by_photograph(photographs(3), heldout=["p1", "p1"])


def test_a_single_text_is_no_list_of_keys():
    with pytest.raises(OptionError, match="a number or a list of keys, got the text 'p1'"):
        split_by_photograph(photographs(3), heldout="p1")


def test_the_same_pixels_on_both_sides_are_an_error():
    given_ = from_arrays({"a": np.ones((2, 2), np.uint8), "b": np.ones((2, 2), np.uint8)})
    with pytest.raises(DataError) as caught:
        split_by_photograph(given_, heldout=["b"])
    assert str(caught.value) == (
        "photograph 'b' is held out, but 'a' to learn from has the very same pixels; "
        "remove one of them"
    )


def test_the_files_of_the_same_pixels_are_named():
    given_ = [
        Photograph(key, np.ones((2, 2, 1), np.uint8), path=Path(f"{key}.png")) for key in "ab"
    ]
    with pytest.raises(DataError, match="^b.png and a.png: photograph 'b' is held out, but 'a' to"):
        split_by_photograph(given_, heldout=["b"])


def test_the_same_bytes_in_another_shape_are_another_picture():
    given_ = from_arrays({"a": np.ones((2, 3), np.uint8), "b": np.ones((3, 2), np.uint8)})
    assert heldout_keys(given_, heldout=["b"]) == {"b"}


def test_the_same_key_twice_is_an_error():
    with pytest.raises(DataError, match="two photographs have the key 'p0'"):
        split_by_photograph([*photographs(2), *photographs(1)], heldout=1)


def test_all_copies_on_both_sides_are_named():
    twins = [("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3)]
    given_ = from_arrays({key: np.full((2, 2), level, np.uint8) for key, level in twins})
    with pytest.raises(DataError, match="^2 problems: .*'b' is held out.*'d' is held out, but 'c'"):
        split_by_photograph(given_, heldout=["b", "d"])


@pytest.mark.parametrize(("copies", "count"), [([3, 1], 1), ([2, 2], 2), ([5, 1, 1], 1)])
def test_copies_stay_together_also_where_they_do_not_fit(copies, count):
    levels = [level for level, times in enumerate(copies) for _ in range(times)]
    given_ = from_arrays([np.full((2, 2), level, np.uint8) for level in levels])
    for seed in range(6):
        split = split_by_photograph(given_, heldout=1, seed=seed)
        assert len(split.validation) == count
        held, learnt = (
            {int(one.pixels.max()) for one in side} for side in (split.validation, split.train)
        )
        assert not held & learnt


def test_copies_of_one_picture_alone_cannot_be_split():
    given_ = from_arrays([np.zeros((2, 2), np.uint8)] * 3)
    with pytest.raises(
        DataError, match="all 3 photographs have the very same pixels, and at least"
    ):
        split_by_photograph(given_, heldout=1)
