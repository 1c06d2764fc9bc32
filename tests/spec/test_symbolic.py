"""The definitions on symbolic reals: computed first and evaluated later, or the other way round.

`Term` knows no more than a solver's real term does: addition, subtraction, multiplication,
division by an integer, and comparisons that are formulas and have no truth value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certvq import spec

LAW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Formula:
    """A statement about variables, true or false only once they are given."""

    at: Callable[[dict], Any]

    def __and__(self, other):
        return Formula(lambda values: self.at(values) and other.at(values))

    def __bool__(self):
        raise TypeError("a formula has no truth value")


@dataclass(frozen=True)
class Term:
    """A real number that depends on variables."""

    at: Callable[[dict], Any]

    def __add__(self, other):
        return Term(lambda values: self.at(values) + given_values(other, values))

    def __sub__(self, other):
        return Term(lambda values: self.at(values) - given_values(other, values))

    def __rsub__(self, other):
        return Term(lambda values: other - self.at(values))

    def __mul__(self, other):
        return Term(lambda values: self.at(values) * given_values(other, values))

    def __rmul__(self, other):
        return self * other

    def __truediv__(self, count):
        assert isinstance(count, int)
        return Term(lambda values: self.at(values) / count)

    def __le__(self, other):
        return Formula(lambda values: self.at(values) <= given_values(other, values))

    def __ge__(self, other):
        return Formula(lambda values: self.at(values) >= given_values(other, values))


def given_values(tensor, values):
    """Evaluate every term in nested tuples at the values of the variables."""
    if isinstance(tensor, tuple):
        return tuple(given_values(part, values) for part in tensor)
    return tensor.at(values) if isinstance(tensor, (Term, Formula)) else tensor


def variables(tensor, name) -> tuple[Any, dict]:
    """Put a fresh variable in the place of every entry; give the values as well."""
    if isinstance(tensor, tuple):
        parts = [variables(part, f"{name}_{place}") for place, part in enumerate(tensor)]
        values = {key: value for _, inner in parts for key, value in inner.items()}
        return tuple(part for part, _ in parts), values
    return Term(lambda values: values[name]), {name: tensor}


@LAW
@given(data=st.data())
def test_values_and_terms_commute(draws, data):
    codebook, z = data.draw(draws.assignments())
    idx = data.draw(st.integers(0, codebook.num_codes - 1))
    terms, at_codebook = variables(codebook.embedding, "c")
    latent, at_latent = variables(z, "z")
    book, values = spec.Codebook(terms), at_codebook | at_latent
    weight, vector = Term(lambda values: values["beta"]), codebook.embedding[idx]
    values["beta"] = data.draw(draws.scalars)

    def evaluated(term):
        return given_values(term, values)

    assert evaluated(spec.mse(latent, terms[idx])) == spec.mse(z, vector)
    assert evaluated(spec.dot(latent, terms[idx])) == spec.dot(z, vector)
    assert evaluated(spec.score(book, latent, idx)) == spec.score(codebook, z, idx)
    assert evaluated(spec.squared_distances(book, latent)) == spec.squared_distances(codebook, z)
    symbolic = spec.training_gradients(book, latent, idx, latent, weight)
    exact = spec.training_gradients(codebook, z, idx, z, values["beta"])
    assert evaluated(symbolic.encoder) == exact.encoder
    assert evaluated(symbolic.codebook) == exact.codebook


@LAW
@given(data=st.data())
def test_nearest_code_is_a_formula_and_its_conditions_are(draws, data):
    codebook, z = data.draw(draws.assignments())
    terms, at_codebook = variables(codebook.embedding, "c")
    latent, at_latent = variables(z, "z")
    book, values = spec.Codebook(terms), at_codebook | at_latent
    for idx in range(codebook.num_codes):
        formula = spec.is_nearest_code(book, latent, idx)
        assert isinstance(formula, Formula)
        assert formula.at(values) == spec.is_nearest_code(codebook, z, idx)
        conditions = spec.nearest_code_conditions(book, latent, idx)
        assert [condition.at(values) for condition in conditions] == list(
            spec.nearest_code_conditions(codebook, z, idx)
        )


def test_loss_of_a_symbolic_model():
    names = iter("abcde")
    a, b, c, d, beta = (Term(lambda values, name=name: values[name]) for name in names)
    model = spec.Model(
        spec.Encoder(lambda x: (x[0] * x[1],)),
        spec.Codebook(((c,), (d,))),
        spec.Decoder(lambda q: (q[0], q[0] * q[0])),
    )
    values = {"a": Fraction(2), "b": Fraction(3), "c": Fraction(5), "d": Fraction(0), "e": 4}
    terms = spec.vqvae_objective_terms(model, (a, b), 0)
    assert (terms.base.at(values), terms.middle.at(values), terms.regularizer.at(values)) == (
        Fraction(3**2 + 22**2, 2),
        1,
        1,
    )
    assert spec.loss(model, beta, (a, b), 0).at(values) == Fraction(493, 2) + 1 + 4


def test_conditions_that_are_numbers_decide_a_mixed_question():
    """Codes (0) and (9) are numbers, code 2 is a variable; the latent is 1."""
    variable = Term(lambda values: values["c"])
    book = spec.Codebook(((0,), (9,), (variable,)))
    far = spec.nearest_code_conditions(book, (1,), 1)
    assert far[:2] == (False, True)
    assert spec.is_nearest_code(book, (1,), 1) is False
    formula = spec.is_nearest_code(book, (1,), 0)
    assert formula.at({"c": 5}) is True
    assert formula.at({"c": Fraction(3, 2)}) is False


def test_a_set_of_codes_needs_numbers():
    variable = Term(lambda values: values["c"])
    with pytest.raises(TypeError):
        spec.nearest_codes(spec.Codebook(((variable,), (variable,))), (1,))


def test_sympy_derives_the_gradients_and_the_score():
    sympy = pytest.importorskip("sympy")
    z, c, e = (sympy.symbols(f"{name}:3", real=True) for name in "zce")
    beta = sympy.Symbol("beta", real=True)
    book = spec.Codebook((c, e))
    zero = (sympy.Integer(0),) * 3
    found = spec.training_gradients(book, z, 0, zero, beta)
    for k in range(3):
        assert sympy.expand(found.encoder[k] - beta * sympy.diff(spec.mse(z, c), z[k])) == 0
        assert sympy.expand(found.codebook[0][k] - sympy.diff(spec.mse(c, z), c[k])) == 0
    gain = spec.squared_l2(z, zero) - spec.squared_l2(z, c)
    assert sympy.expand(2 * spec.score(book, z, 0) - gain) == 0
    both = spec.nearest_code_conditions(book, z, 0)
    assert spec.is_nearest_code(book, z, 0) == both[1]
