"""Turns, medians and wrong codes."""

import math
import os

import numpy as np
import pytest

from certvq.bench import _measure
from certvq.bench._cells import Cell
from certvq.bench._contender import Changing, Contender
from certvq.bench._data import drawn
from certvq.bench._measure import Measured, best, measure

NUMBERS = drawn(Cell(30, 5, 3), "normal")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(_measure, "PAUSE", 0.0)
    monkeypatch.setattr(_measure, "SHORTEST", 0.0)


def right_codes(own):
    return own.prepare(NUMBERS.codebook)(NUMBERS.latents)


def test_wrong_codes_are_counted_and_located(own, zeros):
    right = right_codes(own)
    found = measure([own, zeros], NUMBERS, right, rounds=2)
    assert found["certvq"].wrong_codes == 0
    assert found["zeros"].wrong_rows.tolist() == np.flatnonzero(right).tolist()
    assert found["zeros"].wrong_codes == np.count_nonzero(right) > 0
    assert 0 < found["certvq"].fastest <= found["certvq"].seconds
    assert found["certvq"].prepare_seconds > 0


def test_codes_that_are_wrong_once_are_counted(own):
    right, calls = right_codes(own), []

    def search(latents):
        calls.append(1)
        return right if len(calls) != 3 else (right + 1) % 5

    found = measure([Contender("once", (), lambda c: search)], NUMBERS, right, rounds=3)
    assert found["once"].wrong_codes == 30


def test_contenders_take_turns(own):
    right, turns = right_codes(own), []

    def stand_in(name):
        def search(latents):
            turns.append(name)
            return right

        return Contender(name, (), lambda c: search)

    measure([stand_in("a"), stand_in("b")], NUMBERS, right, rounds=2)
    assert turns == ["a", "a", "b", "b", "b", "b", "a", "a"]


def test_what_a_call_changes_is_renewed_off_the_clock(own, monkeypatch):
    right, now = right_codes(own), [0.0]

    def fresh():
        now[0] += 100.0
        calls = []

        def search(latents):
            now[0] += 1.0
            calls.append(1)
            return right if len(calls) == 1 else right + 1

        return search

    monkeypatch.setattr(_measure.time, "perf_counter", lambda: now[0])
    one = Contender("changing", (), lambda c: Changing(fresh))
    found = measure([one], NUMBERS, right, rounds=3)["changing"]
    assert (found.seconds, found.wrong_codes) == (1.0, 0)


def test_a_failure_ends_one_contender_only(own, fails):
    found = measure([fails, own], NUMBERS, right_codes(own), rounds=1)
    assert found["fails"].failure == "MemoryError: no room left"
    assert math.isnan(found["fails"].seconds)
    assert found["certvq"].failure == ""


def test_an_answer_of_another_shape_is_a_failure(own):
    scalar = Contender("scalar", (), lambda c: lambda z: np.int64(0))
    found = measure([scalar], NUMBERS, right_codes(own), rounds=1)
    assert found["scalar"].failure == "ShapeError: codes must have the shape (30,), got ()"


def way(name, seconds, wrong=0, failure=""):
    return Measured(seconds, seconds, 0.0, wrong, np.arange(wrong), failure, name)


def test_of_several_ways_the_fastest_right_one_counts():
    ways = [way("slow", 3.0), way("fast", 2.0, wrong=1), way("wrong", 1.0, wrong=9)]
    assert best([*ways, way("failed", math.nan, failure="no")], rows=100).way == "fast"
    assert best([way("failed", math.nan, failure="no")], rows=100).failure == "no"


def test_every_way_of_a_contender_is_measured(own):
    right = right_codes(own)
    ways = {
        "zeros": lambda c: lambda z: np.zeros(len(z), np.int64),
        "right": lambda c: lambda z: right,
    }
    found = measure([Contender("both", (), ways["zeros"], ways=ways)], NUMBERS, right, rounds=1)[
        "both"
    ]
    assert (found.way, found.wrong_codes) == ("right", 0)


def test_the_environment_is_set_for_its_contender_alone(own, monkeypatch):
    monkeypatch.delenv("SOME_SETTING", raising=False)
    right, seen = right_codes(own), []

    def search(latents):
        seen.append(os.environ.get("SOME_SETTING"))
        return right

    chosen = Contender("chosen", (), lambda c: search, environment={"SOME_SETTING": "7"})
    measure([chosen], NUMBERS, right, rounds=1)
    assert set(seen) == {"7"}
    assert "SOME_SETTING" not in os.environ
