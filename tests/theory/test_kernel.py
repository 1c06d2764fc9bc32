"""Only the kernel makes theorems, and its rules refuse what does not follow."""

import copy
import dataclasses
import pickle
from fractions import Fraction
from pathlib import Path

import pytest

from certvq.errors import ProofError
from certvq.theory import AXIOMS, _kernel, _solvers
from certvq.theory._kernel import Axiom, Kernel, Term, Theorem, fresh, shape, substitute
from certvq.theory._operators import BOOL, INT, NAT, REAL
from certvq.theory._proof import subterms
from certvq.theory._terms import (
    TREE,
    Function,
    as_lambda,
    fold,
    forall,
    forall_below,
    leaf,
    nat,
    real,
    to_real,
    total,
    variables,
    vector,
)

pytestmark = pytest.mark.solver

a, b = variables(REAL, "a b")
n, m, i, j, k = variables(NAT, "n m i j k")
x = vector("x")
SQUARE = real(0) <= a * a


def test_the_kernel_has_at_most_300_lines():
    assert len(Path(_kernel.__file__).read_text().splitlines()) <= 300


def test_what_all_solvers_refute_the_negation_of_is_a_theorem(proof):
    theorem = proof.kernel.smt(SQUARE)
    assert theorem.formula == SQUARE
    assert theorem.checkers == {"z3", "cvc5"}
    assert theorem.axioms == frozenset()


def test_a_theorem_names_only_the_solvers_that_ran(new_proof):
    alone, both = new_proof(("z3",)), new_proof()
    theorem = alone.kernel.smt(SQUARE)
    assert theorem.checkers == {"z3"}
    assert both.kernel.smt(SQUARE, theorem).checkers == {"z3"}
    assert new_proof(("cvc5",)).kernel.smt(SQUARE, theorem).checkers == set()


def test_a_kernel_without_solvers_proves_nothing():
    with pytest.raises(ProofError, match="not proved"):
        Kernel((), 1.0, lambda _script, _answers: None).smt(SQUARE)


def test_a_deaf_report_does_not_make_a_theorem_of_a_false_formula():
    kernel = Kernel(("z3",), 1.0, lambda _script, _answers: None)
    with pytest.raises(ProofError, match="status='sat'"):
        kernel.smt(real(1) <= a * a)


@pytest.mark.parametrize("said", ["unknown", "sat"])
def test_one_solver_that_says_otherwise_is_enough_to_refuse(monkeypatch, said):
    monkeypatch.setitem(_solvers.SOLVERS, "cvc5", lambda _script, _limit: (said, ""))
    kernel = Kernel(("z3", "cvc5"), 5.0, lambda _script, _answers: None)
    with pytest.raises(ProofError, match=f"status='{said}'"):
        kernel.smt(SQUARE)


@pytest.mark.parametrize("seal", [None, object(), "seal"])
def test_nobody_else_makes_theorems(seal):
    with pytest.raises(TypeError, match="only the kernel makes theorems"):
        Theorem(real(1) <= 0, frozenset({"z3"}), frozenset(), frozenset(), seal)


