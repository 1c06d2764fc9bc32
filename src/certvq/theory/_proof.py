"""Tactics: what a proof script says, turned into steps of the kernel.

In: statements and earlier theorems. Out: theorems, made by the kernel alone. Not trusted: whatever
is chosen here, the kernel checks it. Must not import the theorems.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from certvq.theory._kernel import Kernel, Term, Theorem, shape, substitute
from certvq.theory._operators import NAT
from certvq.theory._terms import as_lambda, leaf, nat, node, variables
from certvq.theory._trial import Trial

Lemma: TypeAlias = Callable[["Proof"], Theorem]


class Proof:
    """A kernel with its solvers, and the theorems that it has proved so far."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.kernel = Kernel(trial.solvers, trial.seconds, trial.report)
        self._known: dict[Lemma, Theorem] = {}

    def get(self, lemma: Lemma) -> Theorem:
        """Return what a lemma or theorem proves, proving it once."""
        if lemma not in self._known:
            self._known[lemma] = lemma(self)
        return self._known[lemma]

    def use(self, what: Lemma | Theorem, **mapping: Any) -> Theorem:
        """Return an instance; a Python function stands for a function symbol."""
        theorem = what if isinstance(what, Theorem) else self.get(what)
        sorts = {t.name: t for t in subterms(theorem.formula) if t.op == "app"}
        free = sorts.keys() | {t.name for t in subterms(theorem.formula) if t.op == "var"}
        if mapping.keys() - free:
            raise TypeError(
                f"{sorted(mapping.keys() - free)} do not occur; there are {sorted(free)}"
            )
        values: dict[str, Term] = {}
        for name, value in mapping.items():
            if name in sorts:
                values[name] = as_lambda(value, tuple(arg.sort for arg in sorts[name].args))
            else:
                values[name] = value
        return self.kernel.instantiate(theorem, values)

    def smt(self, formula: Term, *facts: Theorem) -> Theorem:
        """Prove a formula; recursions and quotients in sight are unfolded."""
        return self.kernel.smt(formula, *facts, *self.unfold([formula, *_formulas(facts)]))

    def at(self, universal: Term, *terms: Term) -> Theorem:
        """Return: the universal formula implies its instance."""
        return self.kernel.specialise(universal, *terms)

    def shift(self, formula: Term, n: Term) -> Term:
        """Return a formula or term with n + 1 for n."""
        return self.replaced(formula, n, n + 1)

    def replaced(self, formula: Term, n: Term, value: Term) -> Term:
        """Return a formula or term with a value for a variable."""
        return substitute(formula, {n.name: value})

    def every(self, theorem: Theorem, variable: Term) -> Theorem:
        """From A => B return A => for all values of the variable, B."""
        return self.kernel.generalise(theorem, variable)

    def widen(
        self, given: Term, wanted: Term, *facts: Theorem, given_too: Term | None = None
    ) -> Theorem:
        """Prove that a universal formula (and a further hypothesis) implies another one.

        The facts may speak of the variable called `at`.
        """
        (bound,) = wanted.bound
        (place,) = variables(bound.sort, "at")
        body = substitute(wanted.args[0], {bound.name: place})
        left = given if given_too is None else given & given_too
        return self.every(self.smt(left >> body, self.at(given, place), *facts), place)

    def induct(self, formula: Term, n: Term, *facts: Theorem) -> Theorem:
        """Prove a formula for every n by induction; the facts serve base and step."""
        ends = [substitute(formula, {n.name: end}) for end in (nat(0), n + 1)]
        base = [*facts, *self.unfold([ends[0], *_formulas(facts)])]
        step = [*facts, *self.unfold([formula, ends[1], *_formulas(facts)])]
        return self.kernel.induction(formula, n, base, step)

    def induct_tree(
        self, formula: Term, tree: Term, leaf_facts: list[Theorem], node_facts: list[Theorem]
    ) -> Theorem:
        """Prove a formula for every tree by induction."""
        k, left, right = (*variables(NAT, "k"), *variables(tree.sort, "l r"))
        at_leaf, at_node = (
            substitute(formula, {tree.name: t}) for t in (leaf(k), node(left, right))
        )
        first = [*leaf_facts, *self.unfold([at_leaf, *_formulas(leaf_facts)])]
        second = [*node_facts, *self.unfold([at_node, *_formulas(node_facts)])]
        return self.kernel.induction(formula, tree, first, second)

    def unfold(self, formulas: Iterable[Term]) -> list[Theorem]:
        """Return the defining equations that the terms in sight allow."""
        found: dict[Any, Theorem] = {}
        waiting = list(formulas)
        while waiting:
            for term in exposed(waiting.pop()):
                if shape(term) in found:
                    continue
                if term.op == "/":
                    fact = self.kernel.quotient(term)
                elif _unfoldable(term):
                    fact = self.kernel.unfold(term)
                else:
                    continue
                found[shape(term)] = fact
                waiting.append(fact.formula)
        return list(found.values())


def subterms(term: Term) -> Iterator[Term]:
    """Yield a term and all terms in it."""
    yield term
    for arg in term.args:
        yield from subterms(arg)


def exposed(term: Term) -> Iterator[Term]:
    """Yield the terms in a term that stand under no binder."""
    yield term
    if term.op == "forall":
        return
    for arg in term.args[:1] if term.bound else term.args:
        yield from exposed(arg)


def _unfoldable(term: Term) -> bool:
    if term.op == "rec":
        at = term.args[0]
        return at == nat(0) or (at.op == "+" and at.args[1] == nat(1))
    return term.op == "fold" and term.args[0].op == "app"


def _formulas(facts: Iterable[Theorem]) -> list[Term]:
    return [fact.formula for fact in facts]
