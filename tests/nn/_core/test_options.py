"""Arguments of another kind than their annotation, for every public class of certvq.nn."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as torch_nn

from certvq import nn
from certvq.errors import OptionError
from certvq.nn._core.options import checked

PART = nn.FSQ([3])
CLASSES = {
    "VectorQuantize": {"dim": 2, "codebook_size": 3},
    "ResidualVQ": {"dim": 4, "codebook_size": 3, "num_quantizers": 2},
    "GroupedResidualVQ": {"dim": 4, "codebook_size": 3, "groups": 2, "num_quantizers": 2},
    "FSQ": {"levels": [4, 4]},
    "LFQ": {"dim": 4},
    "LatentQuantize": {"levels": [3, 3]},
    "SimVQ": {"dim": 2, "codebook_size": 3},
    "ResidualSimVQ": {"dim": 2, "codebook_size": 3, "num_quantizers": 2},
    "RandomProjectionQuantizer": {"dim": 4, "codebook_size": 3, "code_dim": 2},
    "HierarchicalVQ": {"dim": 2, "codebook_size": 4, "scales": [1, 2]},
    "BinaryMapper": {"bits": 2},
    "FSP": {"levels": [3, 4]},
    "ResidualFSQ": {"levels": [3, 4], "num_quantizers": 2},
    "ResidualLFQ": {"dim": 4, "num_quantizers": 2},
    "GroupedResidualFSQ": {"levels": [3, 4], "num_quantizers": 2, "groups": 2},
    "GroupedResidualLFQ": {"dim": 4, "num_quantizers": 2, "groups": 2},
    "NeuralCodebook": {"dim": 2, "codebook_size": 3, "neural": nn.Neural()},
    "ProductQuantize": {"parts": [PART]},
    "Residual": {"parts": [PART]},
    "GroupedResidual": {"parts": [nn.ResidualFSQ([3, 4], 2)]},
    "Scaled": {"part": PART, "scale": 1.0},
    "Rotated": {"part": PART},
    "Heads": {"quantizer": PART, "heads": 2},
    "Project": {"quantizer": PART, "dim": 2},
    "EvoLFQ": {
        "encoder": torch_nn.Identity(),
        "decoder": torch_nn.Identity(),
        "quantizer": nn.LFQ(3),
    },
    "Online": {"optimizer": torch.optim.SGD},
    "Beam": {"width": 2},
}
STRATEGIES = (
    nn.Affine,
    nn.Diversity,
    nn.EMA,
    nn.EachLevel,
    nn.Entropy,
    nn.Evolution,
    nn.Gradient,
    nn.Gumbel,
    nn.KMeans,
    nn.LevelDropout,
    nn.Moments,
    nn.Neural,
    nn.NoiseDropout,
    nn.Orthogonal,
    nn.Refine,
    nn.Reparam,
    nn.Revive,
    nn.Uniform,
)
CLASSES |= {strategy.__name__: {} for strategy in STRATEGIES}
WRONG = [
    3.0,
    True,
    "a",
    None,
    [],
    [3.5],
    -1,
    float("nan"),
    object(),
    torch.ones(2),
    nn.EMA,
]


def arguments():
    for name, given in CLASSES.items():
        for parameter in inspect.signature(getattr(nn, name)).parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                yield pytest.param(name, given, parameter, id=f"{name}-{parameter.name}")


def test_every_public_class_with_options_is_here():
    public = [getattr(nn, name) for name in dir(nn) if not name.startswith("_")]
    classes = {c.__name__ for c in public if inspect.isclass(c) and inspect.signature(c).parameters}
    results = {"Found", "Quantized", "Batch", "Generation", "Reconstructed"}
    plain = {"RotationTrick", "StraightThrough", "Estimator", "Regularizer"}
    plain |= {"Given", "CodeUsage"}  # of a tensor or a layer; tested where they are
    assert classes - set(CLASSES) - results - plain == {"Quantizer", "BaseQuantizer"}


@pytest.mark.rows(("name", "given", "parameter"), list(arguments()))
def test_whatever_is_given_is_taken_or_named(name, given, parameter):
    """No bare error of Python or torch; at least one of these is of the wrong kind."""
    make = getattr(nn, name)
    make(**given)
    refused = []
    for wrong in WRONG:
        try:
            make(**{**given, parameter.name: wrong})
        except OptionError as error:  # noqa: PERF203 (which of them is the point)
            refused.append(str(error))
    assert all(" got " in text or " needs " in text for text in refused), refused
    assert any(f"{parameter.name} must be " in text for text in refused), refused


@pytest.mark.rows(
    ("make", "text"),
    [
        (
            lambda: nn.VectorQuantize(2, 3.0),
            "codebook_size must be a whole number, got 3.0 for VectorQuantize; convert it",
        ),
        (lambda: nn.VectorQuantize(True, 3), "dim must be a whole number, got True for Vector"),
        (
            lambda: nn.VectorQuantize(2, 3, update=nn.EMA),
            "update must be an object of EMA, Gradient, Online, None, got <class .*; write it with",
        ),
        (
            lambda: nn.VectorQuantize(2, 3, revive=0.5),
            "revive must be an object of Revive, None, got 0.5",
        ),
        (lambda: nn.FSQ(8), "levels must be a sequence, each entry a whole number, got 8 for FSQ"),
        (lambda: nn.FSQ([8, 5.5]), r"each entry a whole number, got \[8, 5.5\] for FSQ"),
        (lambda: nn.FSQ([]), "levels must name at least one feature, got an empty list"),
        (lambda: nn.FSQ("85"), "levels must be a sequence, .* got '85' for FSQ"),
        (
            lambda: nn.FSQ([8], hard_clamp=1),
            "hard_clamp must be True or False, got 1 for FSQ; convert it",
        ),
        (
            lambda: nn.EMA(decay=torch.tensor(0.5)),
            "decay must be a number, got an object of Tensor for EMA; use .item",
        ),
        (
            lambda: nn.Moments(targets=(0.0, 1.0)),
            "targets must be a sequence of 4 entries, each a number, got",
        ),
        (lambda: nn.Gradient(weight=10**400), "weight must be a number, got 1000"),
        (lambda: nn.Scaled(PART, "1"), "scale must be a number or a sequence, each entry a number"),
        (lambda: nn.Online(None), "optimizer must be something that can be called, got None"),
        (lambda: nn.LFQ(4, layout=3), "layout must be a string, got 3 for LFQ"),
        (lambda: nn.Residual([PART, 3]), "parts must be a sequence, each entry an object of Quant"),
    ],
)
def test_the_text_says_what_came_and_what_to_do(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def test_numbers_of_numpy_and_other_sequences_are_taken():
    layer = nn.VectorQuantize(np.int64(2), np.int32(3), commitment_weight=np.float32(0.5))
    assert layer(torch.zeros(1, 4, 2)).codes.shape == (1, 4)
    assert nn.FSQ(torch.Size([4, 4])).levels == (4, 4)
    assert nn.LFQ(2, scale=2).scale == 2
    parts = torch_nn.ModuleList([nn.FSQ([3]), nn.FSQ([3])])
    assert nn.Residual(parts).code_shape == (2,)


@checked
@dataclass(frozen=True)
class Sample:
    count: int
    kind: Any = None
    call: Callable[[int], int] | None = None
    names: Sequence[str] = ()


def test_python_names_missing_and_unknown_arguments_itself():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'count'"):
        Sample()
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        Sample(1, size=2)
    assert Sample(1, object, len, ["a"]).names == ["a"]
    assert str(inspect.signature(Sample)).startswith("(count: int")
    with pytest.raises(OptionError, match="call must be something that can be called or None"):
        Sample(1, call=3)
