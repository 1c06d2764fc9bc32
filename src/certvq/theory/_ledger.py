"""The ledger: every theorem with its statement, its proof and its mutants.

In: statements, as the modules of theorems declare them. Out: `LEDGER`, `DEFINITIONS`, `AXIOMS`.
Must not import the theorems (`certvq.theory` does, which fills the ledger).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from certvq.bounds import THEOREMS
from certvq.errors import ProofError
from certvq.theory._kernel import Axiom, Term, Theorem, shape
from certvq.theory._proof import Lemma, Proof, subterms
from certvq.theory._terms import conj

Instance = Callable[[Any], Mapping[str, Any]]
"""Given a maker of unknowns, the finite values of all variables and functions of a statement."""


@dataclass(frozen=True)
class Statement:
    """What a theorem says.

    Attributes:
        name: its name, the same in Lean.
        part: A (the seed), B (what the seed leaves open), C (the runtime), D (for users),
            E (canonical tokens) or F (k-means).
        meaning: what it means, in plain language.
        latex: the statement in LaTeX.
        conclusion: the formula that follows.
        hypotheses: label and formula of each assumption; the labels are those of the Lean binders.
        seed_name: its name in the seed, where the seed has it.
        relied_on_by: the places in the code that rely on it, besides the bounds (see `places`).
    """

    name: str
    part: str
    meaning: str
    latex: str
    conclusion: Term
    hypotheses: tuple[tuple[str, Term], ...] = ()
    seed_name: str | None = None
    relied_on_by: tuple[str, ...] = ()

    @property
    def formula(self) -> Term:
        """Hypotheses => conclusion."""
        if not self.hypotheses:
            return self.conclusion
        return conj(*(formula for _, formula in self.hypotheses)) >> self.conclusion

    @property
    def places(self) -> tuple[str, ...]:
        """What relies on it: the bounds that name it, and the other places."""
        named = (function for function, names in THEOREMS.items() if self.name in names)
        return (*(f"certvq.bounds.{function}" for function in named), *self.relied_on_by)

    @property
    def lean(self) -> str:
        """The statement in Lean, white space normalised; `docs/make_theory.py` writes it down."""
        return _lean_statements()[self.name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the hypotheses."""
        return tuple(label for label, _ in self.hypotheses)

    def hypothesis(self, label: str) -> Term:
        """Return the formula of a hypothesis."""
        return dict(self.hypotheses)[label]

    def without(self, label: str) -> "Statement":
        """Return the statement with a hypothesis dropped; for mutants."""
        kept = tuple(pair for pair in self.hypotheses if pair[0] != label)
        if len(kept) == len(self.hypotheses):
            raise KeyError(label)
        return replace(self, hypotheses=kept)

    def with_hypothesis(self, label: str, formula: Term) -> "Statement":
        """Return the statement with a hypothesis changed; for mutants."""
        self.hypothesis(label)
        changed = tuple((name, formula if name == label else old) for name, old in self.hypotheses)
        return replace(self, hypotheses=changed)

    def concluding(self, conclusion: Term) -> "Statement":
        """Return the statement with another conclusion; for mutants."""
        return replace(self, conclusion=conclusion)


@dataclass(frozen=True)
class Mutant:
    """A false statement near a theorem, and a finite shape in which it fails."""

    what: str
    statement: Statement
    instance: Instance


@dataclass(frozen=True)
class Entry:
    """A theorem of the ledger."""

    statement: Statement
    prove: Lemma
    mutants: tuple[Mutant, ...]


@dataclass(frozen=True)
class Definition:
    """An abbreviation: `build` makes the term that it stands for, so that it assumes nothing.

    `example` holds arguments of numbers and tuples, and the value that the definition then has.
    """

    name: str
    meaning: str
    build: Callable[..., Term]
    example: tuple[tuple[Any, ...], Any]

    def __call__(self, *args: Any) -> Term:
        return replace(self.build(*args), tag=(self.name, args))


@cache
def _lean_statements() -> dict[str, str]:
    return json.loads((Path(__file__).parent / LEAN_FILE).read_text(encoding="utf-8"))


LEAN_FILE: Final = "lean_statements.json"
"""Name of each theorem, and the text between that name and `:=` in the Lean project."""


def undefended(ledger: Mapping[str, Entry], definitions: Mapping[str, Definition]) -> list[str]:
    """Name the definitions that no statement of the ledger speaks of."""
    used = {
        term.tag[0]
        for entry in ledger.values()
        for term in subterms(entry.statement.formula)
        if term.tag is not None
    }
    return [name for name in definitions if name not in used]


def require_defended() -> None:
    """Check that a theorem speaks of every definition, and every theorem has mutants.

    Raises:
        ProofError: naming what is wanting.
    """
    missing = undefended(LEDGER, DEFINITIONS)
    tame = [name for name, entry in LEDGER.items() if not entry.mutants]
    if missing or tame:
        raise ProofError(
            f"every definition needs a theorem and every theorem a mutant; definitions without: "
            f"{missing or 'none'}, theorems without: {tame or 'none'}"
        )


LEDGER: Final[dict[str, Entry]] = {}
DEFINITIONS: Final[dict[str, Definition]] = {}
AXIOMS: Final[dict[str, Axiom]] = {}


def proves(statement: Statement, *mutants: Mutant) -> Callable[[Lemma], Lemma]:
    """Register a proof; it must prove the very formula of the statement."""

    def register(script: Lemma) -> Lemma:
        def prove(proof: Proof) -> Theorem:
            theorem = script(proof)
            if shape(theorem.formula) != shape(statement.formula):
                raise TypeError(f"the proof of {statement.name} proves another formula")
            return theorem

        if statement.name in LEDGER:
            raise TypeError(f"{statement.name} is proved twice")
        LEDGER[statement.name] = Entry(statement, prove, mutants)
        return prove

    return register


def assumes(name: str, formula: Term, source: str) -> Axiom:
    """Register an axiom with its source."""
    AXIOMS[name] = Axiom(name, formula, source)
    return AXIOMS[name]


def defines(
    name: str, meaning: str, example: tuple[tuple[Any, ...], Any]
) -> Callable[[Callable[..., Term]], Definition]:
    """Register a definition with its example."""

    def register(build: Callable[..., Term]) -> Definition:
        DEFINITIONS[name] = Definition(name, meaning, build, example)
        return DEFINITIONS[name]

    return register
