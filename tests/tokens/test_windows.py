"""Windows hold what `Pattern.apply` gives, cut; every worker, process and epoch sees each once.

Also of `certvq.tokens._stream`.
"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from certvq.errors import OptionError
from certvq.tokens import DatasetWriter, Pattern, TokenDataset, TokenStream, export_tokens

PATTERNS = ["flat", "parallel", "delayed"]
OFFSETS = [None, (0, 1000)]


def sequences(expected, pattern):
    return [pattern.apply(row[3]) for row in expected()]


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("name", PATTERNS)
class TestWindows:
    @pytest.mark.rows("length", [1, 3, 5, 64])
    def test_rows_are_cut_and_padded(self, tokens_dir, expected, name, offsets, length):
        pattern = Pattern(name, (300, 7), offsets=offsets)
        wanted = []
        for steps in sequences(expected, pattern):
            full = np.full((-(-len(steps) // length) * length, *steps.shape[1:]), pattern.pad)
            full[: len(steps)] = steps
            wanted += np.split(full, len(full) // length)
        data = TokenDataset(tokens_dir, length=length, pattern=pattern)
        assert len(data) == len(wanted)
        assert data.batch(range(len(data))).tolist() == np.stack(wanted).tolist()
        assert data[len(data) - 2].tolist() == data[-2].tolist() == wanted[-2].tolist()
        assert data[0].dtype == torch.int64

    @pytest.mark.rows("length", [1, 3, 5, 64])
    def test_packed_rows_follow_each_other(self, tokens_dir, expected, name, offsets, length):
        pattern = Pattern(name, (300, 7), offsets=offsets)
        steps = np.concatenate(sequences(expected, pattern))
        data = TokenDataset(tokens_dir, length=length, pattern=pattern, pack=True)
        assert len(data) == -(-len(steps) // length)
        found = data.batch(range(len(data))).numpy().reshape(-1, *steps.shape[1:])
        assert found[: len(steps)].tolist() == steps.tolist()
        assert (found[len(steps) :] == pattern.pad).all()

    def test_without_a_length_items_are_rows(self, tokens_dir, expected, name, offsets):
        pattern = Pattern(name, (300, 7), offsets=offsets)
        data = TokenDataset(tokens_dir, pattern=pattern)
        assert [row.tolist() for row in data] == [s.tolist() for s in sequences(expected, pattern)]


def test_indices_out_of_range_are_refused(tokens_dir):
    data = TokenDataset(tokens_dir, length=4)
    with pytest.raises(IndexError, match=rf"the set has {len(data)} items, got {len(data)}"):
        data[len(data)]
    with pytest.raises(IndexError, match="got -1 to 2"):
        data.batch([2, -1])
    with pytest.raises(OptionError, match="batch needs windows"):
        TokenDataset(tokens_dir).batch([0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"length": 0}, "length must be at least 1"),
        ({"pack": True}, "given to pack rows, got None"),
        ({"pattern": Pattern("flat", (300, 8))}, r"codebooks of \(300, 8\) codes, the set of"),
        ({"pattern": "spiral"}, "pattern must be flat"),
    ],
)
def test_options_that_are_not_possible_are_refused(tokens_dir, options, text):
    with pytest.raises(OptionError, match=text):
        TokenDataset(tokens_dir, **options)


def test_codes_are_mapped_not_copied(tokens_dir):
    data = TokenDataset(tokens_dir, length=4)
    assert data._stream.dtype == np.uint16
    base = data._stream
    while not isinstance(base, np.memmap):
        base = base.base
    assert len(pickle.dumps(data)) < 2000
    assert pickle.loads(pickle.dumps(data))[3].tolist() == data[3].tolist()  # noqa: S301


def test_codes_are_laid_out_once_and_anew_for_another_set(tokens_dir, make_set, tmp_path):
    stages = []
    TokenDataset(tokens_dir, progress=lambda *report: stages.append(report))
    assert stages[-1][0] == "writing"
    stages.clear()
    TokenDataset(tokens_dir, progress=lambda *report: stages.append(report))
    assert stages == []
    other = make_set("other", rows=5)
    found = TokenDataset(other, cache=tokens_dir / ".flat")
    assert len(found) == 12
    assert not (other / ".flat").exists()


def test_codes_of_an_older_state_are_removed(tmp_path, make_job, columns_of):
    with DatasetWriter(tmp_path / "set", make_job()) as writer:
        for number in (0, 1):
            writer.write(number, columns_of(number))
    before = TokenDataset(tmp_path / "set")
    first = before[3].tolist()
    with DatasetWriter(tmp_path / "set", make_job()) as writer:
        writer.write(2, columns_of(2))
    assert (len(before), len(TokenDataset(tmp_path / "set"))) == (38, 57)
    assert len([path for path in (tmp_path / "set/.flat").iterdir() if path.is_dir()]) == 1
    assert before[3].tolist() == first


def test_a_set_without_rows_has_no_windows(tmp_path, make_job):
    with DatasetWriter(tmp_path / "set", make_job()):
        pass
    for options in ({}, {"length": 4}, {"length": 4, "pack": True}):
        assert len(TokenDataset(tmp_path / "set", **options)) == 0


def test_processes_that_come_at_once_lay_codes_out_once(tokens_dir):
    """Both open a set that is not laid out: one waits for the other."""
    code = f"""