def test_theorems_are_neither_copied_nor_changed_nor_read_from_a_file(proof):
    theorem = proof.kernel.smt(SQUARE)
    for forge in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="prove it"):
            forge(theorem)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(theorem, formula=real(1) <= 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        theorem.formula = real(1) <= 0


def test_nothing_but_a_theorem_is_taken_for_one(proof):
    class Forged(Theorem):
        def __post_init__(self, seal):
            pass

    wrong = real(1) <= 0
    forged = Forged(wrong, frozenset({"z3", "cvc5"}), frozenset(), frozenset(), None)
    for fake in (forged, Axiom("ax_wrong", wrong, "nobody")):
        with pytest.raises((TypeError, AttributeError)):
            proof.kernel.smt(wrong, fake)
    with pytest.raises(TypeError, match="from theorems only"):
        proof.kernel.instantiate(forged, {"a": b})


def test_a_theorem_says_which_axioms_it_uses(proof):
    assumed = proof.kernel.assume(Axiom("ax_a", a.eq(1), "a test"))
    used = proof.kernel.smt(a + b <= b + 1, assumed)
    assert used.axioms == {"ax_a"}
    assert proof.kernel.instantiate(used, {"b": a}).axioms == {"ax_a"}


# ---- what an axiom names is a constant ---------------------------------------------------------

HEIGHT = Axiom("ax_height", (real(1) <= x(nat(0))) & x(nat(1)).eq(a) & n.eq(1), "a test")
"""Of one vector x, one number a and one n: false of others."""
REFUSED = r"constructors, or constants of \['ax_height'\]"


def constant(value, *sorts):
    """The function that is the same everywhere."""
    return as_lambda(lambda *_: value, sorts or (NAT,))


def symbols(term):
    """A lambda for each function symbol of a term: 9, or whatever there is of another sort."""
    for part in subterms(term):
        if part.op == "app" and part.name not in ("leaf", "node"):
            value = real(9) if part.sort == REAL else Term("var", (), part.sort, "other")
            yield part.name, constant(value, *(arg.sort for arg in part.args))


@pytest.mark.parametrize("name", AXIOMS)
def test_functions_that_an_axiom_speaks_of_are_not_replaced(proof, name):
    assumed = proof.kernel.assume(AXIOMS[name])
    functions = dict(symbols(AXIOMS[name].formula))
    assert functions
    assert functions.keys() <= assumed.constants
    used = proof.kernel.smt(assumed.formula | (real(1) <= a), assumed)
    for theorem in (assumed, used, proof.kernel.instantiate(used, {"a": b})):
        for function, other in functions.items():
            with pytest.raises(TypeError, match=rf"\['{function}'\]: .* constants of \['{name}'\]"):
                proof.kernel.instantiate(theorem, {function: other})
        with pytest.raises(TypeError, match="constants of"):
            proof.kernel.instantiate(theorem, functions)


def test_one_is_not_zero_by_another_function_for_the_computed_product(proof):
    """What used to go through: all products are 9, so that the errors are not small."""
    assumed = proof.kernel.assume(AXIOMS["ax_ieee754_product"])
    nine = {"computed": constant(real(9), TREE), "x": constant(real(0)), "y": constant(real(0))}
    wrong = substitute(assumed.formula, nine)
    errors, products = wrong.args
    facts = [proof.at(errors, leaf(nat(0))), proof.at(products, nat(0))]
    assert proof.smt(wrong >> real(1).eq(0), *facts)
    with pytest.raises(TypeError, match=r"\['computed', 'x', 'y'\]: constructors, or constants of"):
        proof.kernel.instantiate(assumed, nine)
    facts = [
        proof.at(part, at) for part, at in zip(assumed.formula.args, (leaf(k), k), strict=True)
    ]
    with pytest.raises(ProofError, match="does not follow"):
        proof.kernel.smt(real(1).eq(0), assumed, *facts)


def test_constants_stay_constants_in_all_that_follows(proof):
    kernel, assumed = proof.kernel, proof.kernel.assume(HEIGHT)
    plain = kernel.smt(b <= b * b + 1)
    follows = [
        kernel.smt(b <= b + x(nat(0)), plain, assumed),
        kernel.instantiate(assumed, {"b": a}),
        kernel.generalise(kernel.smt((b <= 0) >> (j <= j + 1), assumed), j),
        kernel.induction(nat(0) <= j, j, [assumed], []),
        kernel.induction(nat(0) <= j, j, [], [assumed]),
    ]
    for theorem in follows:
        assert {"a", "n", "x"} <= theorem.constants
        assert theorem.axioms == {"ax_height"}
        for name, other in {"x": constant(real(0)), "a": b, "n": m}.items():
            with pytest.raises(TypeError, match=REFUSED):
                kernel.instantiate(theorem, {name: other})
    assert plain.constants.isdisjoint({"a", "b", "n", "x"})


def test_variables_of_an_axiom_are_constants_to_every_rule(proof):
    """Else n = 1 would hold of every n; or n /= 1 here, since that is so of 0 and of 1 + 1."""
    kernel, assumed = proof.kernel, proof.kernel.assume(HEIGHT)
    with pytest.raises(TypeError, match=rf"\['n'\]: {REFUSED}"):
        kernel.generalise(kernel.smt((b <= b + 1) >> n.eq(1), assumed), n)
    with pytest.raises(TypeError, match=rf"\['n'\]: {REFUSED}"):
        kernel.induction(~n.eq(1), n, [], [assumed])
    with pytest.raises(TypeError, match=rf"\['x'\]: {REFUSED}"):
        kernel.generalise(kernel.smt((b <= b + 1) >> (real(1) <= x(nat(0))), assumed), as_var("x"))


@pytest.mark.parametrize("name", ["k", "l", "r"])
def test_induction_over_trees_does_not_run_over_constants(proof, name):
    (tree,) = variables(TREE, "t")
    (fixed,) = variables(NAT if name == "k" else TREE, name)
    assumed = proof.kernel.assume(Axiom("ax_height", fixed.eq(fixed), "a test"))
    with pytest.raises(TypeError, match=rf"\['{name}'\]: {REFUSED}"):
        proof.kernel.induction(tree.eq(tree), tree, [assumed], [assumed])


def test_names_that_are_bound_in_an_axiom_are_free_to_use(proof):
    bound = Term("forall", (nat(0) <= n,), bound=(n,))
    theorem = proof.kernel.smt(n <= n + 1, proof.kernel.assume(Axiom("ax", bound, "a test")))
    assert proof.kernel.instantiate(theorem, {"n": m}).formula == (m <= m + 1)


def test_a_function_and_a_bound_variable_of_one_name_are_two_things(proof):
    """A quantifier over x binds no function: its instances must not replace the function x."""
    says = x(nat(0)).eq(0)
    universal = Term("forall", (says,), bound=(as_var("x"),))
    with pytest.raises(TypeError, match="terms that are no functions"):
        proof.kernel.specialise(universal, constant(real(1)))
    with pytest.raises(TypeError, match="x is a function to Real"):
        proof.kernel.specialise(universal, real(1))
    with pytest.raises(TypeError, match="ill-sorted"):
        Function("g", ("to Real",), REAL)(constant(real(1)))


def test_ordinary_instances_of_functions(proof):
    theorem = proof.kernel.smt(x(n) <= x(n) * x(n) + 1)
    instance = proof.kernel.instantiate(theorem, {"x": as_lambda(to_real, (NAT,)), "n": m + 1})
    value = to_real(m + 1)
    assert instance.formula == (value <= value * value + 1)


def as_var(name):
    return Term("var", (), NAT, name)


def test_instances_need_the_same_sort(proof):
    theorem = proof.kernel.smt(nat(0) <= n)
    minus = Term("num", (), INT, "-1")
    with pytest.raises(TypeError, match="n is a Nat"):
        proof.kernel.instantiate(theorem, {"n": minus})
    equal = proof.kernel.smt(x(n).eq(x(n)))
    with pytest.raises(TypeError, match="x is a function to Real"):
        proof.kernel.instantiate(equal, {"x": as_lambda(lambda k: k, (NAT,))})


@pytest.mark.rows(
    "ill_sorted",
    [
        lambda: Term("num", (), NAT, "-1"),
        lambda: Term("num", (), INT, "1/2"),
        lambda: Term("-", (n, m), NAT),
        lambda: Term("+", (n, a), NAT),
        lambda: Term("+", (variables(INT, "p")[0], nat(1)), NAT),
        lambda: Term("ite", (a, a, a), REAL),
        lambda: Term("to_int", (a,), INT),  # would be 1/2 and an Int
        lambda: Term("app", (), REAL, "a"),  # would be the variable a to the solvers
        lambda: Term("var", (n,), REAL, "x"),  # would be x(n) to the solvers
        lambda: Term("rec", (n, nat(0), nat(0)), NAT, bound=(n, m)),
        lambda: Term("rec", (nat(0), a, a), REAL, bound=(n, a)),
        lambda: Term("fold", (leaf(n), a, a), REAL, bound=(n, b, b)),
        lambda: Term("fold", (leaf(k), a, b), REAL, bound=(n, a, b)),
        lambda: Term("fold", (leaf(k), a, to_real(n)), REAL, bound=(n, b, b)),
        lambda: n - m,
        lambda: n + a,
        lambda: n * Fraction(1, 2),
    ],
)
def test_terms_are_well_sorted(ill_sorted):
    with pytest.raises(TypeError):
        ill_sorted()


def test_one_name_with_two_types_is_refused(proof):
    (other,) = variables(INT, "n")
    with pytest.raises(TypeError, match="n is used as"):
        proof.kernel.smt((nat(0) <= n) & (0 * other <= other))


def test_nobody_names_a_fresh_variable_before_it_is_made():
    number = int(fresh(NAT).name[1:])
    assert Term("var", (), NAT, f"!{number}").name == f"!{number}"
    with pytest.raises(TypeError, match=f"ill-sorted: var !{number + 1}"):
        Term("var", (), NAT, f"!{number + 1}")


def test_substitution_does_not_capture():
    for_all = forall(lambda k: k <= n)
    bound = for_all.bound[0]
    renamed = substitute(for_all, {"n": bound})
    assert renamed.args[0].args[1] == bound
    assert renamed.bound[0] != bound


def test_formulas_that_differ_in_bound_names_alone_have_one_shape():
    assert shape(forall(lambda k: k <= n)) == shape(forall(lambda q: q <= n))
    assert shape(forall(lambda k: k <= n)) != shape(forall(lambda k: n <= k))
    assert shape(forall(lambda k: k <= n)) != shape(forall(lambda k: k <= m))


def test_generalise_refuses_a_variable_of_the_hypothesis(proof):
    theorem = proof.kernel.smt((n <= m) >> (n <= m + 1))
    with pytest.raises(TypeError, match="n not free in A"):
        proof.kernel.generalise(theorem, n)
    with pytest.raises(TypeError, match="A => B"):
        proof.kernel.generalise(proof.kernel.smt(nat(0) <= n), n)


def test_a_universal_formula_implies_its_instances_only(proof):
    given = forall_below(n, lambda k: x(k) <= a)
    instance = proof.at(given, i)
    proof.smt((given & (i < n)) >> (x(i) <= a), instance)
    with pytest.raises(ProofError, match="does not follow"):
        proof.smt(given >> (x(i) <= a), instance)
    with pytest.raises(ProofError, match="does not follow"):
        proof.smt((given & (j < n)) >> (x(j) <= a), instance)


def test_induction_needs_base_and_step(proof):
    gauss = (2 * total(n, to_real)).eq(to_real(n) * (to_real(n) - 1))
    assert proof.induct(gauss, n).formula == gauss
    with pytest.raises(ProofError):
        proof.induct((2 * total(n, to_real)).eq(to_real(n) * to_real(n)), n)
    with pytest.raises(ProofError):
        proof.induct((2 * total(n, to_real)).eq(to_real(n) * (to_real(n) - 1) + 1), n)
    with pytest.raises(TypeError, match="induction runs over"):
        proof.kernel.induction(SQUARE, a, [], [])


def test_induction_over_trees(proof):
    (tree,) = variables(TREE, "t")

    def leaves(t):
        return fold(t, lambda _: nat(1), lambda left, right: left + right)

    assert proof.induct_tree(nat(1) <= leaves(tree), tree, [], []).checkers == {"z3", "cvc5"}
    with pytest.raises(ProofError):
        proof.induct_tree(nat(2) <= leaves(tree), tree, [], [])
    with pytest.raises(TypeError, match="k, l, r being free"):
        proof.kernel.induction(leaves(tree) <= k, tree, [], [])


def test_constructors_of_trees_are_not_replaced(proof):
    theorem = proof.kernel.smt(leaf(k).eq(leaf(k)))
    with pytest.raises(TypeError, match="constructors"):
        proof.kernel.instantiate(theorem, {"leaf": as_lambda(leaf, (NAT,))})


def test_recursions_unfold_at_0_and_after_a_step_only(proof):
    proof.smt(total(nat(0), x).eq(0))
    proof.smt(total(n + 1, x).eq(total(n, x) + x(n)))
    with pytest.raises(ProofError):
        proof.smt(total(n + 1, x).eq(total(n, x)))
    for place in (n, n + m):
        with pytest.raises(TypeError, match="nothing to unfold"):
            proof.kernel.unfold(total(place, x))


def test_a_quotient_times_the_divisor_is_the_dividend_unless_it_divides_by_0(proof):
    proof.smt((real(0) < b) >> (a / b * b).eq(a))
    proof.smt((a / real(0)).eq(0))
    with pytest.raises(ProofError):
        proof.smt((a / b * b).eq(a))
    with pytest.raises(TypeError, match="quotient needs"):
        proof.kernel.quotient(a * b)


def test_equal_arguments_have_equal_values(proof):
    proof.smt(i.eq(j) >> x(i).eq(x(j)))
    proof.smt(i.eq(j) >> total(i, x).eq(total(j, x)))
    with pytest.raises(ProofError):
        proof.smt(x(i).eq(x(j)) >> i.eq(j))
    with pytest.raises(ProofError):
        proof.smt(i.eq(j) >> total(i, x).eq(total(j, vector("y"))))


def test_one_equal_argument_of_two_is_not_enough(proof):
    entry = Function("entry", (NAT, NAT), REAL)
    proof.smt((i.eq(j) & k.eq(m)) >> entry(i, k).eq(entry(j, m)))
    with pytest.raises(ProofError):
        proof.smt(i.eq(j) >> entry(i, k).eq(entry(j, m)))


def test_a_nat_is_at_least_0_and_an_int_is_not(proof):
    index = Function("index", (NAT,), NAT)
    proof.smt(nat(0) <= index(n))
    (whole,) = variables(INT, "whole")
    with pytest.raises(ProofError):
        proof.smt(0 * whole <= whole)


def test_operators_that_solvers_do_not_get_are_refused(proof):
    with pytest.raises(TypeError, match="unknown operator"):
        proof.kernel.smt(Term("hope", (), BOOL))
    with pytest.raises(TypeError, match="unknown operator"):
        proof.kernel.smt(Term("var", (), BOOL, "true) (assert false"))
