"""What is not proved is said so, with the countermodel or the open query."""

import stat

import pytest

from certvq.errors import OptionError, ProofError, SolverDisagreementError, SolverUnavailableError
from certvq.theory import _solvers, _trial
from certvq.theory._operators import REAL
from certvq.theory._solvers import ask, require_solvers
from certvq.theory._terms import real, variables
from certvq.theory._trial import Trial

pytestmark = pytest.mark.solver

a, b, c = variables(REAL, "a b c")
UNSAT = "(declare-const x Int)(assert (< x x))(check-sat)"
SAT = "(declare-const x Int)(assert (= x 7))(check-sat)"
HARD = (
    "(declare-const x Int)(declare-const y Int)(declare-const z Int)"
    "(assert (= (+ (* x x x) (* y y y) (* z z z)) 33))(assert (> (* x y z) 7))(check-sat)"
)


@pytest.mark.parametrize("solver", ["z3", "cvc5"])
def test_each_solver_answers(solver):
    assert ask(solver, UNSAT, 5.0).status == "unsat"
    found = ask(solver, SAT, 5.0)
    assert found.status == "sat"
    assert "7" in found.model


@pytest.mark.parametrize("solver", ["z3", "cvc5"])
def test_a_limit_of_time_ends_in_unknown(solver):
    found = ask(solver, HARD, 0.2)
    assert (found.status, found.model) == ("unknown", "")


def test_a_false_formula_shows_its_countermodel_and_leaves_the_query(proof, tmp_path):
    proof.trial.proving = "one_le_square"
    with pytest.raises(
        ProofError, match=r"one_le_square does not follow \(z3: sat, cvc5: sat\)"
    ) as e:
        proof.smt(real(1) <= a * a)
    assert "define-fun" in e.value.countermodel
    assert e.value.countermodel in str(e.value)
    assert e.value.smt2.parent == tmp_path / "open"
    assert e.value.smt2.name == "one_le_square-2.smt2"
    assert "(check-sat)" in e.value.smt2.read_text()


def test_unknown_is_a_failure_and_leaves_the_query(monkeypatch, proof):
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("unknown", ""))
    with pytest.raises(
        ProofError, match=r"not decided within 5 s \(z3: unsat, cvc5: unknown\)"
    ) as e:
        proof.smt(real(0) <= a * a)
    assert e.value.countermodel == ""
    assert ask("z3", e.value.smt2.read_text(), 5.0).status == "unsat"


def test_solvers_that_contradict_each_other_are_an_error_of_its_own(monkeypatch, proof):
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: ("sat", "(a 1)"))
    with pytest.raises(SolverDisagreementError, match=r"contradict .*z3: unsat, cvc5: sat"):
        proof.smt(real(0) <= a * a)


def test_a_solver_that_is_missing_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(_solvers._PACKAGES, "cvc5", ("cvc5", "no_such_module_of_cvc5"))
    with pytest.raises(SolverUnavailableError, match=r"cvc5 is not installed .*certvq\[prove\]"):
        Trial(("z3", "cvc5"))


@pytest.mark.parametrize(
    ("names", "text"), [(("z3", "z4"), "one of z3, cvc5; came 'z4'"), ((), "came none")]
)
def test_solvers_that_are_unknown_are_refused(names, text):
    with pytest.raises(OptionError, match=text):
        require_solvers(names)


def test_open_queries_lie_in_a_private_folder_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "certvq-open-queries").symlink_to("/nowhere")  # somebody else was there first
    _trial._private_folder.cache_clear()
    folder = _trial._private_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _trial._private_folder() == folder
    _trial._private_folder.cache_clear()
