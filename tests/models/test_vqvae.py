"""The model: certified codes, decoding to the bit, any size, named errors."""

import copy
from dataclasses import replace

import pytest
import torch

import certvq
from certvq.errors import CodeRangeError, DeviceError, DTypeError, NonFiniteError, ShapeError
from certvq.models import VQVAE, VQVAEConfig, VQVAEOutput, model_digest
from certvq.nn import EMA, Gradient


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (19, 14), (7, 33), (16, 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_decoding_the_codes_gives_the_reconstruction_to_the_bit(size, channels, tiny):
    """Same function, clamp and crop; gradients on or off."""
    model = VQVAE(replace(tiny, channels=channels), generator=seeded()).eval()
    pixels = torch.rand(2, channels, *size, generator=seeded(1))
    output = model(pixels)
    assert output.reconstruction.shape == pixels.shape
    assert output.codes.shape == (2, *model.token_grid(*size))
    assert output.reconstruction.requires_grad
    assert torch.equal(model.decode(output.codes, size=size), output.reconstruction)
    with torch.no_grad():
        assert torch.equal(model(pixels).reconstruction, output.reconstruction)
    assert torch.equal(model.encode(pixels), output.codes)


@pytest.mark.parametrize("config", [VQVAEConfig.small(), VQVAEConfig.published()], ids=["s", "p"])
def test_decoding_holds_for_the_configurations_that_people_use(config):
    model = VQVAE(config, generator=seeded())
    model(torch.rand(1, 3, 32, 32, generator=seeded(1)))
    output = model.eval()(torch.rand(1, 3, 30, 41, generator=seeded(2)))
    assert torch.equal(model.decode(output.codes, size=(30, 41)), output.reconstruction)


def test_decoding_holds_under_bfloat16_autocast(model, images):
    with torch.autocast("cpu", torch.bfloat16):
        output = model(images)
        assert torch.equal(model.decode(output.codes, size=(19, 14)), output.reconstruction)
        latents = model.latents(images)
    assert latents.dtype == torch.bfloat16
    flat = latents.detach().reshape(-1, 4)
    assert certvq.audit(flat, model.quantizer.codebook, output.codes.reshape(-1)).ok
    assert output.loss.dtype == torch.float32


def test_codes_are_certified_for_the_latents(model, images):
    latents = model.latents(images)
    assert latents.shape == (3, 5, 4, 4)
    report = certvq.audit(
        latents.detach().reshape(-1, 4), model.quantizer.codebook, model.encode(images).reshape(-1)
    )
    assert (report.rows, report.ok) == (60, True)


def test_codes_do_not_depend_on_pixels_beyond_a_padded_edge(model):
    """Padding by hand gives the same codes as padding inside."""
    pixels = torch.rand(1, 3, 7, 8, generator=seeded(3))
    padded = torch.cat([pixels, pixels[:, :, -1:]], dim=2)
    assert torch.equal(model.encode(pixels), model.encode(padded))


def test_an_uncropped_decoding_is_a_whole_grid_of_pixels(model, images):
    codes = model.encode(images)
    whole = model.decode(codes)
    assert whole.shape == (3, 3, 20, 16)
    assert torch.equal(whole[:, :, :19, :14], model.decode(codes, size=(19, 14)))
    assert 0.0 <= whole.min() <= whole.max() <= 1.0


def test_grey_is_zero_inside(model):
    """Pixels are centred at 0.5, on the way in and on the way out."""
    grey = torch.full((1, 3, 8, 8), 0.5)
    inside = model.encoder(torch.zeros(1, 3, 8, 8))
    assert torch.equal(model.latents(grey), inside.movedim(1, -1))
    codes = torch.zeros(1, 2, 2, dtype=torch.int64)
    outside = model.decoder(model.quantizer.decode(codes)) + 0.5
    assert torch.equal(model.decode(codes), outside.clamp(0.0, 1.0))


def test_eval_mode_clamps_and_train_mode_does_not(tiny):
    model = VQVAE(tiny, generator=seeded())
    with torch.no_grad():
        model.decoder.body[-1].bias.fill_(2.0)
    pixels = torch.rand(1, 3, 8, 8, generator=seeded(1))
    assert model(pixels).reconstruction.max() > 1.0
    assert model.eval()(pixels).reconstruction.max() == 1.0


@pytest.mark.parametrize("update", ["ema", "gradient"])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_the_sum_of_its_terms(update, training, tiny, images):
    model = VQVAE(replace(tiny, update=update, commitment_weight=0.5), generator=seeded())
    model(images)
    output = model.train(training)(images)
    assert isinstance(output, VQVAEOutput)
    mse = (output.reconstruction - images).square().mean()
    torch.testing.assert_close(output.reconstruction_loss, mse)
    assert output.codebook_loss == output.commitment_loss > 0.0
    expected = output.reconstruction_loss + 0.5 * output.commitment_loss
    expected = expected + (output.codebook_loss if update == "gradient" else 0.0)
    torch.testing.assert_close(output.loss, expected)
    latents = model.latents(images).movedim(-1, 1)
    distance = (latents - model.quantizer.decode(output.codes)).square().mean()
    torch.testing.assert_close(output.commitment_loss, distance.detach())


def test_the_configuration_reaches_the_quantizer(tiny):
    model = VQVAE(replace(tiny, decay=0.5, commitment_weight=0.75))
    assert model.quantizer.update == EMA(decay=0.5)
    assert model.quantizer.commitment_weight == 0.75
    assert VQVAE(replace(tiny, update="gradient")).quantizer.update == Gradient()


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_training_lowers_the_loss_of_pictures(update):
    """Half of the variance of two-colour pictures is explained after a few steps."""
    config = VQVAEConfig(
        channels=1, hidden=16, residual_blocks=1, residual_hidden=8, dim=4, codebook_size=8,
        update=update,
    )  # fmt: skip
    model = VQVAE(config, generator=seeded())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    corners = torch.rand(8, 1, 4, 4, generator=seeded(1)).round()
    pictures = torch.nn.functional.interpolate(corners, scale_factor=4.0)
    for _ in range(80):
        output = model(pictures)
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
    assert output.reconstruction_loss < 0.5 * pictures.var()


def test_a_generator_decides_everything_and_the_default_one_stays(tiny, images):
    default = torch.get_rng_state()

    def trained(seed):
        model = VQVAE(tiny, generator=seeded(seed))
        for _ in range(3):
            model(images)
        return model_digest(model)

    assert trained(0) == trained(0) != trained(1)
    assert torch.equal(torch.get_rng_state(), default)


def test_without_a_generator_the_default_one_decides(tiny):
    with torch.random.fork_rng(devices=[]):
        digests = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            digests.append(model_digest(VQVAE(tiny)))
    assert digests[0] == digests[1] != digests[2]


def test_nan_pixels_raise_and_leave_the_model_untouched(tiny, images):
    model = VQVAE(tiny, generator=seeded())
    model(images)
    before = model_digest(model)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 20"):
        model(images)
    assert model_digest(model) == before


def test_a_deep_copy_is_the_same_model(model, images):
    model(images)
    assert model_digest(copy.deepcopy(model)) == model_digest(model)


@pytest.mark.parametrize("method", ["forward", "encode", "latents"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 8, 8), "model's 3 channels, got 1"),
        ((1, 3, 3, 9), "at least 4 x 4 pixels, the stride of the model, got 3 x 9"),
        ((3, 8, 8), r"four axes .* got shape \(3, 8, 8\)"),
    ],
)
def test_wrong_images_are_named(model, method, shape, message):
    with pytest.raises(ShapeError, match=message):
        getattr(model, method)(torch.zeros(shape))


