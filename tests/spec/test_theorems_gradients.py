"""The estimator's cotangents are the exact derivatives of the objective with held-fixed parts.

The objective is differentiated by dual numbers a + b*eps (eps**2 = 0) over the rationals: no
formula of the specification enters, and there is nothing to round.
"""
# ruff: noqa: N802 - a test bears the name of its theorem, letter for letter

from dataclasses import dataclass
from fractions import Fraction

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
class Dual:
    """A value and its derivative along one direction."""

    value: Fraction
    slope: Fraction

    def __add__(self, other):
        other = lifted(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other):
        other = lifted(other)
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other):
        other = lifted(other)
        slope = self.value * other.slope + self.slope * other.value
        return Dual(self.value * other.value, slope)

    def __truediv__(self, count):
        return Dual(self.value / count, self.slope / count)

    def __radd__(self, other):
        return self + other

    def __rsub__(self, other):
        return lifted(other) - self

    def __rmul__(self, other):
        return self * other


def lifted(number):
    return number if isinstance(number, Dual) else Dual(Fraction(number), Fraction(0))


def stop(number):
    """Hold a value fixed: the stop-gradient."""
    return Dual(number.value, Fraction(0))


def mapped(function, *tensors):
    if isinstance(tensors[0], tuple):
        return tuple(mapped(function, *parts) for parts in zip(*tensors, strict=True))
    return function(*tensors)


def paths(tensor, prefix=()):
    """The places of all entries, as tuples of indices."""
    if not isinstance(tensor, tuple):
        return [prefix]
    return [place for i, part in enumerate(tensor) for place in paths(part, (*prefix, i))]


def seeded(tensor, moving, prefix=()):
    """Duals of a tensor, with slope 1 at one entry."""
    if isinstance(tensor, tuple):
        return tuple(seeded(part, moving, (*prefix, i)) for i, part in enumerate(tensor))
    return Dual(tensor, Fraction(prefix == moving))


def placed(tensor, value_at, prefix=()):
    """A tensor of the same shape whose entries are given by their places."""
    if isinstance(tensor, tuple):
        return tuple(placed(part, value_at, (*prefix, i)) for i, part in enumerate(tensor))
    return value_at(prefix)


def gradient(function, tensor):
    """The exact derivative of a scalar function of a tensor."""
    return placed(tensor, lambda place: function(seeded(tensor, place)).slope)


def objective(model, beta, x, idx, z, vectors):
    """The training objective on duals, every part of it that training holds fixed held fixed."""
    selected = vectors[idx]
    straight_through = mapped(lambda a, c: a + stop(c - a), z, selected)
    return (
        spec.mse(model.decoder.forward(straight_through), x)
        + spec.mse(selected, mapped(stop, z))
        + beta * spec.mse(z, mapped(stop, selected))
    )


def derivatives(model, beta, x, idx):
    """The derivatives of the objective in the latent and in every code vector."""
    nowhere = ("nowhere",)
    z, vectors = spec.encode(model, x), model.codebook.embedding
    still = [seeded(vector, nowhere) for vector in vectors]

    def in_latent(moving):
        return objective(model, beta, x, idx, moving, still)

    def in_code(code):
        def function(moving):
            moved = [*still[:code], moving, *still[code + 1 :]]
            return objective(model, beta, x, idx, seeded(z, nowhere), moved)

        return function

    by_code = tuple(gradient(in_code(code), vector) for code, vector in enumerate(vectors))
    return gradient(in_latent, z), by_code


def upstream_of(model, x, idx):
    """The derivative of the reconstruction loss at the decoder's input."""
    selected = model.codebook.embedding[idx]
    return gradient(lambda q: spec.mse(model.decoder.forward(q), x), selected)


@LAW
@given(data=st.data())
def test_straightThrough_gradients(draws, data):
    model, x, idx = data.draw(draws.situations())
    beta = data.draw(draws.scalars)
    found = spec.training_gradients(
        model.codebook, spec.encode(model, x), idx, upstream_of(model, x, idx), beta
    )
    in_latent, in_codes = derivatives(model, beta, x, idx)
    assert found.encoder == in_latent
    assert found.codebook == in_codes


def test_straightThrough_gradients_mutant(documented):
    """Wrong factors, signs and receivers are refuted by the derivatives."""
    model, x, beta = documented.model, documented.x, documented.beta
    z, c, g = x, documented.codebook.embedding[1], upstream_of(model, x, 1)
    in_latent, in_codes = derivatives(model, beta, x, 1)
    assert in_latent == mapped(lambda gk, zk, ck: gk + beta * (zk - ck), g, z, c)  # 2/n is 1
    assert in_latent != mapped(lambda gk, zk, ck: gk + (zk - ck), g, z, c)
    assert in_latent != mapped(lambda gk, zk, ck: gk - beta * (zk - ck), g, z, c)
    assert in_latent != mapped(lambda zk, ck: beta * (zk - ck), z, c)
    assert in_codes[1] == mapped(lambda zk, ck: ck - zk, z, c)
    assert in_codes[1] != mapped(lambda gk, zk, ck: gk + ck - zk, g, z, c)
    assert in_codes[0] == in_codes[2] == (0, 0)


def test_objective_on_duals_is_the_loss(documented):
    """What is differentiated has the value of the specification's loss."""
    z = spec.encode(documented.model, documented.x)
    still = [seeded(vector, ("nowhere",)) for vector in documented.codebook.embedding]
    for idx in range(3):
        moving = seeded(z, (0,))
        found = objective(documented.model, documented.beta, documented.x, idx, moving, still)
        expected = spec.loss(documented.model, documented.beta, documented.x, idx)
        assert found.value == expected


def test_duals_differentiate_a_cubic():
    """d/dx (x**3 - 2x)/4 is (3x**2 - 2)/4."""
    x = Dual(Fraction(5), Fraction(1))
    assert (x * x * x - 2 * x) / 4 == Dual(Fraction(115, 4), Fraction(73, 4))
    assert 1 - x == Dual(Fraction(-4), Fraction(-1))
    assert stop(x * x) == Dual(Fraction(25), Fraction(0))
