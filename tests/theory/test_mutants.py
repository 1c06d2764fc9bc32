"""The checker is checked: false statements near each theorem have countermodels."""

from fractions import Fraction

import pytest

from certvq.errors import ProofError
from certvq.theory import LEDGER, Mutant, check_mutants
from certvq.theory._mutants import is_false, refute

pytestmark = pytest.mark.solver


@pytest.mark.parametrize("name", LEDGER)
def test_every_mutant_is_killed_by_an_exact_countermodel(name):
    for verdict in check_mutants((name,), ("z3",)):
        assert verdict.killed, f"{verdict.mutant}: {verdict.reason}"
        assert all(isinstance(v, Fraction | bool) for v in verdict.countermodel.values())


@pytest.mark.rows("name", LEDGER)
def test_the_theorem_itself_has_no_countermodel_where_its_mutants_have_one(name):
    """So what kills a mutant is the change, and not the instance."""
    statement = LEDGER[name].statement
    for instance in {mutant.instance for mutant in LEDGER[name].mutants}:
        verdict = refute(name, Mutant("the theorem", statement, instance), "z3", seconds=0.2)
        assert not verdict.killed, verdict.countermodel
        assert "no countermodel" in verdict.reason


def test_cvc5_finds_countermodels_as_well():
    for verdict in check_mutants(("nearest_of_score_gap", "sign_isNearestCode"), ("cvc5",)):
        assert verdict.killed, verdict.mutant


@pytest.mark.parametrize("name", ["nearest_of_score_gap", "sign_isNearestCode"])
def test_no_mutant_is_proved(name, new_proof):
    """Not even from the theorem itself."""
    proof = new_proof(("z3",))
    theorem = proof.get(LEDGER[name].prove)
    for mutant in LEDGER[name].mutants:
        with pytest.raises(ProofError):
            proof.smt(mutant.statement.formula, theorem)


def test_a_countermodel_is_one_only_if_it_is_false_exactly():
    statement = LEDGER["weightedTwoTerm_mono_weight"].statement
    rising = {
        "w1": Fraction(1),
        "w2": Fraction(2),
        "base": Fraction(0),
        "regularizer": Fraction(-1),
    }
    assert is_false(statement.without("hreg"), rising)
    assert not is_false(statement, rising)
    assert not is_false(statement.without("hreg"), {**rising, "regularizer": Fraction(1)})
