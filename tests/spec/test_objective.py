"""The two- and three-term objectives."""

import dataclasses
import re
from fractions import Fraction

import pytest

from certvq import spec
from certvq.errors import CodeRangeError


def test_two_terms_are_base_plus_weighted_regularizer():
    terms = spec.WeightedTwoTerm(base=3, regularizer=5)
    assert spec.weighted_two_term(Fraction(1, 2), terms) == Fraction(11, 2)
    assert spec.weighted_two_term(-1, terms) == -2


def test_three_terms_weigh_the_regularizer_alone():
    terms = spec.WeightedThreeTerm(base=3, middle=7, regularizer=5)
    assert spec.weighted_three_term(Fraction(1, 2), terms) == Fraction(25, 2)
    assert spec.weighted_three_term(-1, terms) == 5


def test_terms_of_the_vqvae_stand_in_their_places():
    """Decoder q -> 2q: the reconstruction term differs from the other two."""
    model = spec.Model(
        spec.Encoder(lambda x: x), spec.Codebook(((1,), (4,))), spec.Decoder(lambda q: (2 * q[0],))
    )
    assert spec.vqvae_objective_terms(model, (3,), 1) == spec.WeightedThreeTerm(
        base=25, middle=1, regularizer=1
    )


def test_terms_of_a_code_that_does_not_exist_are_refused(documented):
    with pytest.raises(CodeRangeError, match=re.escape("range(3), came 3")):
        spec.vqvae_objective_terms(documented.model, documented.x, 3)


@pytest.mark.parametrize("terms", [spec.WeightedTwoTerm(1, 2), spec.WeightedThreeTerm(1, 2, 3)])
def test_terms_are_frozen(terms):
    with pytest.raises(dataclasses.FrozenInstanceError):
        terms.base = 0
