"""Prove theorems of the ledger, each solver on its own account.

In: names of theorems, and solvers. Out: a record for each theorem: which checker proved it, and in
which time. Must not be imported at run time by anything but the command line.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from certvq.errors import (
    OptionError,
    ProofError,
    SolverDisagreementError,
    SolverUnavailableError,
)
from certvq.theory._ledger import LEDGER
from certvq.theory._proof import Proof
from certvq.theory._trial import QUERY_SECONDS, Trial

CHECKERS: Final = ("z3", "cvc5", "lean")
DEFAULT_CHECKERS: Final = ("z3", "cvc5")
PROVED, FAILED, NOT_RUN = "proved", "failed", "not run"


@dataclass(frozen=True)
class Record:
    """What became of a theorem.

    Attributes:
        name: the theorem.
        seed_name: its name in the seed, or None.
        meaning: in plain language.
        checkers: for z3, cvc5 and lean: proved, failed or not run.
        seconds: what the solvers took, lemmas included where this theorem was the first to use
            them; Lean checks all theorems in one run, whose time is not counted here.
        reason: why it is open, for a person; empty if it is not.
    """

    name: str
    seed_name: str | None
    meaning: str
    checkers: dict[str, str]
    seconds: float
    reason: str = field(default="")

    @property
    def proved(self) -> bool:
        """Whether every checker that ran proved it, and at least one ran."""
        ran = [status for status in self.checkers.values() if status != NOT_RUN]
        return bool(ran) and all(status == PROVED for status in ran)

    def to_json(self) -> dict[str, Any]:
        """Return what `certvq prove --json` prints."""
        return {
            "name": self.name,
            "seed_name": self.seed_name,
            "meaning": self.meaning,
            "checkers": self.checkers,
            "seconds": round(self.seconds, 3),
        }


def theorem_names(names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the theorems named, all of them for none.

    Raises:
        OptionError: a name is not in the ledger.
    """
    for name in names:
        if name not in LEDGER:
            raise OptionError(
                f"there is no theorem {name!r}; `certvq prove --json` lists the names, such as "
                f"{next(iter(LEDGER))}"
            )
    return tuple(names) or tuple(sorted(LEDGER, key=lambda name: LEDGER[name].statement.part))


def prove(
    names: Sequence[str] = (),
    *,
    checkers: Sequence[str] = DEFAULT_CHECKERS,
    seconds: float = QUERY_SECONDS,
) -> Iterator[Record]:
    """Prove theorems.

    Args:
        names: theorems; none means all.
        checkers: of z3, cvc5 and lean; each has to prove every theorem on its own.
        seconds: limit of one query of one solver.

    Yields:
        A record for each theorem.

    Raises:
        OptionError: a name or checker is unknown, or no checker is given.
        SolverUnavailableError: a solver is not installed.
        SolverDisagreementError: one solver says that a query has a model, another that it has none.

    Guarantee: a checker is reported as "proved" only if it answered unsat to every query of the
    theorem and of all lemmas that it uses.
    """
    chosen = theorem_names(names)
    _require_checkers(checkers)
    solvers = tuple(name for name in checkers if name != "lean")
    together = Proof(Trial(solvers, seconds=seconds)) if solvers else None
    alone: dict[str, Proof] = {}
    by_lean = _lean(chosen) if "lean" in checkers else {}
    for name in chosen:
        entry = LEDGER[name]
        statuses: dict[str, str] = dict.fromkeys(CHECKERS, NOT_RUN)
        start, reason = time.perf_counter(), ""
        if together is not None:
            reason = _attempt(together, name)
            for solver in solvers:
                statuses[solver] = PROVED
                if reason:
                    alone.setdefault(solver, Proof(Trial((solver,), seconds=seconds)))
                    statuses[solver] = FAILED if _attempt(alone[solver], name) else PROVED
            if reason and FAILED not in statuses.values():
                reason = ""
        if by_lean:
            statuses["lean"] = PROVED if by_lean.get(name, False) else FAILED
            reason = reason or ("" if by_lean.get(name, False) else f"{name}: not proved by Lean")
        spent = time.perf_counter() - start
        text = entry.statement
        yield Record(name, text.seed_name, text.meaning, statuses, spent, reason)


def _attempt(proof: Proof, name: str) -> str:
    """Prove one theorem; return the reason where that fails."""
    proof.trial.proving = name
    try:
        theorem = proof.get(LEDGER[name].prove)
    except SolverDisagreementError:
        raise
    except ProofError as error:
        return str(error)
    missing = set(proof.trial.solvers) - theorem.checkers
    return f"{name}: not discharged by {sorted(missing)}" if missing else ""


def _require_checkers(checkers: Sequence[str]) -> None:
    unknown = [name for name in checkers if name not in CHECKERS]
    if unknown or not checkers:
        raise OptionError(
            f"--solver takes {', '.join(CHECKERS)}; came {', '.join(unknown) or 'none'}"
        )


def _lean(names: Sequence[str]) -> dict[str, bool]:
    """Let Lean check all its files; a theorem that is not there is not proved."""
    try:
        module: Any = import_module("certvq.theory._lean")
    except ModuleNotFoundError as error:
        raise SolverUnavailableError(
            "the checker lean is not part of this installation; name others with --solver"
        ) from error
    found: dict[str, bool] = module.check_all()
    return {name: found.get(name, False) for name in names}
