"""`bench/layers.py`: cells run on both sides, memory is that of one step, tables are right."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("vector_quantize_pytorch")

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def layers():
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("layers")
    finally:
        sys.path[:] = before


def test_every_cell_runs_on_both_sides(layers):
    small = [replace(cell, tokens=256) for cell in layers.cells().values() if "x" not in cell.name]
    assert len(small) >= 17
    for cell in small:
        for side in layers.SIDES:
            layers.prepare(cell, side)()


def test_the_shapes_of_the_issue_are_there(layers):
    assert {
        "VectorQuantize-8192x8192x32",
        "VectorQuantize-16384x1024x64",
        "VectorQuantize-65536x512x64",
    } <= set(layers.cells())


def test_targets_are_what_both_sides_return_where_nothing_learns(layers):
    cell = replace(layers.cells()["RandomProjectionQuantizer-16384"], tokens=64)
    shapes = {layers.prepare(cell, side)().shape for side in layers.SIDES}
    assert shapes == {(1, 64)}


def test_memory_of_the_original_holds_its_matrices(layers):
    """N x K float32 numbers of 16384 x 1024 are 64 MiB, and it makes several."""
    cell = layers.cells()["VectorQuantize, gradient-16384"]
    grown = layers.peak(cell, "original", 1)
    assert grown is None or grown >= 64 << 20


def test_the_table_shows_ratios(layers):
    result = {
        "cell": "FSQ-16384",
        "milliseconds": {"certvq": 2.0, "original": 5.0},
        "speed": 2.5,
        "peak_bytes": {"certvq": 1 << 20, "original": 3 << 20},
        "memory": 3.0,
    }
    text = layers.table(
        [result, {**result, "peak_bytes": dict.fromkeys(layers.SIDES), "memory": None}], 5, 2
    )
    lines = text.splitlines()
    assert lines[-2] == "| FSQ-16384 | 2.0 | 5.0 | 2.5 | 1.0 | 3.0 | 3.0 |"
    assert lines[-1] == "| FSQ-16384 | 2.0 | 5.0 | 2.5 |  |  |  |"


def test_a_slower_family_fails(layers, tmp_path, monkeypatch):
    result = {
        "cell": "FSQ-16384",
        "milliseconds": {"certvq": 5.0, "original": 2.0},
        "speed": 0.4,
        "peak_bytes": dict.fromkeys(layers.SIDES),
        "memory": None,
    }
    monkeypatch.setattr(layers, "measure", lambda *_, **__: result)
    arguments = ["--cells", "FSQ-16384", "--out", str(tmp_path / "layers.json")]
    assert layers.main(arguments) == 1
    result["speed"] = 1.2
    assert layers.main(arguments) == 0
