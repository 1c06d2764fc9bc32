"""`certvq.prepare`: read once, duplicates folded, later changes of the array ignored."""

import numpy as np
import pytest
import torch

import certvq
from certvq import bounds
from certvq.errors import FloatEnvironmentError, NonFiniteError


def test_duplicates_are_folded_to_the_lowest_index():
    prepared = certvq.prepare(
        np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [2.0, 0.0], [3.0, 0.0]])
    )
    assert prepared.lowest.tolist() == [0, 1, 4]
    assert prepared.group.tolist() == [0, 1, 0, 1, 2]
    assert prepared.distinct.tolist() == [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    assert (prepared.codebook_size, prepared.dim) == (5, 2)


def test_later_changes_of_the_array_do_not_reach_it():
    codebook = np.array([[0.0], [1.0]])
    prepared = certvq.prepare(codebook)
    codebook[0] = 5.0
    assert certvq.assign(np.array([[0.1]]), prepared).codes.tolist() == [0]


def test_later_changes_do_not_reach_registered_backends_or_audits():
    codebook = np.array([[0.0], [1.0]])
    prepared = certvq.prepare(codebook)
    codebook[:] = codebook[::-1].copy()
    assert certvq.audit(np.array([[0.1]]), prepared, [0]).ok
    assert certvq.assign(np.array([[0.1]]), prepared, backend="reference").codes.tolist() == [0]


def test_same_codes_prepared_or_not(rng):
    latents, codebook = rng.random((40, 3)), rng.random((9, 3))
    prepared = certvq.prepare(codebook)
    for backend in ("numpy", "torch", "reference"):
        expected = certvq.assign(latents, codebook).codes
        assert (certvq.assign(latents, prepared, backend=backend).codes == expected).all()


def test_scaling_is_chosen_only_where_needed():
    prepared = certvq.prepare(np.array([[1.0], [2.0]]))
    assert prepared.exponent_for(3.0) == 0
    assert prepared.exponent_for(2.0**bounds.SAFE_EXPONENT * 0.9) == 0
    assert prepared.exponent_for(2.0**900) == 901
    tiny = certvq.prepare(np.array([[2.0**-900]]))
    assert tiny.exponent_for(0.0) == -899
    assert tiny.scaled(-899).tolist() == [[0.5]]


def test_bad_codebook_is_refused_once():
    with pytest.raises(NonFiniteError, match="row 1, column 0"):
        certvq.prepare(np.array([[0.0], [np.nan]]))


def test_repr_shows_the_sizes():
    assert repr(certvq.prepare(np.zeros((3, 2)))) == "Prepared(codebook_size=3, dim=2)"


@pytest.mark.parametrize("name", ["source", "distinct", "lowest", "group"])
def test_its_arrays_cannot_be_written(name):
    prepared = certvq.prepare(np.array([[0.0], [1.0]]))
    with pytest.raises(ValueError, match="read-only"):
        getattr(prepared, name)[:] = 0


def test_it_is_not_made_where_subnormals_are_flushed():
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(FloatEnvironmentError, match="subnormal"):
            certvq.prepare(np.array([[1e-310]]))
    finally:
        torch.set_flush_denormal(False)
