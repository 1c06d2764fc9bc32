"""The cotangents of a training step, on exact numbers."""

import dataclasses
import re
from fractions import Fraction

import pytest

from certvq import spec
from certvq.errors import CodeRangeError, DTypeError, ShapeError

BOOK = spec.Codebook(((0, 0, 0, 0), (1, 2, 3, 4), (9, 9, 9, 9)))
Z = (2, 2, 2, 2)
G = (10, 20, 30, 40)


def test_cotangents_by_hand():
    """n = 4, so that 2/n is 1/2; beta is 3."""
    found = spec.training_gradients(BOOK, Z, 1, G, 3)
    half = Fraction(1, 2)
    assert found.encoder == (10 + 3 * half, 20, 30 - 3 * half, 40 - 3)
    assert found.codebook == ((0, 0, 0, 0), (-half, 0, half, 1), (0, 0, 0, 0))


def test_the_mean_is_over_all_entries_of_any_rank():
    codebook = spec.Codebook((((0, 0), (0, 0)),))
    found = spec.training_gradients(codebook, ((4, 8), (12, 16)), 0, ((1, 1), (1, 1)), 1)
    assert found.encoder == ((3, 5), (7, 9))
    assert found.codebook == (((-2, -4), (-6, -8)),)


def test_latent_of_rank_zero():
    found = spec.training_gradients(spec.Codebook((1, 5)), 3, 1, 7, 1)
    assert found == spec.TrainingGradients(encoder=7 - 4, codebook=(0, 4))


def test_codebook_receives_neither_the_upstream_nor_beta():
    quiet = spec.training_gradients(BOOK, Z, 1, (0, 0, 0, 0), 0)
    assert spec.training_gradients(BOOK, Z, 1, G, 3).codebook == quiet.codebook
    assert quiet.encoder == (0, 0, 0, 0)


def test_code_not_selected_gets_zero_though_it_is_nearest():
    assert spec.nearest_codes(BOOK, Z) == (1,)
    found = spec.training_gradients(BOOK, Z, 2, G, 1)
    assert found.codebook[1] == (0, 0, 0, 0)
    assert found.codebook[2] == (Fraction(7, 2),) * 4


def test_duplicate_of_the_selected_code_gets_zero():
    found = spec.training_gradients(spec.Codebook(((5,), (5,))), (1,), 1, (0,), 1)
    assert found.codebook == ((0,), (8,))


def test_floats_stay_floats():
    found = spec.training_gradients(spec.Codebook(((1.0, 1.0),)), (1.0, -0.5), 0, (8.0, 8.0), 0.25)
    assert found.encoder == (8.0, 7.625)
    assert [type(entry) for entry in found.encoder + found.codebook[0]] == [float] * 4


def test_latent_of_another_shape_is_refused():
    text = "the latent has shape (1,) and every code vector has shape (4,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        spec.training_gradients(BOOK, (1,), 0, G, 1)


def test_upstream_of_another_shape_is_refused():
    text = "the latent has shape (4,) and upstream has shape (2, 2)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        spec.training_gradients(BOOK, Z, 0, ((1, 2), (3, 4)), 1)


def test_latent_without_entries_is_refused():
    with pytest.raises(ShapeError, match="a mean needs at least one entry"):
        spec.training_gradients(spec.Codebook(((),)), (), 0, (), 1)


def test_code_must_exist():
    with pytest.raises(CodeRangeError, match=re.escape("range(3), came 3")):
        spec.training_gradients(BOOK, Z, 3, G, 1)
    with pytest.raises(DTypeError, match="came True of type bool"):
        spec.training_gradients(BOOK, Z, True, G, 1)


@pytest.mark.parametrize("field", ["encoder", "codebook"])
def test_gradients_are_frozen(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(spec.training_gradients(BOOK, Z, 1, G, 3), field, ())
