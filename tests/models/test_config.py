"""The published numbers are the default, and nothing out of range gets in."""

from dataclasses import FrozenInstanceError, replace

import pytest

from certvq.errors import OptionError
from certvq.models import VQVAEConfig


def test_the_published_architecture_is_the_default():
    assert VQVAEConfig.published() == VQVAEConfig()
    assert VQVAEConfig().to_json() == {
        "channels": 3,
        "hidden": 128,
        "residual_blocks": 2,
        "residual_hidden": 32,
        "dim": 64,
        "codebook_size": 512,
        "downsampling": 4,
        "commitment_weight": 0.25,
        "decay": 0.99,
        "update": "ema",
    }


def test_the_small_one_differs_in_two_widths_and_in_its_average():
    assert VQVAEConfig.small() == replace(VQVAEConfig(), hidden=64, dim=32, decay=0.8)


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        VQVAEConfig().dim = 3


def test_the_largest_values_are_allowed():
    most = {"hidden": 65536, "residual_hidden": 65536, "dim": 65536, "residual_blocks": 256}
    assert VQVAEConfig(**most, codebook_size=2**31 - 1).codebook_size == 2**31 - 1


@pytest.mark.rows(
    ("name", "value", "message"),
    [
        ("channels", 2, "channels must be one of 1, 3; got 2"),
        ("channels", True, "channels must be one of 1, 3; got True"),
        ("downsampling", 5, "downsampling must be one of 2, 4, 8, 16; got 5"),
        ("downsampling", 4.0, "downsampling must be one of 2, 4, 8, 16; got 4.0"),
        ("update", "adam", "update must be one of 'ema', 'gradient'; got 'adam'"),
        ("hidden", 0, "hidden must be an integer from 1 to 65536, got 0"),
        ("hidden", 7, "hidden must be even, got 7"),
        ("dim", 1.5, "dim must be an integer from 1 to 65536, got 1.5"),
        ("dim", True, "dim must be an integer from 1 to 65536, got True"),
        (
            "codebook_size",
            "512",
            "codebook_size must be an integer from 1 to 2147483647, got '512'",
        ),
        ("residual_hidden", 0, "residual_hidden must be an integer from 1 to 65536, got 0"),
        ("residual_blocks", -1, "residual_blocks must be an integer from 0 to 256, got -1"),
        ("hidden", 10**9, "hidden must be an integer from 1 to 65536, got 1000000000"),
        ("dim", 65537, "dim must be an integer from 1 to 65536, got 65537"),
        ("residual_hidden", 65538, "residual_hidden must be an integer .* got 65538"),
        ("residual_blocks", 257, "residual_blocks must be an integer from 0 to 256, got 257"),
        ("codebook_size", 2**31, "codebook_size must be an integer .* got 2147483648"),
        ("commitment_weight", 10**400, "commitment_weight must be .* got 10+"),
        ("commitment_weight", float("inf"), "commitment_weight must be .* got inf"),
        ("commitment_weight", -0.5, "commitment_weight must be .* got -0.5"),
        ("commitment_weight", float("nan"), "commitment_weight must be .* got nan"),
        ("commitment_weight", "1", "commitment_weight must be .* got '1'"),
        ("decay", 1.0, r"decay must be a number of \[0, 1\), got 1.0"),
        ("decay", None, r"decay must be a number of \[0, 1\), got None"),
    ],
)
def test_values_out_of_range_are_named(name, value, message):
    with pytest.raises(OptionError, match=f"^{message}$"):
        VQVAEConfig(**{name: value})


def test_a_grid_says_how_many_codes_and_features_there_are():
    config = VQVAEConfig(quantizer="fsq", levels=[7, 5, 3], dim=64)
    assert (config.levels, config.dim, config.codebook_size) == ((7, 5, 3), 3, 105)
    assert VQVAEConfig(quantizer="fsq").levels == (8, 5, 5, 5)
    assert VQVAEConfig(quantizer="residual").num_quantizers == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quantizer": "lfq"}, "quantizer must be one of 'vq', 'residual', 'fsq'; got 'lfq'"),
        ({"levels": (8, 5)}, r"levels is for the quantizer 'fsq', got \(8, 5\) for 'vq'"),
        ({"num_quantizers": 2}, "num_quantizers is for the quantizer 'residual', got 2 for 'vq'"),
        (
            {"quantizer": "residual", "num_quantizers": 65},
            "num_quantizers must be an integer from 1 to 64, got 65",
        ),
        ({"quantizer": "fsq", "levels": ()}, r"levels must be one number for each .* got \(\)"),
        (
            {"quantizer": "fsq", "levels": (8, 2)},
            r"levels\[1\] must be an integer from 3 to 4096, got 2",
        ),
        (
            {"quantizer": "fsq", "levels": (4096, 4097 - 1, 3)},
            "levels must have at most 16777216 codes in all, got 50331648",
        ),
    ],
)
def test_options_of_quantizers_are_checked(options, text):
    with pytest.raises(OptionError, match=text):
        VQVAEConfig(**options)


@pytest.mark.parametrize("quantizer", ["vq", "residual", "fsq"])
def test_json_comes_back_and_one_codebook_has_the_fields_it_always_had(quantizer):
    config = VQVAEConfig(quantizer=quantizer)
    later = config.to_json().keys() - VQVAEConfig().to_json().keys()
    assert len(later) == (0 if quantizer == "vq" else 2)
    assert VQVAEConfig.from_json(config.to_json()) == config
