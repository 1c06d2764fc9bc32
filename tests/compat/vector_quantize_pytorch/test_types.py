"""Every class in every type of number, and under autocast, beside the installed original.

What comes out has the original's type, but for what `DIFFERENT` lists and docs/migration.md gives
reasons for. Nothing ends in an error of torch.
"""

import copy
from pathlib import Path

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours

from ._classes import OPTIONS, batch, build

HALF, BRAIN, SINGLE, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64
MODES = {
    "half": (HALF, HALF, False),
    "bfloat16": (BRAIN, BRAIN, False),
    "double": (DOUBLE, DOUBLE, False),
    "half latents": (SINGLE, HALF, False),
    "bfloat16 latents": (SINGLE, BRAIN, False),
    "double latents": (SINGLE, DOUBLE, False),
    "autocast": (SINGLE, SINGLE, True),
    "autocast, bfloat16 latents": (SINGLE, BRAIN, True),
}
"""Type of the module, type of the latents, and whether bfloat16 autocast is on."""

AUTO = ("autocast", "autocast, bfloat16 latents")
DIFFERENT = {
    ("SimVQ", "vectors", BRAIN, SINGLE): AUTO[1:],
    ("SimVQ", "indices_to_codes", BRAIN, SINGLE): AUTO,
    ("ResidualSimVQ", "vectors", BRAIN, SINGLE): AUTO[1:],
    ("ResidualSimVQ", "get_codes_from_indices", BRAIN, SINGLE): AUTO,
    ("ResidualSimVQ", "get_output_from_indices", BRAIN, SINGLE): AUTO,
    ("LFQ", "vectors", BRAIN, SINGLE): AUTO[:1],
    ("LFQ", "indices_to_codes", BRAIN, SINGLE): AUTO,
    ("FSP", "vectors", SINGLE, HALF): ("half", "half latents"),
    ("FSP", "vectors", SINGLE, BRAIN): ("bfloat16", "bfloat16 latents", AUTO[1]),
    ("FSP", "indices_to_codes", SINGLE, HALF): ("half",),
    ("FSP", "indices_to_codes", SINGLE, BRAIN): ("bfloat16",),
    ("FSP", "indices_to_codes", SINGLE, DOUBLE): ("double",),
    ("LatentQuantize", "indices_to_codes", SINGLE, HALF): ("half",),
    ("LatentQuantize", "indices_to_codes", SINGLE, BRAIN): ("bfloat16",),
    ("LatentQuantize", "indices_to_codes", SINGLE, DOUBLE): ("double",),
}
"""Class, what, type there, type here: in which modes they are allowed to differ so."""
LISTED = sorted({key[0] for key in DIFFERENT})

DECODERS = (
    "get_output_from_indices",
    "get_codes_from_indices",
    "indices_to_codes",
    "indices_to_level_indices",
)
EVO = {"encoder": nn.Linear(6, 6), "decoder": nn.Linear(6, 6), "dim": 6, "codebook_size": 16}
WALKED = {**OPTIONS, "EvoLFQ": [EVO]}
CALLS = {
    "VectorQuantize": [{"return_loss_breakdown": True}],
    "ResidualVQ": [{"return_all_codes": True}],
    "LFQ": [{"return_loss_breakdown": True}],
    "BinaryMapper": [{"deterministic": True, "return_indices": True}],
    "ResidualSimVQ": [{"return_all_codes": True}],
}
"""Further arguments of `forward`, each tried beside none."""

MIGRATION = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()


def cases():
    return [
        pytest.param(name, options, id=f"{name}-{'-'.join(options) or 'usual'}")
        for name, listed in WALKED.items()
        for options in listed
        if name not in LISTED
    ]


def flat(value, place=""):
    """Name every tensor of a result by its place in it."""
    if isinstance(value, torch.Tensor):
        return {place: value}
    if isinstance(value, tuple | list):
        parts = [flat(each, f"{place}.{at}") for at, each in enumerate(value)]
        return {key: each for part in parts for key, each in part.items()}
    return {}


def run(package, name, options, mode, *, training, call):
    """Return all tensors by their place, and decoded ones by the name of the method."""
    kind, latents, auto = MODES[mode]
    torch.manual_seed(0)
    layer = build(package, name, copy.deepcopy(options)).to(kind).train(training)
    x = batch(name, 0).to(latents).requires_grad_()
    with torch.autocast("cpu", BRAIN, enabled=auto):
        result = layer(x, **call)
        found = flat(result)
        if isinstance(result, tuple) and isinstance(result[0], tuple):  # a breakdown behind it
            result = result[0]
        if name in {"BinaryMapper", "EvoLFQ"}:
            return found
        indices = result if isinstance(result, torch.Tensor) else result[1]
        for method in DECODERS:
            if hasattr(layer, method):
                try:
                    found[method] = getattr(layer, method)(indices)
                except RuntimeError:  # of torch, about types of number
                    assert package is original
    return found


