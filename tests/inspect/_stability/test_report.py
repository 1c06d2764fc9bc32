"""The report says what it was given, as text and as JSON."""

import dataclasses
import json
import math

import numpy as np
import pytest

from certvq.inspect import LayerStability, Spread, StabilityReport


def layer(**changes):
    values = {
        "name": "quantizer",
        "kind": "VectorQuantize",
        "tokens": 10,
        "codebook_size": 4,
        "dim": 2,
        "noise": Spread(0.0, 0.001, 0.01, 0.02, 0.03),
        "radius": Spread(0.004, 0.005, 0.5, 0.6, math.inf),
        "could_flip": np.array([1, 4]),
        "flipped": np.array([4]),
        "after_flip": np.array([], dtype=np.int64),
        "flipped_after": 0,
        "inexact": 0,
    }
    return LayerStability(**(values | changes))


def test_a_spread_is_of_figures_that_occur(rng):
    distances = rng.random(1000)
    spread = Spread.of(distances)
    ordered = np.sort(distances)
    picked = [ordered[0], ordered[9], ordered[499], ordered[989], ordered[-1]]
    assert list(dataclasses.astuple(spread)) == picked
    assert Spread.of(np.array([])) is None
    assert Spread.of(np.full(3, np.inf)).to_dict() == dict.fromkeys(
        ("least", "low", "median", "high", "greatest")
    )


def test_it_is_text():
    lines = str(StabilityReport((layer(),), "something else", ("fsq", ""))).splitlines()
    assert lines[0] == "second run: something else"
    assert lines[1].split("  ")[0] == "layer"
    assert lines[2].split() == ["quantizer", "10", "0.01", "0.03", "0.005", "0.5", "2", "1", "0"]
    assert lines[3] == "proved to keep their nearest code, and did: 8 of 10 tokens"
    assert lines[4] == "not reported: fsq, (itself)"
    assert len(lines) == 5


def test_tokens_after_a_flip_are_left_out_of_the_sum():
    report = StabilityReport((layer(), layer(after_flip=np.array([4]))), "something else")
    assert report.tokens == 20
    assert (report.unstable, report.flips) == (4, 2)
    assert "proved to keep their nearest code, and did: 15 of 19 tokens" in str(report)
    assert report.layers[1].share_could_flip == 2 / 9


def test_flips_of_a_wrong_argmin_are_named():
    wrong = layer(flipped=np.array([3, 4]), inexact=2)
    assert wrong.flipped_inexactly.tolist() == [3]
    text = "flipped all the same: 1, by the model's own argmin"
    assert text in str(StabilityReport((wrong,), "x"))
    assert text not in str(StabilityReport((layer(),), "x"))


def test_a_given_distance_is_text():
    given = layer(noise=None, flipped=np.array([], dtype=np.int64))
    lines = str(StabilityReport((given,), 0.25)).splitlines()
    assert lines[0] == "latents may move by 0.25"
    assert lines[2].split()[2:4] == ["-", "-"]
    assert len(lines) == 3


@pytest.mark.parametrize("perturbation", ["words", 0.5])
def test_it_is_json(perturbation):
    report = StabilityReport((layer(flipped=np.array([3, 4])),), perturbation, ("other",))
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read == report.to_dict()
    (found,) = read.pop("layers")
    assert read == {
        "tokens": 10,
        "unstable": 2,
        "flips": 2,
        "perturbation": perturbation,
        "unreported": ["other"],
    }
    assert found["could_flip"] == [1, 4]
    assert found["flipped_inexactly"] == [3]
    assert found["share_could_flip"] == 0.2
    assert found["radius"]["greatest"] is None
    assert found["noise"]["median"] == 0.01


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer().tokens = 3
