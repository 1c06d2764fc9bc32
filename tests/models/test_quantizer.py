"""Models with one codebook, several, or a grid: codes, files and figures of each."""

import json
from dataclasses import replace

import pytest
import torch

import certvq
from certvq.errors import DigestMismatchError, FileFormatError, OptionError
from certvq.models import VQVAE, VQVAEConfig, codebook_digest
from certvq.models._digest import codebooks_digest
from certvq.models._quantizer import decided_shares, latest_loss
from certvq.nn import FSQ

OTHERS = [
    {"quantizer": "residual", "num_quantizers": 3},
    {"quantizer": "fsq", "levels": (5, 4, 3)},
]


@pytest.fixture(params=OTHERS, ids=lambda options: options["quantizer"])
def other(request, tiny):
    """A model with several codebooks or a grid, which has seen images."""
    generator = torch.Generator().manual_seed(0)
    model = VQVAE(replace(tiny, **request.param), generator=generator)
    model(torch.rand(4, tiny.channels, 32, 32, generator=generator))
    return model.eval()


def by_hand(model, latents):
    """Find codes level by level with `certvq.assign`, or by the layer of nn that has the levels."""
    rows = latents.detach().reshape(-1, latents.shape[-1])
    if model.config.quantizer == "fsq":
        return FSQ(model.config.levels)(rows[None]).codes.view(latents.shape[:3])
    codes = []
    for codebook in model.codebooks:
        codes.append(certvq.assign(rows, codebook).codes)
        rows = rows - codebook[codes[-1]]
    return torch.stack(codes, -1).view(*latents.shape[:3], -1)


def test_codes_are_those_found_by_hand_and_decode_to_the_reconstruction(other):
    images = torch.rand(2, other.config.channels, 18, 13)
    found = other(images)
    codes = other.encode(images)
    assert torch.equal(codes, by_hand(other, other.latents(images)))
    assert torch.equal(codes, found.codes)
    assert torch.equal(other.decode(codes, size=(18, 13)), found.reconstruction)


def test_a_model_comes_back_from_its_folder(other, tmp_path):
    other.save_pretrained(tmp_path / "m")
    read = VQVAE.from_pretrained(tmp_path / "m")
    images = torch.rand(1, other.config.channels, 16, 16)
    assert read.config == other.config
    assert torch.equal(read(images).reconstruction, other(images).reconstruction)
    record = json.loads((tmp_path / "m/config.json").read_text())
    assert record["codebook_sha256"] == codebooks_digest(other.codebooks)


def test_a_codebook_that_is_missing_or_another_is_named(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    VQVAE(replace(tiny, **OTHERS[0])).save_pretrained(tmp_path / "m")
    weights = tmp_path / "m/model.safetensors"
    state = load_file(weights)
    level = state.pop("quantizer.parts.1.codebook")
    save_file(state, weights)
    with pytest.raises(FileFormatError, match="has no tensor 'quantizer.parts.1.codebook'"):
        VQVAE.from_pretrained(tmp_path / "m")
    save_file({**state, "quantizer.parts.1.codebook": level + 1}, weights)
    with pytest.raises(DigestMismatchError, match="its codebook has SHA-256"):
        VQVAE.from_pretrained(tmp_path / "m")


def test_the_digest_of_one_codebook_is_its_own(model):
    assert codebooks_digest(model.codebooks) == codebook_digest(model.quantizer.codebook)
    one, other = torch.zeros(2, 1), torch.ones(2, 1)
    assert len({codebooks_digest([one, other]), codebooks_digest([other, one])}) == 2


def test_losses_of_levels_are_added_up_and_a_grid_has_none(tiny):
    model = VQVAE(replace(tiny, update="gradient", **OTHERS[0])).train()
    found = model(torch.rand(4, tiny.channels, 32, 32))
    levels = [model.quantizer.latest[f"level{n}/commitment_loss"] for n in range(3)]
    assert torch.equal(found.commitment_loss, torch.stack(levels).sum())
    wanted = (
        found.reconstruction_loss
        + found.codebook_loss
        + tiny.commitment_weight * found.commitment_loss
    )
    assert torch.allclose(found.loss, wanted)
    grid = VQVAE(replace(tiny, **OTHERS[1]))
    found = grid(torch.rand(1, tiny.channels, 16, 16))
    assert (float(found.commitment_loss), float(latest_loss(grid.quantizer, "x"))) == (0.0, 0.0)
    assert torch.equal(found.loss, found.reconstruction_loss)


def test_shares_are_of_the_codes_of_all_levels(other):
    codes = other(torch.rand(2, other.config.channels, 16, 16)).codes
    shares = decided_shares(other.quantizer, codes.numel())
    assert sum(shares.values()) == pytest.approx(1.0)
    if other.config.quantizer == "fsq":
        assert shares["exact"] == 1.0


def test_one_codebook_is_asked_for_where_one_is_needed(model, other):
    assert torch.equal(model.only_codebook("this"), model.quantizer.codebook)
    with pytest.raises(OptionError, match="this takes models with the quantizer 'vq', got '"):
        other.only_codebook("this")


@pytest.mark.parametrize("options", OTHERS, ids=lambda options: options["quantizer"])
def test_all_parts_but_a_grid_learn(options):
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=8, **options)
    model = VQVAE(config, generator=torch.Generator().manual_seed(0)).train()
    before = [book.clone() for book in model.codebooks]
    model(torch.rand(4, 3, 32, 32)).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    moved = [not torch.equal(a, b) for a, b in zip(before, model.codebooks, strict=True)]
    assert moved == ([True] * 3 if options["quantizer"] == "residual" else [False])
