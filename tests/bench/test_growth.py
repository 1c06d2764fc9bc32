"""Time per row as N, K and D grow, with tiny sizes."""

import json

import numpy as np
import pytest

from certvq.bench import GrowthConfig, _growth, bench_growth
from certvq.bench import _measure as measuring
from certvq.bench._cells import Cell
from certvq.bench._contender import Contender
from certvq.errors import BackendUnavailableError, OptionError

pytestmark = pytest.mark.slow

CELLS = {
    "rows": [Cell(8, 4, 2), Cell(40, 4, 2)],
    "codebook_size": [Cell(8, 4, 2)],
    "dim": [Cell(8, 4, 3)],
}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(measuring, "PAUSE", 0.0)
    monkeypatch.setattr(measuring, "SHORTEST", 0.0)
    monkeypatch.setattr(_growth, "BLOCK", 16)
    monkeypatch.setattr(GrowthConfig, "panels", lambda self: CELLS)


@pytest.fixture
def peer(monkeypatch):
    """Put a peer in the place of FAISS; tell the numbers of rows that it was given."""
    sizes = []

    def search(latents):
        sizes.append(len(latents))
        return np.zeros(len(latents), np.int64)

    def use(modules=()):
        every = _real("auto")
        every["faiss"] = Contender("faiss", modules, lambda codebook: search)
        monkeypatch.setattr(_growth, "contenders", lambda backend: every)
        return sizes

    _real = _growth.contenders
    return use


def config(**changes):
    return GrowthConfig(**{"rounds": 1, "threads": 1, **changes})


def test_the_record_is_returned_and_written(peer, tmp_path):
    peer()
    calls = []
    found = bench_growth(config(), out=tmp_path / "new", progress=lambda *call: calls.append(call))
    assert json.loads((tmp_path / "new" / "growth.json").read_text()) == found
    assert calls == [("points", done, 4) for done in range(5)]
    assert [panel["grows"] for panel in found["panels"]] == ["rows", "codebook_size", "dim"]
    point = found["panels"][0]["points"][1]
    assert (point["rows"], point["codebook_size"], point["dim"]) == (40, 4, 2)
    assert list(point["contenders"]) == ["certvq", "faiss"]
    for entry in point["contenders"].values():
        assert entry["status"] == "measured"
        assert 0 < entry["fastest_nanoseconds_per_row"] <= entry["nanoseconds_per_row"]
        assert entry["nanoseconds_per_row"] == pytest.approx(1e9 * entry["seconds"] / 40, rel=1e-2)
        assert entry["peak_mib"] >= 0


def test_rows_come_in_blocks(peer):
    sizes = peer()
    bench_growth(config())
    probe, reckoned, warm, passed = [1], [16, 16], [16], [16, 16, 8]
    small = [8] * 5
    assert sizes == [*probe, *small, *reckoned, *warm, *passed, *small, *small]


def test_a_slow_peer_is_skipped_before_it_is_waited_for(peer, monkeypatch):
    sizes = peer()
    monkeypatch.setattr(_growth, "LONGEST", 0.0)
    found = bench_growth(config())
    entry = found["panels"][0]["points"][1]["contenders"]["faiss"]
    assert entry["status"].startswith("skipped: would take about ")
    assert sizes == [1, 8, 8, 16, 16, 8, 8, 8, 8]


def test_without_the_peer_certvq_is_measured(peer):
    peer(("no_such_module",))
    found = bench_growth(config(rounds=2))
    entries = found["panels"][2]["points"][0]["contenders"]
    assert entries["certvq"]["status"] == "measured"
    assert entries["faiss"] == {"status": "not installed: no_such_module"}


def test_blocks_are_the_same_every_time():
    first, second = (list(_growth._blocks(Cell(40, 4, 2))) for _ in range(2))
    assert [len(block) for block in first] == [16, 16, 8]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert first[0].dtype == np.float32


def test_memory_is_left_out_where_the_system_does_not_tell(peer, monkeypatch):
    peer()
    monkeypatch.setattr(_growth, "reset_high_water", lambda: None)
    found = bench_growth(config())
    assert found["panels"][0]["points"][0]["contenders"]["certvq"]["peak_mib"] is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rows": (5, 0)}, "rows must be at least 1, got 0"),
        ({"codebook_sizes": (-1,)}, "codebook sizes must be at least 1, got -1"),
        ({"dims": (0,)}, "dims must be at least 1, got 0"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(changes, text):
    with pytest.raises(OptionError, match=text):
        config(**changes)


def test_a_bad_place_and_an_unknown_backend_are_found_out_before_measuring(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="file: must be a folder"):
        bench_growth(config(), out=tmp_path / "file")
    with pytest.raises(BackendUnavailableError, match="got 'nope'"):
        bench_growth(config(backend="nope"), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_by_default_n_goes_to_ten_million(monkeypatch):
    monkeypatch.undo()
    panels = GrowthConfig(rows=(5, 3, 5)).panels()
    assert panels["rows"] == [Cell(3, 1024, 32), Cell(5, 1024, 32)]
    default = GrowthConfig().panels()
    assert default["rows"][-1] == Cell(10**7, 1024, 32)
    assert default["codebook_size"][-1] == Cell(16384, 65536, 32)
    assert default["dim"][-1] == Cell(16384, 4096, 512)
