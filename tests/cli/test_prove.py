"""`certvq prove`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from certvq.theory import LEDGER, _solvers

pytestmark = pytest.mark.solver

Command = Callable[..., Any]


def test_theorems_are_a_table_and_the_status_is_0(certvq_command: Command) -> None:
    found = certvq_command("prove", "squaredL2_nonneg", "squaredL2_self")
    assert (found.status, found.err) == (0, "")
    assert "squaredL2_nonneg" in found.out
    assert "A squared distance is never negative." in found.out
    assert "2 / 2 theorems proved by z3, cvc5 in" in found.out


def test_json_holds_the_checkers_that_ran(certvq_command: Command) -> None:
    found = certvq_command("prove", "squaredL2_self", "--solver", "z3", "--json")
    (record,) = json.loads(found.out)
    assert found.status == 0
    assert list(record) == ["name", "seed_name", "meaning", "checkers", "seconds"]
    assert record["checkers"] == {"z3": "proved", "cvc5": "not run", "lean": "not run"}


def test_an_open_theorem_is_status_1(
    certvq_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("unknown", ""))
    found = certvq_command("prove", "squaredL2_self")
    assert found.status == 1
    assert "open: squaredL2_self was not decided within 5 s" in found.out
    assert "0 / 1 theorems proved by z3, cvc5 in" in found.out


def test_disagreement_and_a_missing_solver_are_status_2(
    certvq_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("sat", "(n 0)"))
    found = certvq_command("prove", "squaredL2_self")
    assert found.status == 2
    assert "the solvers contradict each other (z3: unsat, cvc5: sat)" in found.err
    monkeypatch.setitem(_solvers._PACKAGES, "cvc5", ("cvc5", "no_such_module_of_cvc5"))
    found = certvq_command("prove", "squaredL2_self")
    assert (found.status, found.out) == (2, "")
    assert "the solver cvc5 is not installed" in found.err
    assert "pip install 'certvq[prove]'" in found.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nope",), "there is no theorem 'nope'"),
        (("--solver", "z4"), "--solver takes z3, cvc5, lean; came z4"),
        (("--solver", ","), "came none"),
        (("--mutants", "--solver", "lean"), "one of z3, cvc5; came 'lean'"),
    ],
)
def test_bad_usage_is_status_2(
    certvq_command: Command, arguments: tuple[str, ...], text: str
) -> None:
    found = certvq_command("prove", *arguments)
    assert (found.status, found.out) == (2, "")
    assert text in found.err


def test_mutants_are_counted(certvq_command: Command) -> None:
    count = len(LEDGER["nearest_of_score_gap"].mutants)
    found = certvq_command("prove", "nearest_of_score_gap", "--mutants")
    assert (found.status, found.out) == (0, f"{count} / {count} mutants killed\n")
    found = certvq_command("prove", "nearest_of_score_gap", "--mutants", "--json")
    verdicts = json.loads(found.out)
    assert len(verdicts) == count
    assert all(verdict["killed"] and verdict["countermodel"] for verdict in verdicts)
    assert verdicts[0]["mutant"] == "gap E for 2 E"


def test_a_living_mutant_is_status_1(
    certvq_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_solvers.SOLVERS, "z3", lambda _script, _limit: ("unknown", ""))
    found = certvq_command("prove", "squaredL2_self", "--mutants")
    assert found.status == 1
    assert found.out.splitlines() == [
        "alive: squaredL2_self, another vector: z3 finds no countermodel in its instance: unknown",
        "0 / 1 mutants killed",
    ]
