"""Check the checker: find for every mutant a countermodel, and evaluate it exactly.

In: mutants of the ledger and a solver. Out: for each a countermodel of fractions on which the
hypotheses hold and the conclusion does not, or the reason why there is none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from certvq.theory._evaluate import evaluate, negation
from certvq.theory._kernel import Term, script
from certvq.theory._ledger import LEDGER, Mutant, Statement
from certvq.theory._operators import BOOL, INT
from certvq.theory._solvers import ask, require_solvers
from certvq.theory._terms import conj
from certvq.theory._trial import QUERY_SECONDS

RANGE = 4
"""Unknown reals are sought among the integers from -4 to 4 (an instance may divide them)."""

_DEFINED = re.compile(r"\(define-fun \|?([\w!]+)\|? \(\) (Int|Bool)\s+(\(- \d+\)|\d+|true|false)\)")


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: killed by the countermodel, or alive for the reason given."""

    theorem: str
    mutant: str
    killed: bool
    countermodel: Mapping[str, Fraction | bool]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return what `certvq prove --mutants --json` prints."""
        values = {
            name: value if isinstance(value, bool) else str(value)
            for name, value in self.countermodel.items()
        }
        return {
            "theorem": self.theorem,
            "mutant": self.mutant,
            "killed": self.killed,
            "countermodel": values,
            "reason": self.reason,
        }


class Unknowns:
    """Unknowns of a search."""

    def __init__(self) -> None:
        self.bounds: list[Term] = []

    def real(self, name: str) -> Any:
        """Return an unknown number."""
        variable = Term("var", (), INT, name)
        self.bounds += [variable <= RANGE, -variable <= RANGE]
        return Term("to_real", (variable,), "Real")

    def boolean(self, name: str) -> Any:
        """Return an unknown truth value."""
        return Term("var", (), BOOL, name)


class Known:
    """The same unknowns with the values of a model; what it leaves open is 0 or false."""

    def __init__(self, model: Mapping[str, Fraction | bool]) -> None:
        self.used: dict[str, Fraction | bool] = {}
        self._model = model

    def real(self, name: str) -> Any:
        """Return a number."""
        self.used[name] = Fraction(self._model.get(name, 0))
        return self.used[name]

    def boolean(self, name: str) -> Any:
        """Return a truth value."""
        self.used[name] = bool(self._model.get(name, False))
        return self.used[name]


def check_mutants(names: tuple[str, ...], solvers: tuple[str, ...]) -> Iterator[Verdict]:
    """Yield the verdict on every mutant of the theorems named."""
    require_solvers(solvers)
    for name in names:
        for mutant in LEDGER[name].mutants:
            yield refute(name, mutant, solvers[0])


def refute(theorem: str, mutant: Mutant, solver: str, *, seconds: float = QUERY_SECONDS) -> Verdict:
    """Look for a countermodel and evaluate it."""
    unknowns = Unknowns()
    values = {**mutant.instance(unknowns), "symbolic": True}
    claim = _negated(mutant.statement, values)
    if claim is False:
        return Verdict(theorem, mutant.what, False, {}, "no countermodel in its instance")
    model: dict[str, Fraction | bool] = {}
    if isinstance(claim, Term):
        answer = ask(solver, script([*unknowns.bounds, claim]), seconds)
        if answer.status != "sat":
            reason = f"{solver} finds no countermodel in its instance: {answer.status}"
            return Verdict(theorem, mutant.what, False, {}, reason)
        model = _read(answer.model)
    known = Known(model)
    held = is_false(mutant.statement, mutant.instance(known))
    reason = "" if held else "the countermodel, evaluated exactly, is none"
    return Verdict(theorem, mutant.what, held, known.used, reason)


def is_false(statement: Statement, values: Mapping[str, Any]) -> bool:
    """Say whether all hypotheses hold and the conclusion does not, by exact evaluation."""
    given = all(evaluate(formula, values) is True for _, formula in statement.hypotheses)
    return given and evaluate(statement.conclusion, values) is False


def _negated(statement: Statement, values: Mapping[str, Any]) -> Any:
    parts = [evaluate(formula, values) for _, formula in statement.hypotheses]
    parts.append(negation(evaluate(statement.conclusion, values)))
    if any(part is False for part in parts):
        return False
    open_parts = [part for part in parts if part is not True]
    return conj(*open_parts) if open_parts else True


def _read(model: str) -> dict[str, Fraction | bool]:
    found: dict[str, Fraction | bool] = {}
    for name, sort, value in _DEFINED.findall(model):
        text = value.replace("(", "").replace(")", "").replace(" ", "")
        found[name] = text == "true" if sort == "Bool" else Fraction(text)
    return found
