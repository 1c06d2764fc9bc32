"""TrainConfig refuses what cannot be trained, and survives JSON."""

import json
from dataclasses import replace

import pytest

from certvq.errors import OptionError
from certvq.models import VQVAEConfig
from certvq.train import TrainConfig


def test_json_round_trip_gives_the_same_configuration() -> None:
    config = TrainConfig(
        model=VQVAEConfig(dim=3, codebook_size=7), steps=5, seconds=None, precision="bf16-mixed"
    )
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.rows(
    ("change", "text"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 on, got 0"),
        ({"steps": 2.5}, "steps must be a whole number from 1 on, got 2.5"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 on, got 0"),
        ({"batch_size": True}, "batch_size must be a whole number from 1 on, got True"),
        ({"validate_every": -1}, "validate_every must be a whole number from 1 on, got -1"),
        ({"checkpoint_every": None}, "checkpoint_every must be a whole number from 1 on, got None"),
        ({"seconds": 0.0}, "seconds must be a finite number above 0, got 0.0"),
        ({"seconds": float("inf")}, "seconds must be a finite number above 0, got inf"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0, got nan"),
        ({"gradient_clip": None}, "gradient_clip must be a finite number above 0, got None"),
        ({"seed": -1}, r"seed must be a whole number in range\(2\*\*32\), got -1"),
        (
            {"seed": 2**32},
            r"seed must be a whole number in range\(2\*\*32\), got 4294967296",
        ),
        ({"precision": "16"}, r"precision must be one of \('32-true', 'bf16-mixed'\), got '16'"),
        ({"crop": 3}, "crop must be at least the model's downsampling of 4 pixels, got 3"),
        (
            {"steps": None, "seconds": None},
            "needs an end: give steps, seconds or both, got neither",
        ),
    ],
)
def test_a_value_out_of_range_is_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        replace(TrainConfig(), **change)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (3, "a training configuration must be a JSON object, got int"),
        (
            {**TrainConfig().to_json(), "model": None},
            "its field model: must have the keys .*got NoneType",
        ),
        ({**TrainConfig().to_json(), "speed": 1}, r"missing \[\], unknown \['speed'\]"),
        (
            {k: v for k, v in TrainConfig().to_json().items() if k != "crop"},
            r"missing \['crop'\], unknown \[\]",
        ),
        ({**TrainConfig().to_json(), "crop": 1}, "crop must be at least"),
    ],
)
def test_json_of_another_shape_is_refused(content: object, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        TrainConfig.from_json(content)


def test_differences_name_what_makes_another_run() -> None:
    here = TrainConfig(seed=0, model=VQVAEConfig(dim=4))
    other = TrainConfig(seed=1, model=VQVAEConfig(dim=5))
    assert here.differences(other) == ["seed (0, not 1)", "model.dim (4, not 5)"]


def test_the_budget_and_the_optimiser_may_change_when_a_run_goes_on() -> None:
    here = TrainConfig()
    later = replace(
        here,
        steps=9,
        seconds=1.0,
        validate_every=2,
        checkpoint_every=2,
        learning_rate=1e-5,
        gradient_clip=0.5,
    )
    assert here.differences(later) == []
