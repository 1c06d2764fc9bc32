"""Arrays are held to the axes in annotations while tests run, and by nothing else."""

import runpy
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import certvq
from certvq.errors import ShapeError

if not find_spec("jaxtyping"):
    pytest.skip("jaxtyping needs Python 3.11", allow_module_level=True)

SHAPES = runpy.run_path(str(Path(__file__).parents[1] / "shapes.py"))

MODULE = """
from dataclasses import dataclass
from typing import NamedTuple
import numpy as np
from certvq._types import Array, Float, Int64

class Pair(NamedTuple):
    rows: Float[Array, "N D"]
    codes: Int64[Array, " N"]

class Base:
    width = 2
    def twice(self, x: Float[Array, "N D"]) -> Float[Array, "N {self.width}"]:
        raise NotImplementedError

class Right(Base):
    def twice(self, x):
        if x.ndim != 2:
            raise ValueError("two axes")
        return np.concatenate([x, x], axis=1)

class Wrong(Base):
    def twice(self, x):
        return x.T

def product(x: Float[Array, "N D"], y: Float[Array, "D K"]) -> Float[Array, "{right}"]:
    return x @ y

def pair(x: Float[Array, "N D"], codes) -> Pair:
    return Pair(x, codes)
"""


def held(text):
    module = types.ModuleType("held_by_test")
    exec(text, vars(module))  # noqa: S102
    SHAPES["hold"](module)
    return module


def test_results_and_arguments_agree_under_one_reading_of_the_axes():
    module = held(MODULE.replace("{right}", "N K"))
    assert module.product(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    assert module.Right().twice(np.ones((3, 1))).shape == (3, 2)
    assert module.pair(np.ones((2, 3)), np.zeros(2, np.int64)).rows.shape == (2, 3)


@pytest.mark.parametrize("wrong", ["K N", "N D", " N", "N K one"])
def test_a_wrong_annotation_of_a_result_is_found(wrong):
    module = held(MODULE.replace("{right}", wrong))
    with pytest.raises(AssertionError, match=r"product: return must be .* x is float64 \(2, 3\)"):
        module.product(np.ones((2, 3)), np.ones((3, 4)))


def test_a_wrong_override_is_found():
    with pytest.raises(AssertionError, match="Wrong.twice: return must be"):
        held(MODULE).Wrong().twice(np.ones((3, 1)))


@pytest.mark.parametrize("codes", [np.zeros(3, np.int64), np.zeros(2, np.int32), np.zeros((2, 1))])
def test_a_wrong_field_of_a_result_is_found(codes):
    with pytest.raises(AssertionError, match="pair: return must be .*Pair"):
        held(MODULE).pair(np.ones((2, 3)), codes)


def test_what_a_function_refuses_it_refuses_itself():
    with pytest.raises(ValueError, match="two axes"):
        held(MODULE).Right().twice(np.ones(3))
    with pytest.raises(ShapeError, match="two axes"):
        certvq.assign(np.ones(3), np.ones((2, 3)))


def test_certvq_is_held_here_and_needs_nothing_for_it():
    assert certvq.assign.__wrapped__.__annotations__["latents"] is not None
    code = "import sys, certvq; print({'jaxtyping', 'beartype'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"
