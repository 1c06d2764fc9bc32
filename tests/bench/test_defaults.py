"""`bench/defaults.py`: every kind of data trains with both libraries, and the table is right."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("vector_quantize_pytorch")
pytest.importorskip("sklearn")

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def defaults(monkeypatch):
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    try:
        module = importlib.import_module("defaults")
    finally:
        sys.path[:] = before
    monkeypatch.setattr(module, "LENGTHS", (1, 2))
    return module


@pytest.mark.slow
def test_every_kind_is_measured_at_each_length(defaults):
    for name, make in defaults.KINDS.items():
        kind = make()
        for setting in ("0.9/1/rotation", *([defaults.ORIGINAL] if name == "digits" else [])):
            found = list(defaults.run(kind, setting, 0))
            assert [steps for steps, _ in found] == [1, 2]
            assert all(-20.0 < snr < 20.0 for _, snr in found)
    assert len(defaults.ALL) == 16


def test_the_default_is_that_of_the_layer(defaults):
    layer = defaults.quantizer("default", 0)
    assert repr(layer.update) == repr(defaults.quantizer("0.8/0.25/straight", 0).update)


def test_a_run_goes_on_and_says_where_the_default_is_worse(defaults, tmp_path, monkeypatch):
    out, page = tmp_path / "cells.json", tmp_path / "page.md"
    page.write_text(f"# A page\n\n{defaults.BEGIN}\n{defaults.END}\nend\n")
    arguments = ["--kinds", "mixture", "--seeds", "3", "--out", str(out)]
    figures = {"original": [5.0, 5.1, 4.9], "default": [4.0, 4.1, 3.9]}

    def run(kind, setting, seed):
        return [(1, figures[setting][seed]), (2, 7.0)]

    monkeypatch.setattr(defaults, "run", run)
    assert defaults.main([*arguments, "--update", str(page)]) == 1
    first, second = page.read_text().splitlines()[-5:-3]
    assert first == "| mixture | 1 | 5.00 ± 0.10 | 4.00 ± 0.10 | yes |"
    assert second == "| mixture | 2 | 7.00 ± 0.00 | 7.00 ± 0.00 | no |"
    assert page.read_text().endswith("end\n")
    assert len(json.loads(out.read_text())) == 12
    monkeypatch.setattr(defaults, "run", None)
    assert defaults.main([*arguments, "--settings", "default"]) == 0
