"""Measurements as plain values."""

import json

import numpy as np

from certvq.bench._measure import Measured
from certvq.bench._report import entries, levels, machine, summary


def measured(seconds, wrong=0, failure=""):
    return Measured(seconds, seconds / 2, 0.001, wrong, np.arange(wrong), failure)


def test_an_entry_has_time_ratio_memory_and_wrong_codes():
    times = {"certvq": measured(0.01), "peer": measured(0.025, wrong=3)}
    found = entries(times, {"certvq": 3 * 2**20, "peer": None}, {"faiss": "not installed: faiss"})
    assert found["certvq"]["ratio"] == 1.0
    assert found["certvq"]["peak_mib"] == 3.0
    assert found["peer"] == {
        "status": "measured",
        "milliseconds": 25.0,
        "fastest_milliseconds": 12.5,
        "prepare_milliseconds": 1.0,
        "ratio": 2.5,
        "peak_mib": None,
        "wrong_codes": 3,
    }
    assert found["faiss"] == {"status": "not installed: faiss"}


def test_a_failure_has_no_figures():
    times = {"certvq": measured(0.01), "peer": measured(float("nan"), failure="MemoryError: no")}
    assert entries(times, {}, {})["peer"] == {"status": "failed: MemoryError: no"}


def test_the_summary_has_the_geometric_mean_and_the_least():
    results = [
        {"kind": "normal", "contenders": {"certvq": {"ratio": 1.0}, "peer": {"ratio": ratio}}}
        for ratio in (2.0, 8.0)
    ]
    results.append({"kind": "sphere", "contenders": {"peer": {"ratio": 3.0}, "x": {"status": "-"}}})
    assert summary(results) == [
        {
            "kind": "normal",
            "contender": "peer",
            "cells": 2,
            "geometric_mean": 4.0,
            "minimum": 2.0,
        },
        {
            "kind": "sphere",
            "contender": "peer",
            "cells": 1,
            "geometric_mean": 3.0,
            "minimum": 3.0,
        },
    ]


def test_the_machine_is_described():
    found = json.loads(json.dumps(machine(2)))
    assert found["threads"] == 2
    assert found["versions"]["numpy"] == np.__version__
    assert isinstance(found["cpu"], str)
    assert found["date"].endswith("+00:00")


def test_levels_compare_faiss_with_certvq_held_to_the_same_instructions():
    ratios = {"certvq": 1.0, "faiss": 3.0, "certvq (avx2)": 1.5, "faiss-expert (avx2)": 1.2}
    results = [
        {"kind": "normal", "contenders": {name: {"ratio": one} for name, one in ratios.items()}}
    ]
    ours = {"kind": "normal", "isa": "avx2", "cells": 1}
    assert levels(results, ["avx2"]) == [
        {**ours, "contender": "faiss", "geometric_mean": 2.0, "minimum": 2.0},
        {**ours, "contender": "faiss-expert", "geometric_mean": 0.8, "minimum": 0.8},
    ]
    assert [one["contender"] for one in summary(results, ["avx2"])] == ["faiss"]


def test_the_way_is_named():
    assert "way" not in entries({"certvq": measured(0.01)}, {}, {})["certvq"]
    one = Measured(0.01, 0.01, 0.0, 0, np.arange(0), "", "BLAS")
    assert entries({"certvq": one}, {}, {})["certvq"]["way"] == "BLAS"
