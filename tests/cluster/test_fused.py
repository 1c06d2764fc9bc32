"""Passes that read only rows in doubt, against passes that look at every row."""

import numpy as np
import pytest
import torch

import certvq
from certvq import _native
from certvq.assign._watch import watching
from certvq.cluster._fused import Fused
from certvq.cluster._grid import Extent, OffGrid
from certvq.cluster._moves import WeightedSums
from certvq.cluster._pass import LocalPass
from certvq.cluster._problem import measured
from certvq.cluster._source import open_source
from certvq.cluster._sums import Grids
from certvq.errors import DataError

from ._exactly import TYPES, numbers, tensor

pytestmark = pytest.mark.skipif(not _native.AVAILABLE, reason="the kernel was not built")
RNG = np.random.default_rng(16)
FAR = 40.0 * RNG.integers(-3, 4, (300, 1)) + RNG.standard_normal((300, 5))
KINDS = {
    "far": FAR,
    "ties": RNG.integers(-2, 3, (300, 2)).astype(float),
    "duplicates": np.repeat(RNG.standard_normal((10, 3)), 30, axis=0),
    "subnormal": RNG.integers(-9, 9, (200, 2)) * 2.0**-149,
    "offset": 2.0**27 + 40.0 * RNG.standard_normal((300, 4)),
    "wide": RNG.standard_normal((400, 33)),
}
CODES = {"wide": 260}
"""So many that the codebook is not compared directly, in any type."""


def passes(data, weights=None):
    """Return a pass that reads what is in doubt, and one that reads all, over the same rows."""
    problem = measured(open_source(data), weights, "euclidean", 1)
    look, every = (
        LocalPass(problem.source, problem.grids, problem.weights, problem.count) for _ in range(2)
    )
    every._fused = None
    assert look._fused is not None
    return look, every


def same(look, every, codebook, *, first=False):
    found, expected = (each.tally(codebook, squares=first) for each in (look, every))
    assert np.array_equal(look.codes, every.codes)
    assert np.array_equal(found.sums.digits, expected.sums.digits)
    assert np.array_equal(found.sums.counts, expected.sums.counts)
    assert (found.sums.mass is None) == (expected.sums.mass is None)
    assert found.sums.mass is None or np.array_equal(found.sums.mass, expected.sums.mass)
    assert found.squares == expected.squares
    return look.codes.copy()


def left_alone(look):
    fused = look._fused
    return int((fused._drift.both[fused._codes] < fused._leads).sum())


@pytest.mark.rows(("kind", "number"), [(kind, number) for kind in KINDS for number in TYPES])
def test_moving_codes_give_the_codes_and_sums_of_all_rows(kind, number):
    """Codes move a little and far, to where others were, onto each other, and not at all."""
    rows = KINDS[kind] if (kind, number) != ("offset", "float16") else KINDS[kind] / 2**14
    data = tensor(rows * 2.0**125 if (kind, number) == ("subnormal", "float16") else rows, number)
    look, every = passes(data)
    codebook = numbers(data[: CODES.get(kind, 9)]).astype(np.float32)
    spread = float(np.ptp(codebook))
    before = same(look, every, codebook, first=True)
    changed = 0
    for step in range(12):
        codebook = codebook.copy()
        if step % 4 == 1:
            codebook[[0, 1]] = codebook[[1, 0]]
        if step == 6:
            codebook[2] = codebook[3]
        if step == 8:
            codebook[2] = numbers(data[-1])
        if step % 3:
            way = RNG.standard_normal(codebook.shape) * spread * 10.0 ** -RNG.integers(1, 6)
            codebook = numbers(tensor(codebook + way, number)).astype(np.float32)
        codes = same(look, every, codebook)
        changed += int((codes != before).sum())
        before = codes
    assert changed or kind in ("duplicates", "subnormal", "offset")  # few numbers in some types


def far_codes(size):
    return np.concatenate([-50.0 - np.arange(size) / 8, 60.0 + np.arange(size) / 8])


LINES = {
    "direct": ("float32", 1, [0.0, 10.0]),
    "filter": ("float64", 1, [0.0, 10.0]),
    "one lane": ("float64", 9, [0.0, *far_codes(64)[:63], 10.0, *far_codes(64)[63:]]),
    "two panels": ("float64", 1, [0.0, 10.0, *far_codes(2047)]),
}
"""Types, dims and codes on a line. The codes 0 and 10 are side by side; or in one lane of the
filter, which remembers two of each; or in two panels, the farther of which is left out."""


