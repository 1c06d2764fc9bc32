"""Lean itself refuses what is not proved; `make lean` has it prove the project."""

import os

import pytest

from certvq._lean._run import Lean, LeanRun, find_lean, run_lean
from certvq.errors import LeanError, LeanUnavailableError
from certvq.theory import _lean, _lean_check


@pytest.fixture(scope="module")
def lean():
    try:
        return find_lean()
    except LeanUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def trial(lean):
    """Run one text with good and bad theorems, each on a line of its own."""
    report = (_lean.project_folder() / "CertVQ" / "Axioms.lean").read_text()
    report = report[: report.index("/-- Every theorem of the project")] + "end CertVQ\n"
    lines = {
        "false": "theorem CertVQ.false (a b : Int) : a * a ≤ a * b := by grind",
        "unproved": "theorem CertVQ.unproved : 1 = 2 := by sorry",
        "assumed": "axiom CertVQ.ax : 1 = 2 theorem CertVQ.assumed : 1 = 2 := CertVQ.ax",
        "native": "theorem CertVQ.native : 10 + 10 = 20 := by native_decide",
        "wrong": "theorem CertVQ.wrong : [2, 3].map (· + 2) = [4, 6] := by decide +kernel",
        "right": "theorem CertVQ.right : [2, 3].map (· + 2) = [4, 5] := by decide +kernel",
    }
    shown = [
        f"run_cmd CertVQ.reportAxioms ``CertVQ.{name}"
        for name in ("unproved", "assumed", "native", "right")
    ]
    tail = "\n".join([*lines.values(), *shown, ""])
    text, _ = _lean.one_text({"CertVQ/Axioms.lean": report, "Trial.lean": tail})
    first = text.count("\n") - tail.count("\n") + 1
    places = {name: first + place for place, name in enumerate(lines)}
    return run_lean(lean, text), places


def complaints(trial, name):
    run, places = trial
    return [m for m in run.messages if m.line == places[name] and m.severity != "information"]


@pytest.mark.slow
@pytest.mark.lean
@pytest.mark.rows("name", ["false", "wrong"])
def test_lean_refuses_a_false_theorem_and_a_wrong_value(trial, name):
    assert [message.severity for message in complaints(trial, name)] == ["error"]


@pytest.mark.slow
@pytest.mark.lean
def test_the_kernel_proves_the_right_value(trial):
    assert complaints(trial, "right") == []
    assert "axioms below CertVQ.right:" in trial[0].printed


@pytest.mark.slow
@pytest.mark.lean
@pytest.mark.rows(
    ("name", "axiom"), [("unproved", "sorryAx"), ("assumed", "ax"), ("native", "Lean.ofReduceBool")]
)
def test_what_a_theorem_rests_on_is_told_and_refused(trial, name, axiom):
    run = trial[0]
    (line,) = [line for line in run.printed if line.startswith(f"axioms below CertVQ.{name}:")]
    assert line.endswith(axiom)
    assert [m for m in run.errors if f"CertVQ.{name} rests on" in m.text]


def report(problems):
    axioms = dict.fromkeys(_lean.lean_theorems(), ())
    return _lean.LeanReport(Lean("4.28.0", ("lean",)), axioms, problems, 1.0)


def test_the_command_prints_every_theorem_and_its_axioms(monkeypatch, capsys):
    monkeypatch.setattr(_lean_check, "require_lean", lambda: None)
    monkeypatch.setattr(_lean_check, "check_project", lambda lean: report(()))
    assert _lean_check.main() == 0
    out = capsys.readouterr().out
    assert "CertVQ/Filter.lean: certified_assign: no axiom\n" in out
    assert out.endswith(" theorems proved in 1 s, 0 problems\n")


def test_the_command_fails_on_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(_lean_check, "require_lean", lambda: None)
    monkeypatch.setattr(_lean_check, "check_project", lambda lean: report(("here: error",)))
    assert _lean_check.main() == 1
    assert "here: error\n" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "status"), [(LeanUnavailableError, 2), (LeanError, 1)])
def test_the_command_tells_a_missing_lean_from_a_crash(monkeypatch, capsys, error, status):
    def fail(lean):
        raise error("why")

    monkeypatch.setattr(_lean_check, "require_lean", lambda: None)
    monkeypatch.setattr(_lean_check, "check_project", fail)
    assert _lean_check.main() == status
    assert capsys.readouterr().out == "error: why\n"


def test_a_lean_is_set_up_only_where_none_is_found(monkeypatch):
    found, made = [], []

    def find():
        if not made:
            raise LeanUnavailableError("none")
        found.append(1)
        return Lean("4.28.0", ("lean",))

    monkeypatch.setattr(_lean_check, "find_lean", find)
    monkeypatch.setattr(_lean_check, "set_up", lambda: made.append(1))
    assert _lean_check.require_lean().version == "4.28.0"
    _lean_check.require_lean()
    assert (len(found), len(made)) == (2, 1)


def test_a_run_without_messages_has_none():
    assert LeanRun((), 0.0).errors == ()