def is_loss(value):
    """Vectors have three axes here; losses have none, or some for groups and levels."""
    return value.is_floating_point() and value.ndim < 3


def compare(name, options, mode, *, training, call):
    """Return the places of `DIFFERENT` that came up."""
    latents = MODES[mode][1]
    mine = run(ours, name, options, mode, training=training, call=call)
    for value in mine.values():
        assert torch.isfinite(value).all()
        if is_loss(value):
            kinds = (
                {SINGLE, DOUBLE}
                if mode == "double latents"
                else {torch.promote_types(latents, SINGLE)}
            )
            assert value.dtype in kinds
    try:
        theirs = run(original, name, options, mode, training=training, call=call)
    except RuntimeError:
        return set()
    used = set()
    for place, value in theirs.items():
        there, here = value.dtype, mine[place].dtype
        if is_loss(value):
            assert here == torch.promote_types(there, SINGLE) or latents == here == DOUBLE
        elif there != here:
            what = place if place in DECODERS else "vectors"
            if place == ".3":  # of `return_all_codes`
                what = "get_codes_from_indices"
            assert mode in DIFFERENT.get((name, what, there, here), ()), (place, there, here)
            used.add((name, what, there, here, mode))
    return used


def test_every_class_is_walked():
    classes = {name for name, value in vars(original).items() if hasattr(value, "state_dict")}
    assert classes - {"Sequential"} == WALKED.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), cases())
def test_types_are_the_originals(name, options):
    """In both modes for the first options of a class. An own encoder takes what torch takes."""
    for mode in MODES:
        if name == "EvoLFQ" and mode in {"half latents", "bfloat16 latents", "double latents"}:
            continue
        for training in (True, False) if options is WALKED[name][0] else (True,):
            for call in ({}, *CALLS.get(name, ())):
                compare(name, options, mode, training=training, call=call)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed_as_different_is_so(name):
    """So that the list does not outlive its reasons; docs/migration.md has a row for each."""
    used = set()
    for options in WALKED[name]:
        for mode in MODES:
            for training in (True, False):
                for call in ({}, *CALLS.get(name, ())):
                    used |= compare(name, options, mode, training=training, call=call)
    listed = {(*key, mode) for key, modes in DIFFERENT.items() for mode in modes}
    assert used == {each for each in listed if each[0] == name}
    section = MIGRATION.split("### Number types")[1].split("###")[0]
    assert f"`{name}`" in section


def test_a_projection_of_another_type_computes_in_the_wider_one():
    """The codes are those of the latents as numbers, whatever holds them."""
    torch.manual_seed(0)
    layer = ours.VectorQuantize(dim=6, codebook_size=16, codebook_dim=4).eval()
    x = batch("VectorQuantize", 0).half()
    found, expected = layer(x), layer(x.float())
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0], expected[0].half())
    exact = copy.deepcopy(layer).double()
    assert torch.equal(layer(x.double())[1], exact(x.double())[1])
    assert layer(x.double())[0].dtype == DOUBLE


@pytest.mark.parametrize("zeros", [True, False])
def test_masked_latents_under_autocast(zeros):
    """What comes back behind a projection has autocast's type, what was masked its own."""
    mask = torch.rand(2, 40, generator=torch.Generator().manual_seed(0)) > 0.3
    x = batch("VectorQuantize", 0)
    for name, more in (("VectorQuantize", {}), ("ResidualVQ", {"num_quantizers": 2})):
        options = {"dim": 6, "codebook_size": 16, "codebook_dim": 4, **more}
        options["return_zeros_for_masked_padding"] = zeros
        found = []
        for package in (original, ours):
            layer = getattr(package, name)(**options).eval()
            with torch.autocast("cpu", BRAIN):
                found.append(layer(x, mask=mask)[0])
        assert found[0].dtype == found[1].dtype
        assert torch.equal(found[1][~mask], torch.zeros_like(x)[~mask] if zeros else x[~mask])


def test_losses_of_half_precision_do_not_overflow():
    x = torch.full((1, 4, 6), 300.0, dtype=HALF)
    layers = {
        "VectorQuantize": {"dim": 6, "codebook_size": 2},
        "SimVQ": {"dim": 6, "codebook_size": 2},
        "LatentQuantize": {"levels": [5], "dim": 4},
        "HierarchicalVQ": {"dim": 6, "codebook_size": 2, "scales": [1, 4], "channel_first": False},
    }
    for name, options in layers.items():
        layer = getattr(ours, name)(**options).half()
        loss = layer(x)[2]
        assert loss.dtype == SINGLE
        assert torch.isfinite(loss)
        assert loss > 1e3
    several = ours.VectorQuantize(6, 4).half()(x, topk=2)[2]
    assert several.dtype == SINGLE
    assert torch.isfinite(several).all()
    assert (several > 1e4).all()