from certvq.tokens import TokenDataset
stages = []
data = TokenDataset({str(tokens_dir)!r}, progress=lambda *report: stages.append(report))
print(len(data), bool(stages))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = [process.communicate()[0].split() for process in both]
    assert [line[0] for line in found] == ["57", "57"]
    assert sorted(line[1] for line in found) == ["False", "True"]


def test_an_export_to_npy_is_read_as_it_is(tokens_dir, tmp_path):
    export_tokens(tokens_dir, tmp_path / "npy", "npy")
    one, other = (TokenDataset(path, length=4) for path in (tokens_dir, tmp_path / "npy"))
    assert one.batch(range(len(one))).tolist() == other.batch(range(len(other))).tolist()


def seen(batches):
    return sorted(tuple(window.tolist()) for batch in batches for window in batch)


@pytest.fixture
def data(make_set):
    """Windows of which no two are equal."""
    data = TokenDataset(make_set(sizes=(1 << 40,), rows=40), length=3)
    windows = seen([data.batch(range(len(data)))])
    assert len(set(windows)) == len(windows) > 90
    return data, windows


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
def test_four_workers_see_each_window_once(data):
    data, windows = data
    options = {"num_workers": 4, "multiprocessing_context": "fork"}
    stream = TokenStream(data, shuffle=16)
    assert seen(DataLoader(stream, batch_size=5, **options)) == windows
    assert seen(DataLoader(data, batch_size=5, shuffle=True, **options)) == windows
    batches = BatchSampler(SequentialSampler(data), 5, drop_last=False)
    assert seen(DataLoader(data, sampler=batches, batch_size=None, **options)) == windows


def test_processes_share_the_windows(data):
    data, windows = data
    ranks = [TokenStream(data, rank=rank, world=4, shuffle=9) for rank in range(4)]
    assert seen([list(stream) for stream in ranks]) == windows
    assert [len(list(stream)) for stream in ranks] == [len(stream) for stream in ranks]
    even = [TokenStream(data, rank=rank, world=4, even=True) for rank in range(4)]
    assert {len(list(stream)) for stream in even} == {len(data) // 4}


def test_the_order_is_that_of_seed_and_epoch(data):
    data, windows = data
    plain = [window.tolist() for window in TokenStream(data)]
    assert plain == [data[index].tolist() for index in range(len(data))]
    stream = TokenStream(data, shuffle=16, seed=5)
    first, again = ([window.tolist() for window in stream] for _ in range(2))
    assert first == again != plain
    stream.set_epoch(1)
    second = [window.tolist() for window in stream]
    assert second != first
    assert seen([stream]) == windows
    places = [first.index(window) for window in plain]
    assert (
        max(np.arange(len(places)) - places) <= 16
    )  # no window comes earlier than the buffer allows


def test_workers_that_stay_see_the_next_epoch(data):
    data, windows = data
    stream = TokenStream(data, shuffle=16)
    loader = DataLoader(
        stream,
        batch_size=5,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    first = [batch.tolist() for batch in loader]
    stream.set_epoch(1)
    second = [batch.tolist() for batch in loader]
    assert first != second
    assert seen([torch.tensor(batch) for batch in second]) == windows


@pytest.mark.parametrize("options", [{"shuffle": -1}, {"rank": 2, "world": 2}, {"rank": -1}])
def test_streams_that_are_not_possible_are_refused(data, options):
    with pytest.raises(OptionError, match="shuffle must be at least 0 and rank in range"):
        TokenStream(data[0], **options)
