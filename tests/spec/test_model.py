"""Encoder, codebook and decoder with the index as an argument."""

import dataclasses
import re
from fractions import Fraction

import numpy as np
import pytest

from certvq import spec
from certvq.errors import CodeRangeError, DTypeError, ShapeError

LOSSES = [
    spec.reconstruction_loss,
    spec.codebook_loss,
    spec.commitment_loss,
    lambda model, x, idx: spec.loss(model, 1, x, idx),
]


def squares(x):
    """Two numbers to a latent of shape (1, 2), not linearly."""
    return ((x[0] * x[0], x[0] * x[1]),)


def total(q):
    """A latent of shape (1, 2) to two numbers."""
    return (q[0][0] + q[0][1], q[0][0] * q[0][1])


MODEL = spec.Model(
    spec.Encoder(squares), spec.Codebook((((0, 0),), ((4, 7),))), spec.Decoder(total)
)
X = (2, 3)


def test_encode_is_the_encoder():
    assert spec.encode(MODEL, X) == ((4, 6),)


def test_quantized_is_the_code_vector():
    assert spec.quantized(MODEL, 0) == ((0, 0),)
    assert spec.quantized(MODEL, 1) == ((4, 7),)


def test_forward_decodes_the_code_vector():
    assert spec.forward(MODEL, X, 1) == (11, 28)


def test_forward_never_chooses_the_code():
    """Code 1 is the nearest; code 0 is decoded when it is asked for."""
    assert spec.nearest_codes(MODEL.codebook, spec.encode(MODEL, X)) == (1,)
    assert spec.forward(MODEL, X, 0) == (0, 0)


def test_forward_depends_on_the_observation_through_the_code_alone():
    assert spec.forward(MODEL, X, 1) == spec.forward(MODEL, (100, -3), 1)


def test_the_three_losses_are_means_over_their_own_spaces():
    assert spec.reconstruction_loss(MODEL, X, 1) == Fraction(9**2 + 25**2, 2)
    assert spec.codebook_loss(MODEL, X, 1) == Fraction(1, 2)
    assert spec.commitment_loss(MODEL, X, 1) == Fraction(1, 2)


def test_loss_weighs_the_commitment_term():
    assert spec.loss(MODEL, 3, X, 1) == 353 + Fraction(1, 2) + 3 * Fraction(1, 2)


def test_documented_totals():
    book = spec.Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5)))
    model = spec.Model(spec.Encoder(lambda x: x), book, spec.Decoder(lambda q: q))
    x = (1.0, -0.5)
    assert [spec.loss(model, 0.25, x, code) for code in range(3)] == [1.40625, 2.53125, 5.625]
    assert spec.nearest_code(book, spec.encode(model, x)) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("code", [2, -1])
def test_code_out_of_range_is_refused(loss, code):
    with pytest.raises(CodeRangeError, match=re.escape(f"range(2), came {code}")):
        loss(MODEL, X, code)


@pytest.mark.parametrize("loss", LOSSES)
def test_bool_is_no_code(loss):
    with pytest.raises(DTypeError, match="came True of type bool"):
        loss(MODEL, X, True)


def test_latent_of_another_shape_than_the_codes_is_refused():
    flat = spec.Model(spec.Encoder(lambda x: x), MODEL.codebook, MODEL.decoder)
    with pytest.raises(ShapeError, match=re.escape("x has shape (2,) and y has shape (1, 2)")):
        spec.commitment_loss(flat, X, 0)
    with pytest.raises(ShapeError, match=re.escape("x has shape (1, 2) and y has shape (2,)")):
        spec.codebook_loss(flat, X, 0)


def test_reconstruction_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=re.escape("x has shape (2,) and y has shape (3,)")):
        spec.reconstruction_loss(MODEL, (1, 2, 3), 0)


def test_array_from_an_encoder_is_refused():
    model = spec.Model(spec.Encoder(np.array), MODEL.codebook, MODEL.decoder)
    with pytest.raises(DTypeError, match="came ndarray"):
        spec.codebook_loss(model, X, 0)


@pytest.mark.parametrize(
    ("value", "field"),
    [(MODEL, "codebook"), (MODEL.encoder, "forward"), (MODEL.decoder, "forward")],
)
def test_models_are_frozen(value, field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