@pytest.mark.rows("name", LINES)
def test_a_lead_ends_where_the_codes_use_it_up(name):
    """On a line the bounds are tight: codes that move alike meet them."""
    number, dim, codes = LINES[name]
    rows, codebook = (
        np.pad(np.array(line)[:, None], ((0, 0), (0, dim - 1))).astype(number)
        for line in (np.linspace(0.0, 10.0, 4001), codes)
    )
    moving = [0, codes.index(10.0)]
    look, every = passes(rows)
    before = same(look, every, codebook, first=True)
    for step in range(60):
        codebook = codebook.copy()
        codebook[moving, 0] -= [2.0**-5, 2.0**-5 if step % 2 else 0.125]
        codes = same(look, every, codebook)
        assert (codes != before).any()
        assert left_alone(look) > (0 if name == "two panels" else 2000)
        before = codes


@pytest.mark.rows("number", TYPES)
def test_a_second_look_finds_rows_that_change_their_code(number):
    """A code that jumps about puts all rows in doubt; those in the middle of the line need more
    than a look at it, because the codes at its ends move a little."""
    rows, codebook = (
        np.pad(np.array(line)[:, None], ((0, 0), (0, 32)))
        for line in (np.linspace(0.0, 8.0, 2049), [0.0, 8.0, *far_codes(130)])
    )
    codebook = codebook.astype(np.float32)
    look, every = passes(tensor(rows, number))
    before = same(look, every, codebook, first=True)
    measured, changes = 0, 0
    for step in range(24):
        codebook = codebook.copy()
        codebook[[2, 3, -1]] = 0.0
        codebook[[2, 3], [1, 2]] = 90.0 + step % 2 * 200.0
        codebook[-1, 0] = [-40.0, 40.0, 4.0][step % 3]
        codebook[[0, 1], 0] -= [2.0**-6, 2.0**-6 if step % 2 else 2.0**-4]
        seen = look._fused._lowers.copy()
        now = codebook.copy()
        if step % 8 == 5:  # so few distinct ones that they are compared directly
            now[9:40] = now[9]
        codes = same(look, every, now)
        measured += int((look._fused._lowers != seen).sum())
        changes += int((codes != before).sum())
        before = codes
    assert 0 < changes < measured


WEIGHTS = {
    "ones": np.ones(300),
    "whole": RNG.integers(0, 4, 300),
    "uneven": np.where(
        RNG.random(300) < 0.3, 0.0, RNG.random(300) * 2.0 ** RNG.integers(-40, 9, 300)
    ),
    "far": 2.0 ** RNG.choice([-1000.0, 3.0, 900.0], 300),
}


@pytest.mark.rows(("kind", "number"), [(kind, number) for kind in WEIGHTS for number in TYPES])
def test_weighted_rows_move_from_cell_to_cell(kind, number):
    """Weights of zero too: such rows have codes and are counted, and their sums are nothing."""
    data = tensor(FAR, number)
    look, every = passes(data, WEIGHTS[kind])
    codebook = numbers(data[:9]).astype(np.float32)
    before = same(look, every, codebook, first=True)
    changed = 0
    for step in range(8):
        way = RNG.standard_normal(codebook.shape) * 30.0 * 4.0**-step
        codebook = numbers(tensor(codebook + way, number)).astype(np.float32)
        codes = same(look, every, codebook)
        changed += int((codes != before).sum())
        before = codes
    assert changed
    assert look._fused is not None, "the kernel was not left"


def test_a_weighted_row_leaves_nothing_behind():
    grids = Grids(Extent(0, 4), Extent(0, 2))
    rows, weights = np.array([[3.0], [5.0]]), np.array([2.0, 0.0])
    sums = WeightedSums(grids, weights, 2, 1)
    before = np.array([-1, -1])
    for after in (np.array([0, 0]), np.array([1, 0]), np.array([1, 1])):
        sums.move(0, rows, before, after)
        before = after
        at = int(after[0])
        assert sums.sums.integers() == [[6 * (1 - at)], [6 * at]]
        assert sums.sums.masses() == [2 * (1 - at), 2 * at]
        assert sums.sums.counts.tolist() == np.bincount(after, minlength=2).tolist()


