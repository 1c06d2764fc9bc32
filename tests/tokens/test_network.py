"""The network runs in one way: eval mode, float32, and 8-bit rounding to nearest."""

import numpy as np
import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.tokens._network import inference, photograph_latents, photograph_pixels


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_comes_back(model, training):
    model.train(training)
    with inference(model):
        assert not model.training
        assert torch.is_inference_mode_enabled()
    assert model.training is training


def test_the_mode_comes_back_after_an_error(model):
    model.train()
    with pytest.raises(KeyError), inference(model):
        raise KeyError
    assert model.training


def test_latents_are_those_of_the_model_for_pixels_over_255(model, rng):
    pixels = rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]
    with inference(model):
        found = photograph_latents(model, pixels)
        assert torch.equal(found, model.latents(image)[0])
    assert found.shape == (3, 4, 4)
    assert found.dtype == torch.float32


def test_autocast_of_the_caller_changes_nothing(model, rng):
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    codes = rng.integers(0, 16, (2, 2))

    def both():
        with inference(model):
            return photograph_latents(model, pixels), photograph_pixels(
                model, codes, size=(8, 8), key="a"
            )

    latents, picture = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, picture_again = both()
    assert torch.equal(latents, again)
    assert np.array_equal(picture, picture_again)


def test_pixels_are_rounded_to_the_nearest_level(model, monkeypatch):
    values = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 100.4 / 255, 100.6 / 255, 1.0])
    image = values[None, None, None, :].expand(1, 3, 1, 6)
    monkeypatch.setattr(model, "decode", lambda codes, *, size: image)
    with inference(model):
        found = photograph_pixels(model, np.zeros((1, 2), np.int64), size=(1, 6), key="a")
    assert found.dtype == np.uint8
    assert found.shape == (1, 6, 3)
    assert found.flags.c_contiguous
    assert found[0, :, 2].tolist() == [0, 0, 1, 100, 101, 255]


def test_a_decoder_that_gives_nan_is_named_with_the_photograph(model):
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    with (
        inference(model),
        pytest.raises(NonFiniteError, match="photograph 'tom': the decoder must"),
    ):
        photograph_pixels(model, np.zeros((2, 2), np.int64), size=(8, 8), key="tom")
