"""What the laws of the specification are tried on: exact rationals, often with ties.

In: nothing. Out: hypothesis strategies for tensors, codebooks and models, and the documented
example of the seed in exact numbers.
"""

from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from certvq import spec

GRID = st.sampled_from([Fraction(k) for k in (0, 1, -1)])
HALVES = st.sampled_from([Fraction(k, 2) for k in range(-4, 5)])
WIDE = st.builds(Fraction, st.integers(-(10**6), 10**6), st.integers(1, 999))
SCALARS = st.sampled_from((GRID, HALVES, WIDE)).flatmap(lambda scalars: scalars)
SHAPES = st.sampled_from(((), (1,), (2,), (3,), (5,), (1, 2), (2, 2), (3, 1), (2, 1, 2)))
EMPTY_SHAPES = st.sampled_from(((0,), (2, 0)))


@dataclass(frozen=True)
class Polynomial:
    """A map whose every output is a quadratic polynomial of the inputs, hence rarely linear."""

    shape: tuple
    rows: tuple

    def __call__(self, tensor):
        inputs = spread(tensor)
        outputs = [
            inputs[i] * inputs[j] * square + inputs[i] * slope + offset
            for i, j, square, slope, offset in self.rows
        ]
        return gathered(outputs, self.shape)


def spread(tensor):
    if isinstance(tensor, tuple):
        return [entry for part in tensor for entry in spread(part)]
    return [tensor]


def gathered(entries, shape):
    if not shape:
        return entries[0]
    step = len(entries) // shape[0]
    return tuple(
        gathered(entries[place * step : (place + 1) * step], shape[1:]) for place in range(shape[0])
    )


def shape_of(tensor):
    if isinstance(tensor, tuple):
        return (len(tensor), *shape_of(tensor[0]))
    return ()


def size(shape):
    count = 1
    for length in shape:
        count *= length
    return count


def tensors(shape, scalars=SCALARS):
    if not shape:
        return scalars
    return st.tuples(*[tensors(shape[1:], scalars)] * shape[0])


@st.composite
def polynomials(draw, source, target):
    place = st.integers(0, size(source) - 1)
    row = st.tuples(place, place, GRID, GRID, HALVES)
    return Polynomial(target, tuple(draw(row) for _ in range(size(target))))


@st.composite
def pairs(draw):
    """Two tensors of one shape, which may have no entries."""
    shape = draw(st.one_of(SHAPES, EMPTY_SHAPES))
    return draw(st.tuples(tensors(shape), tensors(shape)))


@st.composite
def assignments(draw, shapes=SHAPES):
    """A codebook and a latent; small grids make exact ties and duplicate codes frequent."""
    shape = draw(shapes)
    scalars = draw(st.sampled_from((GRID, GRID, HALVES, WIDE)))
    vectors = draw(st.lists(tensors(shape, scalars), min_size=1, max_size=5))
    return spec.Codebook(tuple(vectors)), draw(tensors(shape, scalars))


@st.composite
def matches(draw):
    """A codebook and one of its codes; the code vector is the latent."""
    codebook, _ = draw(assignments(st.one_of(SHAPES, EMPTY_SHAPES)))
    return codebook, draw(st.integers(0, codebook.num_codes - 1))


@st.composite
def situations(draw):
    """A model, an observation and a code."""
    observed = draw(SHAPES)
    codebook, latent = draw(assignments())
    hidden = shape_of(latent)
    model = spec.Model(
        spec.Encoder(draw(polynomials(observed, hidden))),
        codebook,
        spec.Decoder(draw(polynomials(hidden, observed))),
    )
    return model, draw(tensors(observed)), draw(st.integers(0, codebook.num_codes - 1))


@st.composite
def matched_situations(draw):
    """A model, an observation and a code whose code vector is the latent of the observation."""
    model, x, idx = draw(situations())
    vectors = list(model.codebook.embedding)
    vectors[idx] = spec.encode(model, x)
    return spec.Model(model.encoder, spec.Codebook(tuple(vectors)), model.decoder), x, idx


@st.composite
def rising_weights(draw):
    """Two weights of either sign, the first at most the second."""
    low = draw(SCALARS)
    return low, low + abs(draw(SCALARS))


@pytest.fixture(scope="session")
def draws():
    return SimpleNamespace(
        scalars=SCALARS,
        magnitudes=SCALARS.map(abs),
        pairs=pairs,
        assignments=assignments,
        possibly_empty=st.one_of(SHAPES, EMPTY_SHAPES),
        matches=matches,
        situations=situations,
        matched_situations=matched_situations,
        rising_weights=rising_weights,
    )


@pytest.fixture(scope="session")
def documented():
    """The seed's example in exact numbers, with identities for encoder and decoder."""
    codebook = spec.Codebook(spec.exact(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5))))
    model = spec.Model(spec.Encoder(lambda x: x), codebook, spec.Decoder(lambda q: q))
    return SimpleNamespace(
        model=model, codebook=codebook, x=spec.exact((1.0, -0.5)), beta=Fraction(1, 4)
    )