@pytest.mark.rows("apart", [0.0, 300.0])
def test_rows_on_a_border_are_not_decided_in_float32(apart):
    """Far from the centre, float32 products tell borders less well than float32 distances."""
    codebook = RNG.standard_normal((8, 6)).astype(np.float32)
    codebook[:4] += np.float32(apart)
    ends = RNG.integers(0, 4, (2, 3000))
    middle = (codebook[ends[0]] + codebook[ends[1]]) / 2
    rows = middle * (1 + RNG.integers(-2, 3, middle.shape) * np.float32(2.0**-23))
    same(*passes(rows.astype(np.float32)), codebook, first=True)


def test_what_the_kernel_does_not_take_goes_through_numpy():
    huge = RNG.integers(1, 9, (50, 2)) * 2.0**450
    look, every = passes(huge)
    assert look._fused.tally([(0, huge)], huge[:3], squares=True) is None
    same(look, every, huge[:3], first=True)
    assert Fused.fits(Grids(Extent(0, 88)))
    assert not Fused.fits(Grids(Extent(0, 89)))
    assert not Fused.fits(Grids(Extent(-1040, -1000)))


def test_passes_that_are_watched_or_spoilt_read_all():
    look, every = passes(FAR)
    seen = []
    with watching(lambda found, codebook: seen.append(found)):
        same(look, every, FAR[:6], first=True)
    assert len(seen) == 2
    same(look, every, FAR[6:12])
    look, every = passes(FAR)
    same(look, every, FAR[:6], first=True)
    look.codes[7] = 99
    same(look, every, FAR[1:7])
    assert look._fused is None


def test_numbers_off_the_grid_are_noticed_where_they_are_read():
    rows = RNG.integers(1, 9, (40, 2)).astype(np.float64)
    grids = Grids(Extent(0, 4))
    for value, text in ((16.0, "greater than any"), (0.5, "finer steps"), (-16.0, "greater")):
        changed = rows.copy()
        changed[11, 1] = value
        fused = Fused(grids, np.zeros(40, np.int64))
        with pytest.raises(OffGrid, match=text):
            fused.tally([(0, changed)], rows[:3], squares=True)


def test_batches_that_grow_are_named():
    batches = iter([FAR, FAR, FAR, np.concatenate([FAR, FAR])])
    with pytest.raises(DataError, match="the first had 300 rows with .* a later one 600 rows"):
        certvq.kmeans(lambda: [next(batches)], 9, start=FAR[:9])


@pytest.mark.rows(("threads", "bits"), [(1, 56), (2, 56), (3, 57), (2, 88)])
def test_sums_are_carried_before_they_overflow(threads, bits, monkeypatch):
    """Here a grid of 56 bits lets 64 rows be added, one of 88 bits as many, of 57 very many."""
    monkeypatch.setenv("CERTVQ_NUM_THREADS", str(threads))
    rows = np.full((200_000, 1), 2.0**bits - 2.0 ** (bits - 53))
    rows[::3] *= -1.0
    rows[5] = 1.0
    fused = Fused(Grids(Extent(0, bits)), np.zeros(len(rows), np.int64))
    sums, squares = fused.tally([(0, rows)], np.array([[0.0], [2.0**99]]), squares=True)
    exact = sum(int(x) for x in rows[:, 0])
    assert sums.integers() == [[exact], [0]]
    assert squares is None or squares == sum(int(x) ** 2 for x in rows[:, 0])
    flipped, _ = fused.tally([(0, rows)], np.array([[2.0**99], [0.0]]), squares=False)
    assert flipped.integers() == [[0], [exact]]


def test_layouts_of_rows_are_read_alike():
    rows = np.ascontiguousarray(FAR, np.float32)
    found = certvq.kmeans(rows, 8, iterations=9)
    odd = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].view(np.float32).reshape(rows.shape)
    for other in (rows.astype(np.float32, order="F"), odd, torch.from_numpy(rows)[:, :]):
        assert np.array_equal(
            numbers(certvq.kmeans(other, 8, iterations=9).codebook), found.codebook
        )
