"""Every theorem of the ledger is proved by z3 and by cvc5, and what is open is called open."""

import pytest

from certvq.errors import OptionError, SolverDisagreementError
from certvq.theory import LEDGER, _solvers, prove, theorem_names

pytestmark = pytest.mark.solver


def test_every_theorem_is_proved_by_both_solvers():
    records = list(prove())
    assert [record.name for record in records] == list(theorem_names())
    both = {"z3": "proved", "cvc5": "proved", "lean": "not run"}
    assert {r.name: r.checkers for r in records} == dict.fromkeys(LEDGER, both)
    assert all(record.proved and record.reason == "" for record in records)


@pytest.mark.parametrize("solver", ["z3", "cvc5"])
def test_a_solver_that_did_not_run_is_not_named(solver):
    (record,) = prove(["squaredL2_nonneg"], checkers=[solver])
    other = {"z3": "cvc5", "cvc5": "z3"}[solver]
    assert record.checkers == {solver: "proved", other: "not run", "lean": "not run"}
    assert record.to_json() == {
        "name": "squaredL2_nonneg",
        "seed_name": "squaredL2_nonneg",
        "meaning": "A squared distance is never negative.",
        "checkers": record.checkers,
        "seconds": round(record.seconds, 3),
    }


def test_a_theorem_that_one_solver_leaves_open_is_open(monkeypatch):
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("unknown", ""))
    (record,) = prove(["squaredL2_self"])
    assert record.checkers == {"z3": "proved", "cvc5": "failed", "lean": "not run"}
    assert not record.proved
    assert "squaredL2_self was not decided within 5 s (z3: unsat, cvc5: unknown)" in record.reason


def test_solvers_that_disagree_stop_everything(monkeypatch):
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("sat", "(n 0)"))
    with pytest.raises(SolverDisagreementError, match="squaredL2_self"):
        list(prove(["squaredL2_self"]))


def test_lean_has_to_prove_what_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("certvq.theory._lean.check_all", lambda: {"squaredL2_self": True})
    names = ["squaredL2_self", "squaredL2_nonneg"]
    first, second = prove(names, checkers=["lean"])
    assert first.checkers == {"z3": "not run", "cvc5": "not run", "lean": "proved"}
    assert second.checkers["lean"] == "failed"
    assert not second.proved
    assert second.reason == "squaredL2_nonneg: not proved by Lean"


@pytest.mark.parametrize(
    ("names", "checkers", "text"),
    [
        (["nope"], ["z3"], "no theorem 'nope'"),
        ([], ["z3", "z4"], "takes z3, cvc5, lean; came z4"),
        ([], [], "came none"),
    ],
)
def test_unknown_names_are_refused(names, checkers, text):
    with pytest.raises(OptionError, match=text):
        list(prove(names, checkers=checkers))
