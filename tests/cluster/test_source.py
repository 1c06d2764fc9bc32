"""Data that are read block by block: batches, memory maps, changes between passes, checkpoints."""

import signal
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import certvq
from certvq.cluster import _source
from certvq.cluster._checkpoint import load_state
from certvq.cluster._costs import no_costs
from certvq.cluster._grid import extent_of
from certvq.cluster._pass import LocalPass
from certvq.cluster._sums import Grids
from certvq.errors import DataError, DTypeError, FileFormatError, OptionError, ShapeError

RNG = np.random.default_rng(8)
ROWS = RNG.standard_normal((400, 3))


def test_a_memory_map_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(_source, "BLOCK", 100)
    np.save(tmp_path / "rows.npy", ROWS)
    found = certvq.kmeans(np.load(tmp_path / "rows.npy", mmap_mode="r"), 9)
    monkeypatch.undo()
    whole = certvq.kmeans(ROWS, 9)
    assert np.array_equal(found.codebook, whole.codebook)
    assert found.history == whole.history


def test_batches_must_be_readable_again():
    with pytest.raises(DataError, match=r"got an iterator \(generator\), which is used up"):
        certvq.kmeans((batch for batch in np.split(ROWS, 4)), 9)
    with pytest.raises(ShapeError, match="data must have at least one batch"):
        certvq.kmeans(list, 9)
    passes = iter([ROWS, ROWS, ROWS, ROWS[::-1]])
    with pytest.raises(
        DataError, match="the first had 400 rows with SHA-256 .* a later one 400 rows"
    ):
        certvq.kmeans(lambda: [next(passes)], 9, start=ROWS[:9])
    passes = iter([ROWS, ROWS, ROWS, ROWS[:5]])
    with pytest.raises(DataError, match="a later one 5 rows with"):
        certvq.kmeans(lambda: [next(passes)], 9, start=ROWS[:9])


def test_batches_must_be_of_one_kind():
    with pytest.raises(ShapeError, match="3 columns like batch 0, batch 1 has shape \\(4, 2\\)"):
        certvq.kmeans([ROWS, np.zeros((4, 2))], 2)
    with pytest.raises(DTypeError, match="float64 like batch 0, batch 1 is float32"):
        certvq.kmeans([ROWS, ROWS.astype(np.float32)], 2)
    with pytest.raises(ShapeError, match="batch 1 of the data must have two axes"):
        certvq.kmeans([ROWS, ROWS[0]], 2)


def test_an_array_that_changes_is_noticed():
    rows = ROWS.copy()

    def grow(stage, done, total):
        rows[7, 1] = 1e9 if stage == "iterations" else rows[7, 1]

    with pytest.raises(DataError, match="must not change .* there is a number greater than any"):
        certvq.kmeans(rows, 9, progress=grow)


def shards(weights):
    extent = extent_of(ROWS)
    for cut in np.array_split(np.arange(400), 3):
        own = None if weights is None else weights[cut]
        grids = Grids(extent, None if weights is None else extent_of(weights))
        yield LocalPass(_source.ArraySource(ROWS[cut]), grids, own, len(cut))


@pytest.mark.rows("weights", [None, RNG.random(400)])
def test_passes_of_shards_merge_to_the_pass_of_all(weights):
    book = ROWS[:6]
    grids = Grids(extent_of(ROWS), None if weights is None else extent_of(weights))
    whole = LocalPass(_source.ArraySource(ROWS), grids, weights, 400)
    tally, costs = whole.tally(book, squares=True), whole.costs(book)
    for order in ((0, 1, 2), (2, 0, 1)):
        parts = list(shards(weights))
        tallies = [part.tally(book, squares=True) for part in parts]
        merged = tallies[order[0]].merge(tallies[order[1]]).merge(tallies[order[2]])
        assert merged.squares == tally.squares
        assert np.array_equal(merged.sums.digits, tally.sums.digits)
        found = no_costs(6, 3)
        for place in order:
            found = found.merge(parts[place].costs(book))
        unit = Fraction(2) ** found.lowest
        assert [c * unit for c in found.costs] == [
            c * Fraction(2) ** costs.lowest for c in costs.costs
        ]
        assert np.array_equal(found.sqdist, costs.sqdist)
        assert np.array_equal(found.farthest, costs.farthest)


KILLED = """
import os, signal, sys
import numpy as np, certvq
rows = np.random.default_rng(8).standard_normal((400, 3))
def progress(stage, done, total):
    if stage == "iterations" and done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
certvq.kmeans(rows, 9, checkpoint=sys.argv[1], progress=progress)
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    path = tmp_path / "state.npz"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    seen = []
    found = certvq.kmeans(ROWS, 9, checkpoint=path, progress=lambda *a: seen.append(a))
    whole = certvq.kmeans(ROWS, 9)
    assert seen[0] == ("iterations", 5, 25)
    assert found.codebook.tobytes() == whole.codebook.tobytes()
    assert (found.history, found.stopped) == (whole.history, whole.stopped)
    assert np.array_equal(found.codes, whole.codes)
    assert np.array_equal(found.splits, whole.splits)
    more = certvq.kmeans(ROWS, 9, checkpoint=path, iterations=60)
    assert more.history == certvq.kmeans(ROWS, 9, iterations=60).history


def test_a_checkpoint_belongs_to_its_data_and_options(tmp_path):
    path = tmp_path / "state.npz"
    certvq.kmeans(ROWS, 9, checkpoint=path, iterations=2)
    for data, options in (
        (ROWS + 1, {}),
        (ROWS, {"seed": 1}),
        (ROWS, {"metric": "cosine"}),
        (ROWS, {"empty": "keep"}),
        (ROWS, {"weights": np.ones(400)}),
        (ROWS, {"start": ROWS[:9]}),
    ):
        with pytest.raises(OptionError, match="is the checkpoint of other data or options"):
            certvq.kmeans(data, 9, checkpoint=path, **options)
    assert certvq.kmeans(np.asfortranarray(ROWS), 9, checkpoint=path, iterations=2).iterations == 2


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "state.npz"
    certvq.kmeans(ROWS, 9, checkpoint=path, iterations=1)
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[:200], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="is no checkpoint of k-means, or a damaged one"):
            load_state(path, "00")
    np.savez(path, format=np.int64(9), **{n: np.zeros(1) for n in FIELDS})
    with pytest.raises(FileFormatError, match="has format 9, required is 1"):
        load_state(path, "00")
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]


FIELDS = ("fingerprint", "codebook", "history", "splits", "squares")


def test_a_folder_is_no_checkpoint_and_a_function_must_return_batches(tmp_path):
    with pytest.raises(OptionError, match="is a folder, pipe or device; name a file"):
        certvq.kmeans(np.eye(4), 2, checkpoint=tmp_path)
    with pytest.raises(DataError, match="returns an iterator of batches, it returned int"):
        certvq.kmeans(lambda: 5, 2)
