"""Batches add up, and tokens after a flip are counted apart."""

import numpy as np
import pytest

from certvq.inspect._stability.compare import Tokens
from certvq.inspect._stability.levels import Level
from certvq.inspect._stability.record import Place
from certvq.inspect._stability.tally import Tally


def tokens(noise, flipped=(), radius=1.0, inexact=()):
    count = len(noise)
    return Tokens(
        np.array(noise, dtype=np.float64),
        np.full(count, radius),
        np.isin(np.arange(count), flipped),
        np.isin(np.arange(count), inexact),
    )


def results(levels, *batches):
    names = {place.layer for batch in batches for place in batch}
    tally = Tally(dict.fromkeys(names, "Kind"), levels, measured=True)
    for batch in batches:
        tally.add(batch, dict.fromkeys(batch, (4, 2)), {})
    return tally.results()


def place(layer, call=0, part=(0, 0)):
    return Place(layer, call, part)


def test_batches_and_calls_are_one_after_another():
    """Tokens are numbered through; calls that are no levels belong to one codebook."""
    first = {place("q"): tokens([0.5, 2.0], [1]), place("q", 1): tokens([3.0], inexact=[0])}
    (found,) = results({}, first, {place("q"): tokens([0.25, 4.0, 5.0], [2])})
    assert (found.name, found.kind, found.tokens) == ("q", "Kind", 6)
    assert (found.codebook_size, found.dim, found.inexact) == (4, 2, 1)
    assert found.could_flip.tolist() == [1, 2, 4, 5]
    assert found.flipped.tolist() == [1, 5]
    assert found.after_flip.tolist() == []
    assert (found.noise.least, found.noise.greatest) == (0.25, 5.0)
    assert found.radius.median == 1.0


def test_later_levels_leave_tokens_out_after_a_flip():
    levels = {"l0": Level("", 0), "l1": Level("", 1), "l2": Level("", 2)}
    batch = {
        place("l0"): tokens([2.0, 0.1, 0.1, 0.1], [0]),
        place("l1"): tokens([9.0, 2.0, 0.1, 0.1], [0, 1]),
        place("l2"): tokens([9.0, 9.0, 2.0, 0.1], [0, 2]),
    }
    found = results(levels, batch)
    assert [each.after_flip.tolist() for each in found] == [[], [0], [0, 1]]
    assert [each.flipped_after for each in found] == [0, 1, 1]
    assert [each.could_flip.tolist() for each in found] == [[0], [1], [2]]
    assert [each.flipped.tolist() for each in found] == [[0], [1], [2]]
    assert [each.noise.greatest for each in found] == [2.0, 2.0, 2.0]


def test_a_shared_level_is_told_by_its_calls():
    batch = {place("l", call): tokens([2.0, 2.0], [call]) for call in range(2)}
    found = results({"l": Level("", 0)}, batch)
    assert [each.name for each in found] == ["l[0]", "l[1]"]
    assert [each.after_flip.tolist() for each in found] == [[], [0]]


@pytest.mark.parametrize(
    ("layers", "levels"),
    [
        (["a", "b"], {}),
        (["a", "b"], {"a": Level("x", 0), "b": Level("y", 1)}),
        (["a", "b"], {"a": Level("x", 0), "b": Level("x", 0)}),
        (["a", "b"], {"a": Level("x", 0)}),
    ],
)
def test_other_layers_do_not_follow(layers, levels):
    """Layers of no residual quantizer, of two, of one level, and one beside a level."""
    batch = {place(name): tokens([2.0, 2.0], [0]) for name in layers}
    assert [each.after_flip.tolist() for each in results(levels, batch)] == [[], []]


def test_codebooks_side_by_side_do_not_follow_each_other():
    levels = {"a": Level("", 0), "b": Level("", 1)}
    batch = {
        place("a", part=(0, 0)): tokens([2.0, 2.0], [0]),
        place("a", part=(0, 1)): tokens([2.0, 2.0], [1]),
        place("b"): tokens([2.0, 2.0]),
    }
    found = results(levels, batch)
    assert [each.name for each in found] == ["a[0]", "a[1]", "b"]
    assert [each.after_flip.tolist() for each in found] == [[], [], [0, 1]]


def test_the_numbers_of_tokens_cannot_be_written():
    (found,) = results({}, {place("q"): tokens([2.0])})
    with pytest.raises(ValueError, match="read-only"):
        found.could_flip[0] = 3