def test_bytes_are_refused(model):
    with pytest.raises(DTypeError, match="got uint8"):
        model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("height", "width", "grid"), [(4, 4, (1, 1)), (5, 8, (2, 2)), (427, 640, (107, 160))]
)
def test_the_token_grid_rounds_up(model, height, width, grid):
    assert model.token_grid(height, width) == grid


def test_the_token_grid_of_too_small_an_image(model):
    with pytest.raises(ShapeError, match="got 4 x 3"):
        model.token_grid(4, 3)


def test_wrong_codes_are_named(model):
    with pytest.raises(CodeRangeError, match=r"range\(16\), got 16 at position \(0, 0, 1\)"):
        model.decode(torch.tensor([[[0, 16]]]))
    with pytest.raises(DTypeError, match="must be integers"):
        model.decode(torch.zeros(1, 2, 2))
    with pytest.raises(ShapeError, match=r"must have 3 axes, got shape \(2, 2\)"):
        model.decode(torch.zeros(2, 2, dtype=torch.int64))
    message = r"images of 9 x 8 pixels have \(3, 2\) codes, got \(2, 2\)"
    with pytest.raises(ShapeError, match=message):
        model.decode(torch.zeros(1, 2, 2, dtype=torch.int64), size=(9, 8))


def test_images_and_codes_on_another_device_are_named():
    model = VQVAE(VQVAEConfig.small())
    with pytest.raises(DeviceError, match="got images on meta and VQVAE on cpu; make images"):
        model(torch.rand(1, 3, 16, 16, device="meta"))
    model.to("meta")
    with pytest.raises(DeviceError, match="got images on cpu and VQVAE on meta; give the layer"):
        model.encode(torch.rand(1, 3, 16, 16))
    with pytest.raises(DeviceError, match="got codes on cpu and VectorQuantize on meta"):
        model.decode(torch.zeros(1, 4, 4, dtype=torch.int64))
