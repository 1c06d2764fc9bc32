"""`certvq.prepare`: read once, duplicates folded, later changes of the array ignored.

Also of `certvq.assign._arrays`.
"""

import copy
import pickle

import array_api_strict
import numpy as np
import pytest
import torch

import certvq
from certvq import bounds
from certvq.assign._prepare import as_prepared
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


def unlike_views(matrix):
    """The same numbers in memory that is read-only, strided, swapped, or another library's."""
    read_only = matrix.copy()
    read_only.flags.writeable = False
    sparse = np.zeros((3 * len(matrix), 2 * matrix.shape[1]))
    sparse[::3, ::2] = matrix
    yield from (read_only, sparse[::3, ::2], np.asfortranarray(matrix), matrix[::-1].copy()[::-1])
    yield matrix.astype(">f8")
    yield matrix.view(np.matrix)
    yield torch.from_numpy(matrix).clone().requires_grad_()
    yield array_api_strict.asarray(matrix.copy())


@pytest.mark.parametrize("backend", ["native", "numpy", "torch", "reference"])
def test_arrays_are_read_where_they_are(rng, backend):
    latents, codebook = rng.random((20, 3)), rng.random((9, 3))
    codebook[7] = codebook[2]
    expected = certvq.assign(latents, certvq.prepare(codebook))
    for view in unlike_views(codebook):
        found = certvq.assign(latents, view, backend=backend, exact_sqdist=True)
        assert found.codes.tolist() == expected.codes.tolist()
        assert certvq.audit(latents, view, found.codes).ok
        assert found.sqdist.tolist() == pytest.approx(expected.sqdist.tolist(), rel=1e-14)


def test_a_call_leaves_the_array_writable():
    codebook = np.array([[0.0], [1.0]])
    certvq.assign(np.array([[0.1]]), codebook)
    codebook[0] = 5.0
    assert codebook.tolist() == [[5.0], [1.0]]


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("backend", ["native", "numpy", "torch", "reference"])
def test_nothing_of_a_call_changes_with_the_array(rng, backend, library):
    """An assignment or a report holds no view of the codebook that it was made from."""
    latents, codebook = rng.random((40, 3)), rng.random((9, 3))
    given = library(codebook)
    expected = [certvq.assign(latents, codebook.copy(), backend=backend, exact_sqdist=True)]
    expected += [certvq.certify(latents, codebook.copy(), expected[0].codes)]
    report = str(certvq.audit(latents, codebook.copy(), np.zeros(40, np.int64)))
    found = [certvq.assign(latents, given, backend=backend, exact_sqdist=True)]
    found += [certvq.certify(latents, given, found[0].codes)]
    audited = certvq.audit(latents, given, np.zeros(40, np.int64))
    codebook[:] = np.nan
    assert str(audited) == report
    for now, before in zip(found, expected, strict=True):
        assert now.codes.tolist() == before.codes.tolist()
        assert now.sqdist.tolist() == before.sqdist.tolist()
        assert now.counts() == before.counts()


def test_a_function_that_changes_the_users_array_changes_no_result(rng):
    """It runs after the codes are known and before exact squared distances are computed."""
    latents, codebook = rng.random((20, 3)), rng.random((9, 3))
    expected = certvq.assign(latents, codebook.copy(), exact_sqdist=True)

    def spoil(points, vectors):
        codebook[:] = 7.0
        return expected.codes

    certvq.register_backend("spoils", spoil)
    try:
        found = certvq.assign(latents, codebook, backend="spoils", exact_sqdist=True)
    finally:
        certvq.unregister_backend("spoils")
    assert (codebook == 7.0).all()
    assert found.codes.tolist() == expected.codes.tolist()
    assert found.sqdist.tolist() == expected.sqdist.tolist()


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_only_what_lasts_a_call_is_borrowed(library):
    codebook = np.array([[0.0], [1.0]])
    borrowed, own = as_prepared(library(codebook)), as_prepared(library(codebook), copy=True)
    codebook[0] = 5.0
    assert borrowed.source.tolist() == [[5.0], [1.0]]
    assert own.source.tolist() == [[0.0], [1.0]]
    assert certvq.prepare(library(codebook)).source.tolist() == [[5.0], [1.0]]
    assert as_prepared(own) is own


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


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])  # noqa: S301
@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_copies_and_pickles_are_prepared_too(copied, library):
    prepared = certvq.prepare(library([[0.0], [1.0]]))
    latents = library([[0.75], [0.25]])
    found = certvq.assign(latents, prepared).codes
    other = copied(prepared)
    assert type(other.source) is type(prepared.source)
    assert certvq.assign(latents, other).codes.tolist() == found.tolist() == [1, 0]


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
