"""Trusted: terms, their SMT-LIB text, the types Theorem and Axiom, and the rules.

A theorem is a formula that holds for all values of its free variables and function symbols, but for
its constants; a rule that is not mere logic asks the solvers and needs unsat of each. This file is
all that has to be trusted, with `_solvers`, which runs the solvers, and the solvers themselves.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from fractions import Fraction
from itertools import combinations
from typing import Any, Final, NoReturn, final

from certvq.errors import ProofError
from certvq.theory._operators import BOOL, INT, NAT, REAL, Operators
from certvq.theory._solvers import Answer, ask

_PLAIN = ("+", "-", "*", "<=", "<", "=", "and", "or", "not", "=>", "ite", "to_real")
_BUILTIN = {NAT: INT, INT: INT, REAL: REAL, BOOL: BOOL}
_SEAL: Final = object()
LEAF, NODE, TREE = "leaf", "node", "Tree"  # leaf: Nat -> Tree, node: Tree x Tree -> Tree
_made = [0]


@dataclass(frozen=True)
class Term(Operators):
    """A term: `op` applied to `args`; the variables in `bound` are bound in all of `args`.

    Operators: var, num, app (of the function `name`), + - * / <= < =, and, or, not, =>, ite,
    to_real, to_int (of a Nat), forall (args: body), rec (args: n, value at 0, step; bound, in the
    step alone: place, value so far), fold (args: tree, leaf case, node case; bound, each in its
    case alone: leaf; value left, value right), lambda (args: body; sort: "to " and the body's),
    which is no argument; `substitute` takes it for a function.
    Sorts: Nat, Int, Real, Bool; any other name is an opaque sort. A vector is a function of Nat.
    """

    op: str
    args: tuple["Term", ...] = ()
    sort: str = BOOL
    name: str = ""
    bound: tuple["Term", ...] = ()
    tag: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        sorts = [arg.sort for arg in self.args]
        expected = {"ite": [BOOL, self.sort, self.sort], "rec": [NAT, self.sort, self.sort]}
        expected |= {"var": [], "num": [], "app": sorts or [""], "to_int": [NAT]}
        fine = sorts == expected.get(self.op, sorts) and (self.op, self.sort) != ("-", NAT)
        fine = fine and "lambda" not in [arg.op for arg in self.args]
        fine = fine and (self.name[:1] != "!" or int(self.name[1:]) <= _made[0])  # else not fresh
        hidden = {"rec": (self.bound,) * 2, "fold": (self.bound, self.bound[1:], self.bound[:1])}
        for arg, variables in zip(self.args, hidden.get(self.op, ()), strict=False):
            fine = fine and free_names(arg).isdisjoint(variable.name for variable in variables)
        if self.op in ("+", "-", "*", "/"):
            fine = fine and sorts == [self.sort, self.sort]
        if self.op == "num":
            value = Fraction(self.name)
            fine = self.sort == REAL or value == int(value) >= (0 if self.sort == NAT else value)
        if not fine:
            raise TypeError(f"ill-sorted: {self.op} {self.name} of {sorts} as {self.sort}")


def fresh(sort: str) -> Term:
    """Return a variable that occurs nowhere else."""
    _made[0] += 1
    return Term("var", (), sort, f"!{_made[0]}")


def substitute(term: Term, mapping: Mapping[str, Term]) -> Term:
    """Replace free variables by terms, and function symbols by lambdas, of the same sorts."""
    if term.op == "var":
        value = mapping.get(term.name, term)
        if value.sort != term.sort:
            raise TypeError(f"{term.name} is a {term.sort}; came {value}")
        return value
    renamed = {variable.name: fresh(variable.sort) for variable in term.bound}
    inner = {**mapping, **renamed} if renamed else mapping
    args = tuple(substitute(arg, inner) for arg in term.args)
    if term.op == "app" and term.name in mapping:
        function = mapping[term.name]
        if (function.op, function.sort) != ("lambda", f"to {term.sort}"):
            raise TypeError(f"{term.name} is a function to {term.sort}; came {function}")
        names = (variable.name for variable in function.bound)
        return substitute(function.args[0], dict(zip(names, args, strict=True)))
    return replace(term, args=args, bound=tuple(renamed.values()), tag=None)


def shape(term: Term, bound: tuple[str, ...] = (), free: list[Term] | None = None) -> Any:
    """Return what two terms share just when they differ in the names of bound variables alone.

    With a list `free`, free variables are numbered by first appearance and collected there.
    """
    if term.op == "var" and term.name in bound:
        return ("bound", len(bound) - bound[::-1].index(term.name), term.sort)
    if term.op == "var" and free is not None:
        if term not in free:
            free.append(term)
        return ("free", free.index(term), term.sort)
    sorts = tuple(variable.sort for variable in term.bound)
    inner = bound + tuple(variable.name for variable in term.bound)
    return (term.op, term.sort, term.name, sorts, *(shape(a, inner, free) for a in term.args))


def free_names(term: Term, bound: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of the free variables and of the function symbols of a term."""
    inner = bound.union(variable.name for variable in term.bound)
    own = [term.name] * (term.op == "app" or (term.op == "var" and term.name not in bound))
    return frozenset(own).union(*(free_names(arg, inner) for arg in term.args))


def script(assertions: Sequence[Term]) -> str:
    """Return the SMT-LIB script that asks whether all `assertions` can hold together."""
    writer = _Writer()
    bodies = [writer.write(term) for term in assertions]
    lines = ["(set-option :produce-models true)", "(set-logic ALL)"]
    lines += [*(f"(declare-sort {name} 0)" for name in writer.sorts), *writer.constants.values()]
    for values in writer.values.values():
        for one, two in combinations(values, 2):
            same = [f"(= {s} {t})" for s, t in zip(one, two, strict=True) if s != t]
            bodies.append(f"(=> (and {' '.join(same)}) (= {values[one]} {values[two]}))")
    lines += [f"(assert {text})" for text in (*writer.guards, *bodies)]
    return "\n".join([*lines, "(check-sat)", ""])


class _Writer:
    """Write formulas for any solver.

    A quantifier, a recursion or a quotient becomes an uninterpreted function of its free variables:
    solvers know those instances of its meaning that rules state. An application f(t) becomes a
    constant, with s = t => f(s) = f(t). A Nat is an Int; its atoms are asserted to be >= 0.
    """

    def __init__(self) -> None:
        self.sorts: dict[str, None] = {}
        self.constants: dict[str, str] = {}
        self.guards: list[str] = []
        self.signatures: dict[str, Any] = {}
        self.values: dict[str, dict[tuple[str, ...], str]] = {}
        self.abstractions: dict[Any, str] = {}

    def write(self, term: Term) -> str:
        if term.op == "num":
            top, bottom = abs(Fraction(term.name)).as_integer_ratio()
            text = f"(/ {top}.0 {bottom}.0)" if term.sort == REAL else str(top)
            return f"(- {text})" if Fraction(term.name) < 0 else text
        if term.op in _PLAIN:
            return f"({term.op} {' '.join(map(self.write, term.args))})"
        if term.op == "to_int":
            return self.write(term.args[0])
        if term.op == "/" or (term.op in ("var", "app") and re.fullmatch(r"!?\w+", term.name)):
            return self._apply(term.name or "a / b", term.args, term.sort)
        if term.op not in ("forall", "rec", "fold"):
            raise TypeError(f"unknown operator {term.op} {term.name}")
        outside, free = term.args[: term.op != "forall"], list[Term]()
        names = tuple(variable.name for variable in term.bound)
        inside = [shape(arg, names, free) for arg in term.args[len(outside) :]]
        key = (term.op, tuple(variable.sort for variable in term.bound), *inside)
        name = self.abstractions.setdefault(key, f"{term.op} {len(self.abstractions)}")
        return self._apply(name, (*outside, *free), term.sort)

    def _apply(self, name: str, args: Sequence[Term], sort: str) -> str:
        signature = (*(arg.sort for arg in args), sort)
        if self.signatures.setdefault(name, signature) != signature:
            raise TypeError(f"{name} is used as {signature} and {self.signatures[name]}")
        texts, values = tuple(map(self.write, args)), self.values.setdefault(name, {})
        constant = f"|{' '.join([name, *texts]).replace('|', '')}|"
        if texts not in values:
            if constant in self.constants:
                raise TypeError(f"{constant} would mean two things")
            self.sorts.update(dict.fromkeys(s for s in signature if s not in _BUILTIN))
            self.constants[constant] = f"(declare-const {constant} {_BUILTIN.get(sort, sort)})"
            values[texts] = constant
            self.guards += [f"(<= 0 {constant})"] * (sort == NAT)
        return constant


_ZERO, _ONE = (Term("num", (), NAT, digit) for digit in "01")
_KLR = tuple(Term("var", (), sort, name) for sort, name in ((NAT, "k"), (TREE, "l"), (TREE, "r")))
_LEAF_K, _NODE_LR = Term("app", _KLR[:1], TREE, LEAF), Term("app", _KLR[1:], TREE, NODE)


@final
@dataclass(frozen=True)
class Theorem:
    """A proved formula; `checkers` discharged all its queries, no rule replaces `constants`."""

    formula: Term
    checkers: frozenset[str]
    axioms: frozenset[str]
    constants: frozenset[str]
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL or self.formula.sort != BOOL:
            raise TypeError("only the kernel makes theorems, and only of formulas")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a theorem is not copied or read from a file; prove it")


@final
@dataclass(frozen=True)
class Axiom:
    """A formula that is assumed, and the `source` that says why it holds."""

    name: str
    formula: Term
    source: str


class Kernel:
    """The rules; `solvers` are asked, and `report` hears of every query and its answers."""

    def __init__(
        self, solvers: Sequence[str], seconds: float, report: Callable[[str, list[Answer]], None]
    ) -> None:
        self._solvers, self._seconds, self._report = tuple(solvers), seconds, report

    def _make(self, formula: Term, *parts: Theorem, varied: Iterable[str] = ()) -> Theorem:
        if any(type(part) is not Theorem for part in parts):
            raise TypeError("a theorem follows from theorems only")
        checkers = frozenset(self._solvers).intersection(*(part.checkers for part in parts))
        axioms = frozenset[str]().union(*(part.axioms for part in parts))
        constants = frozenset({LEAF, NODE}).union(*(part.constants for part in parts))
        if fixed := constants.intersection(varied):
            raise TypeError(f"{sorted(fixed)}: constructors, or constants of {sorted(axioms)}")
        return Theorem(formula, checkers, axioms, constants, _SEAL)

    def smt(self, formula: Term, *facts: Theorem) -> Theorem:
        """Prove a formula from theorems: these and its negation have no model."""
        text = script([*(fact.formula for fact in facts), ~formula])
        answers = [ask(solver, text, self._seconds) for solver in self._solvers]
        self._report(text, answers)
        if not answers or any(answer.status != "unsat" for answer in answers):
            raise ProofError(f"not proved: {answers}")
        return self._make(formula, *facts)

    def assume(self, axiom: Axiom) -> Theorem:
        """Take an axiom; whatever uses it says so, and keeps what the axiom names as it is."""
        formula, checkers = axiom.formula, frozenset(self._solvers)
        return Theorem(formula, checkers, frozenset({axiom.name}), free_names(formula), _SEAL)

    def instantiate(self, theorem: Theorem, mapping: Mapping[str, Term]) -> Theorem:
        """Replace free variables and function symbols that are no constants."""
        return self._make(substitute(theorem.formula, mapping), theorem, varied=mapping)

    def generalise(self, theorem: Theorem, variable: Term) -> Theorem:
        """From A => B, the variable not free in A and no constant: A => forall variable. B."""
        if theorem.formula.op != "=>" or variable.name in free_names(theorem.formula.args[0]):
            raise TypeError(f"generalise needs a theorem A => B, {variable.name} not free in A")
        left, right = theorem.formula.args
        universal = Term("forall", (right,), bound=(variable,))
        return self._make(left >> universal, theorem, varied=[variable.name])

    def specialise(self, universal: Term, *terms: Term) -> Theorem:
        """(forall variables. B) => B at the terms."""
        if universal.op != "forall" or "lambda" in [term.op for term in terms]:
            raise TypeError("specialise needs a universal formula, and terms that are no functions")
        mapping = dict(zip((v.name for v in universal.bound), terms, strict=True))
        return self._make(universal >> substitute(universal.args[0], mapping))

    def quotient(self, term: Term) -> Theorem:
        """Of a / b: times b it is a; where b is 0 it is 0, as in Lean."""
        if (term.op, term.sort) != ("/", REAL):
            raise TypeError("quotient needs a term a / b of reals")
        a, b = term.args
        return self._make(Term("ite", (b.eq(0), term.eq(0), (term * b).eq(a))))

    def unfold(self, term: Term) -> Theorem:
        """The defining equation of a recursion at 0 or n + 1, of a fold at a leaf or a node."""
        (at, first, step), names = term.args, [variable.name for variable in term.bound]
        before = [replace(term, args=(place, first, step), tag=None) for place in at.args]
        if (term.op, at) == ("rec", _ZERO):
            values, step = {}, first
        elif (term.op, at.op, at.sort) == ("rec", "+", NAT) and at.args[1] == _ONE:
            values = {names[0]: at.args[0], names[1]: before[0]}
        elif (term.op, at.op, at.name) == ("fold", "app", LEAF):
            values, step = {names[0]: at.args[0]}, first
        elif (term.op, at.op, at.name) == ("fold", "app", NODE):
            values = dict(zip(names[1:], before, strict=True))
        else:
            raise TypeError(f"nothing to unfold at {at}")
        return self._make(Term("=", (term, substitute(step, values))))

    def induction(
        self, formula: Term, over: Term, base: Sequence[Theorem], step: Sequence[Theorem]
    ) -> Theorem:
        """From P(0) and P(n) => P(n + 1), or P(leaf k) and P(l) & P(r) => P(node l r): P."""
        if (over.op, over.sort) == ("var", NAT):
            values, varied = [_ZERO, over, over, over + 1], {over.name}
        elif (over.op, over.sort) == ("var", TREE) and free_names(formula).isdisjoint({*"klr"}):
            values, varied = [_LEAF_K, *_KLR[1:], _NODE_LR], {over.name, *"klr"}
        else:
            raise TypeError("induction runs over a Nat or, k, l, r being free, over a Tree")
        first, p, q, then = (substitute(formula, {over.name: value}) for value in values)
        parts = self.smt(first, *base), self.smt((p & q) >> then, *step)
        return self._make(formula, *parts, varied=varied)
