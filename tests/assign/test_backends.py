"""Backends by name: registration, repair, refusal, and entry points of other packages."""

import sys
import types

import numpy as np
import pytest
import torch

import certvq
from certvq.assign import _backends
from certvq.errors import (
    BackendError,
    BackendUnavailableError,
    CertificateError,
    OptionError,
)

LATENTS, CODEBOOK = np.array([[0.2], [0.5], [0.9]]), np.array([[0.0], [1.0]])


@pytest.fixture
def register():
    names = []

    def add(name, propose, **options):
        certvq.register_backend(name, propose, **options)
        names.append(name)

    yield add
    for name in names:
        certvq.unregister_backend(name)


def test_proposal_is_repaired(register):
    register("always one", lambda z, c: np.ones(len(z), dtype=np.int32))
    assert certvq.assign(LATENTS, CODEBOOK, backend="always one").codes.tolist() == [0, 0, 1]


def test_proposal_is_refused(register):
    register("always one", lambda z, c: np.ones(len(z), dtype=np.int32), on_violation="raise")
    with pytest.raises(CertificateError, match=r"'always one'.*got 1 instead of 0 at row 0 \(2"):
        certvq.assign(LATENTS, CODEBOOK, backend="always one")


def test_right_proposal_is_accepted(register):
    register("right", lambda z, c: np.array([0, 0, 1]), on_violation="raise")
    assert certvq.assign(LATENTS, CODEBOOK, backend="right").codes.tolist() == [0, 0, 1]


def test_function_sees_copies_of_the_arrays_of_the_user(register):
    seen = []
    register("look", lambda z, c: (seen.append((z, c)), torch.zeros(len(z), dtype=torch.int64))[1])
    z, c = torch.tensor(LATENTS), torch.tensor(CODEBOOK)
    assert certvq.assign(z, c, backend="look").codes.tolist() == [0, 0, 1]
    assert torch.equal(seen[0][0], z)
    assert torch.equal(seen[0][1], c)


@pytest.mark.parametrize("prepare", [False, True])
def test_a_function_that_writes_to_its_arguments_changes_no_code(register, prepare):
    def spoil(z, c):
        z *= -1
        c[:] = np.nan
        return np.zeros(len(z), dtype=int)

    register("spoil", spoil)
    z, c = LATENTS.copy(), certvq.prepare(CODEBOOK) if prepare else CODEBOOK.copy()
    for _ in range(2):
        assert certvq.assign(z, c, backend="spoil").codes.tolist() == [0, 0, 1]
    assert certvq.audit(z, c, [0, 0, 1]).ok
    assert (z == LATENTS).all()


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        (np.zeros(2, dtype=int), r"codes must have shape \(3,\).*got \(2,\)"),
        (np.zeros(3), "codes must be integers, got float64"),
        (np.array([0, 2, 0]), r"range\(2\), got 2 at row 1"),
        (np.array([0, 0, -1]), r"range\(2\), got -1 at row 2"),
        (None, "did not return codes"),
    ],
)
def test_what_are_no_codes_is_refused(register, returned, match):
    register("odd", lambda z, c: returned)
    with pytest.raises(BackendError, match=match):
        certvq.assign(LATENTS, CODEBOOK, backend="odd")


@pytest.mark.parametrize("name", ["auto", "numpy", "torch", "reference"])
def test_built_in_names_are_taken(name):
    with pytest.raises(OptionError, match=f"'{name}' is built in"):
        certvq.register_backend(name, lambda z, c: None)


def test_unknown_violation_rule_is_refused():
    with pytest.raises(OptionError, match="'repair' or 'raise', got 'ignore'"):
        certvq.register_backend("x", lambda z, c: None, on_violation="ignore")


def test_unregistering_the_unknown_is_refused():
    with pytest.raises(BackendUnavailableError, match="'nobody' is not registered"):
        certvq.unregister_backend("nobody")


@pytest.fixture
def plugged_in(monkeypatch):
    """A package whose entry point names a backend."""
    module = types.ModuleType("some_argmin")
    module.propose = lambda z, c: np.zeros(len(z), dtype=np.int64)
    monkeypatch.setitem(sys.modules, "some_argmin", module)
    points = importlib_points(["some-argmin = some_argmin:propose", "broken = no_such_package:f"])
    monkeypatch.setattr("importlib.metadata.entry_points", points)
    yield
    _backends._registered.pop("some-argmin", None)


def importlib_points(lines):
    from importlib.metadata import EntryPoint

    split = [line.split(" = ") for line in lines]
    points = [EntryPoint(name, value, "certvq.backends") for name, value in split]

    def entry_points(*, group):
        assert group == "certvq.backends"
        return points

    return entry_points


@pytest.mark.usefixtures("plugged_in")
def test_entry_points_are_found():
    assert "some-argmin" in certvq.backends()
    assert certvq.assign(LATENTS, CODEBOOK, backend="some-argmin").codes.tolist() == [0, 0, 1]


@pytest.mark.usefixtures("plugged_in")
def test_broken_entry_point_is_named():
    with pytest.raises(
        BackendUnavailableError, match="'broken'.*no_such_package.*install it again"
    ):
        certvq.assign(LATENTS, CODEBOOK, backend="broken")
