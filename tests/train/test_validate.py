"""Validation sums over the whole set and leaves the model alone."""

from collections.abc import Callable

import pytest
import torch

from certvq.data import Photograph
from certvq.models import VQVAE, model_digest
from certvq.train import TrainConfig, mean_psnr, perplexity, usage
from certvq.train._images import to_images, to_pixels
from certvq.train._metrics import pixel_variance
from certvq.train._validate import validate


@pytest.fixture
def model(tiny_config: Callable[..., TrainConfig]) -> VQVAE:
    found = VQVAE(tiny_config().model, generator=torch.Generator().manual_seed(3))
    found(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(4)))
    return found


def test_histograms_are_summed_over_all_photographs(
    model: VQVAE, photographs: list[Photograph]
) -> None:
    figures = validate(model, photographs, step=5, seconds=2.0)
    model.eval()
    codes = [model.encode(to_images(p.pixels[None], model)).reshape(-1) for p in photographs]
    counts = torch.bincount(torch.cat(codes), minlength=8).numpy()
    assert figures.perplexity == perplexity(counts)
    assert figures.usage == usage(counts)
    shares = figures.filter_share + figures.refined_share + figures.exact_share
    assert shares == pytest.approx(1, abs=1e-12)
    assert (figures.split, figures.step, figures.seconds) == ("validation", 5, 2.0)


def test_errors_are_those_of_the_reconstructions(
    model: VQVAE, photographs: list[Photograph]
) -> None:
    figures = validate(model, photographs, step=1, seconds=0.0)
    model.eval()
    error, pixels, pairs = 0.0, 0, []
    for photograph in photographs:
        images = to_images(photograph.pixels[None], model)
        with torch.no_grad():
            found = model(images).reconstruction
        error += float(((found - images) ** 2).sum())
        pixels += photograph.pixels.size
        pairs.append((photograph.pixels, to_pixels(found)[0]))
    assert figures.reconstruction_mse == pytest.approx(error / pixels, rel=1e-5)
    assert figures.psnr == mean_psnr(pairs)
    scaled = figures.reconstruction_mse / pixel_variance(photographs)
    assert figures.mse_over_variance == scaled
    beta = model.config.commitment_weight
    assert figures.loss == pytest.approx(scaled + beta * figures.commitment_loss, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(
    model: VQVAE, photographs: list[Photograph], *, training: bool
) -> None:
    model.train(training)
    before = model_digest(model)
    validate(model, photographs, step=1, seconds=0.0)
    assert model_digest(model) == before
    assert model.training is training


def test_figures_of_several_codebooks_are_the_means_of_theirs(
    tiny_config: Callable[..., TrainConfig], photographs: list[Photograph]
) -> None:
    config = tiny_config(quantizer="residual", num_quantizers=2).model
    model = VQVAE(config, generator=torch.Generator().manual_seed(3))
    model(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(4)))
    figures = validate(model, photographs, step=1, seconds=0.0)
    model.eval()
    codes = [model.encode(to_images(p.pixels[None], model)).reshape(-1, 2) for p in photographs]
    counts = [torch.bincount(level, minlength=8).numpy() for level in torch.cat(codes).T]
    assert figures.perplexity == pytest.approx(sum(map(perplexity, counts)) / 2)
    assert figures.usage == pytest.approx(sum(map(usage, counts)) / 2)
    shares = figures.filter_share + figures.refined_share + figures.exact_share
    assert shares == pytest.approx(1, abs=1e-12)
