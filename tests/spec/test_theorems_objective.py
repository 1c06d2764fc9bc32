"""The seed's theorems about weighted objectives, each a law on exact rationals.

Beside each law stands a concrete example on which a wrong version of the statement fails.
"""
# ruff: noqa: N802 - a test bears the name of its theorem, letter for letter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq import spec

LAW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@LAW
@given(data=st.data())
def test_weightedTwoTerm_zero_regularizer(draws, data):
    weight, base = data.draw(draws.scalars), data.draw(draws.scalars)
    assert spec.weighted_two_term(weight, spec.WeightedTwoTerm(base, 0)) == base


def test_weightedTwoTerm_zero_regularizer_mutant():
    """With a regularizer of 1 it is false."""
    assert spec.weighted_two_term(2, spec.WeightedTwoTerm(3, 1)) != 3


@LAW
@given(data=st.data())
def test_weightedTwoTerm_zero_weight(draws, data):
    terms = spec.WeightedTwoTerm(data.draw(draws.scalars), data.draw(draws.scalars))
    assert spec.weighted_two_term(0, terms) == terms.base


def test_weightedTwoTerm_zero_weight_mutant():
    """With a weight of 1 it is false."""
    assert spec.weighted_two_term(1, spec.WeightedTwoTerm(3, 5)) != 3


@LAW
@given(data=st.data())
def test_weightedTwoTerm_mono_weight(draws, data):
    low, high = data.draw(draws.rising_weights())
    terms = spec.WeightedTwoTerm(data.draw(draws.scalars), data.draw(draws.magnitudes))
    assert spec.weighted_two_term(low, terms) <= spec.weighted_two_term(high, terms)


def test_weightedTwoTerm_mono_weight_mutant():
    """Without 0 <= regularizer it is false."""
    terms = spec.WeightedTwoTerm(base=0, regularizer=-1)
    assert not spec.weighted_two_term(1, terms) <= spec.weighted_two_term(2, terms)


@LAW
@given(data=st.data())
def test_weightedThreeTerm_zero_regularizer(draws, data):
    weight, base, middle = (data.draw(draws.scalars) for _ in range(3))
    terms = spec.WeightedThreeTerm(base, middle, 0)
    assert spec.weighted_three_term(weight, terms) == base + middle


def test_weightedThreeTerm_zero_regularizer_mutant():
    """The middle term does not vanish with the regularizer."""
    assert spec.weighted_three_term(2, spec.WeightedThreeTerm(3, 5, 0)) != 3


@LAW
@given(data=st.data())
def test_weightedThreeTerm_zero_middle_zero_regularizer(draws, data):
    weight, base = data.draw(draws.scalars), data.draw(draws.scalars)
    assert spec.weighted_three_term(weight, spec.WeightedThreeTerm(base, 0, 0)) == base


def test_weightedThreeTerm_zero_middle_zero_regularizer_mutant():
    """With a middle term of 1 it is false."""
    assert spec.weighted_three_term(2, spec.WeightedThreeTerm(3, 1, 0)) != 3


@LAW
@given(data=st.data())
def test_weightedThreeTerm_zero_weight(draws, data):
    terms = spec.WeightedThreeTerm(*(data.draw(draws.scalars) for _ in range(3)))
    assert spec.weighted_three_term(0, terms) == terms.base + terms.middle


def test_weightedThreeTerm_zero_weight_mutant():
    """With a weight of 1 it is false."""
    assert spec.weighted_three_term(1, spec.WeightedThreeTerm(3, 5, 7)) != 3 + 5


@LAW
@given(data=st.data())
def test_weightedThreeTerm_mono_weight(draws, data):
    low, high = data.draw(draws.rising_weights())
    base, middle = data.draw(draws.scalars), data.draw(draws.scalars)
    terms = spec.WeightedThreeTerm(base, middle, data.draw(draws.magnitudes))
    assert spec.weighted_three_term(low, terms) <= spec.weighted_three_term(high, terms)


def test_weightedThreeTerm_mono_weight_mutant():
    """Without 0 <= regularizer it is false, and so it is without low <= high."""
    falling = spec.WeightedThreeTerm(base=0, middle=0, regularizer=-1)
    assert not spec.weighted_three_term(1, falling) <= spec.weighted_three_term(2, falling)
    rising = spec.WeightedThreeTerm(base=0, middle=0, regularizer=1)
    assert not spec.weighted_three_term(2, rising) <= spec.weighted_three_term(1, rising)
