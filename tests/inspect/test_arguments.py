"""Every argument of the wrong kind is refused by name, with what came."""

from collections import UserDict
from fractions import Fraction

import numpy as np
import pytest
import torch

import certvq
from certvq.errors import OptionError
from certvq.inspect._arguments import batches, read_perturbation, require_call, require_module

Z = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ("a", "str 'a'; give the model itself"),
        (3, "int 3; give the model itself"),
        (None, "NoneType; give the model itself"),
        (Z, r"Tensor of shape \(2, 3\); give"),
        ([Z], r"a list of 1 \(Tensor\); give"),
        (torch.nn.Linear, "the class Linear; give an instance"),
        (Z.relu, "builtin_function_or_method; give"),
    ],
)
def test_modules(given, got):
    text = f"module must be a torch.nn.Module, got {got}"
    for function in (
        require_module,
        certvq.patch_module,
        certvq.unpatch_module,
        lambda module: certvq.audit_module(module, Z),
        lambda module: certvq.stability_report(module, Z),
    ):
        with pytest.raises(OptionError, match=text):
            function(given)


def test_functions():
    for call in (None, print, torch.nn.Identity()):
        require_call(call)
    for call, got in ((3, "int 3"), ("encode", "str 'encode'"), (Z, "Tensor of shape")):
        with pytest.raises(OptionError, match=f"call must be None or a function .* got {got}"):
            require_call(call)


@pytest.mark.parametrize(
    "given", [0, 1, 0.5, np.float32(0.5), np.int64(2), Fraction(1, 2), np.float64(0.0)]
)
def test_distances(given):
    found = read_perturbation(given)
    assert type(found) is float
    assert found == given
    assert read_perturbation(None) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (-1.0, "a finite distance of at least 0, or None, got -1.0"),
        (np.nan, "a finite distance of at least 0, or None, got nan"),
        (np.inf, "a finite distance of at least 0, or None, got inf"),
        pytest.param(10**400, "a finite distance of at least 0, or None, got inf", id="10**400"),
        (True, "a number, or None, got bool True"),
        ("1e-3", "a number, or None, got str '1e-3'"),
        (1j, "a number, or None, got complex 1j"),
        ([1], r"a number, or None, got a list of 1 \(int\)"),
        (torch.tensor(1.0), r"a number, or None, got Tensor of shape \(\)"),
    ],
)
def test_other_distances(given, text):
    with pytest.raises(OptionError, match=f"perturbation must be {text}"):
        read_perturbation(given)


def test_batches():
    assert list(batches(Z)) == [Z]
    assert list(batches({"z": Z})) == [{"z": Z}]
    assert list(batches(UserDict({"z": Z}))) == [UserDict({"z": Z})]
    assert list(batches(iter([Z, {"z": Z}]))) == [Z, {"z": Z}]
    assert list(batches([])) == []
    anything = [1, None, "a", [Z], {1: Z}]
    assert list(batches(iter(anything), called=True)) == anything
    assert list(batches({1: Z}, called=True)) == [{1: Z}]


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(
    ("data", "got"),
    [
        (None, "NoneType; give a tensor"),
        (3, "int 3; give a tensor"),
        ("abc", "str 'abc'; give a tensor"),
        (b"abc", "bytes b'abc'; give a tensor"),
        (np.ones((2, 3)), r"ndarray of shape \(2, 3\); take torch.from_numpy"),
    ],
)
def test_data_that_hold_no_batches(data, got, called):
    text = f"data must be a tensor, a dict of keyword arguments or an iterable .* got {got}"
    with pytest.raises(OptionError, match=text):
        next(batches(data, called=called))


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ("a", "str 'a'; give a tensor"),
        (None, "NoneType; give a tensor"),
        (3.5, "float 3.5; give a tensor"),
        (np.float32(1), "float32"),
        (np.ones(3), r"ndarray of shape \(3,\); take torch.from_numpy"),
        ([Z, 3], r"a list of 2 \(Tensor, int\); say what of it the model takes"),
        ((Z,), r"a tuple of 1 \(Tensor\); say what of it"),
        ("x" * 50, "str; give"),
    ],
)
def test_batches_that_no_model_takes(batch, got):
    text = f"batch 1 must be a tensor or a dict of keyword arguments where call is None, got {got}"
    with pytest.raises(OptionError, match=text):
        list(batches([Z, batch]))


def test_keyword_arguments_have_names():
    with pytest.raises(OptionError, match="batch 0 must be a dict .* got the key 1; rename"):
        list(batches([{"z": Z, 1: Z}]))
    with pytest.raises(OptionError, match="data must be a dict .* got the key None; rename"):
        list(batches({None: Z}))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, of lazy layers
def test_a_module_without_numbers():
    model = torch.nn.Sequential(certvq.nn.VectorQuantize(3, 4)).to("meta")
    with pytest.raises(OptionError, match=r"but '0\.\w+' is on the meta device; load its weights"):
        certvq.audit_module(model, Z[None])
    lazy = torch.nn.Sequential(torch.nn.LazyLinear(3), certvq.nn.VectorQuantize(3, 4))
    with pytest.raises(OptionError, match=r"but '0\.weight' is not initialised; run it once"):
        certvq.audit_module(lazy, Z[None])
    lazy(Z[None])
    assert certvq.audit_module(lazy, Z[None]).tokens == 2
