"""`bench/kmeans.py`: all contenders run from one start, and the table has their ratios."""

import importlib
import sys
from pathlib import Path

import pytest

from certvq.bench import Cell

pytestmark = pytest.mark.peer

pytest.importorskip("faiss")

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def kmeans(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    yield importlib.import_module("kmeans")
    sys.modules.pop("kmeans")


@pytest.mark.filterwarnings("ignore")
def test_all_end_near_the_same_inertia(kmeans):
    found = kmeans.measure(kmeans.RUNS, Cell(400, 8, 3), "mixture", rounds=1, iterations=5)
    assert list(found["contenders"]) == list(kmeans.RUNS)
    for one in found["contenders"].values():
        assert one["seconds"] >= 0
        assert one["inertia"] == pytest.approx(1.0, rel=1e-4)
    assert found["contenders"]["certvq"]["ratio"] == 1.0
    row = kmeans.table([found]).splitlines()[2]
    assert row.startswith("| 400 x 8 x 3 | mixture | ")
    assert row.count("(") == len(kmeans.RUNS)
