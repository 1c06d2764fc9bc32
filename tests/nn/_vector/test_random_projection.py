"""Random projections: exact codes of the directions, nothing learned, documented spreads."""

from fractions import Fraction
from itertools import product

import pytest
import torch
from torch.nn import functional

from certvq import spec
from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, RandomProjectionQuantizer


def exact(vector):
    return tuple(map(Fraction, vector.double().tolist()))


def test_codes_are_the_nearest_to_the_directions(seeded):
    layer = RandomProjectionQuantizer(10, 50, 3, codebooks=2, generator=seeded())
    latents = 5.0 + torch.randn(4, 20, 10, generator=seeded(1))
    codes = layer.encode(latents).reshape(-1, 2)
    directions = layer._directions(latents.reshape(-1, 10))
    for head, book in enumerate(layer.codebooks):
        exact_book = spec.Codebook(tuple(map(exact, book)))
        expected = [min(spec.nearest_codes(exact_book, exact(u))) for u in directions[:, head]]
        assert codes[:, head].tolist() == expected


def test_all_codes_together_are_the_nearest_combination(seeded):
    """`product_isNearestCode`, on a product codebook small enough to write down."""
    layer = RandomProjectionQuantizer(6, 4, 2, codebooks=3, generator=seeded())
    latents = torch.randn(1, 9, 6, generator=seeded(1))
    whole = [
        tuple(x for part, row in enumerate(rows) for x in exact(layer.codebooks[part, row]))
        for rows in product(range(4), repeat=3)
    ]
    book = spec.Codebook(tuple(whole))
    for token, codes in zip(latents[0], layer.encode(latents)[0].tolist(), strict=True):
        direction = exact(layer._directions(token[None])[0].flatten())
        assert min(spec.nearest_codes(book, direction)) == codes[0] * 16 + codes[1] * 4 + codes[2]


def test_directions_are_those_of_the_paper(seeded):
    """Against float64 arithmetic of the definition, to the rounding of float32."""
    layer = RandomProjectionQuantizer(12, 5, 3, codebooks=2, generator=seeded())
    z = 2.0 + 3.0 * torch.randn(7, 12, generator=seeded(1))
    wide = z.double()
    y = (wide - wide.mean(1, keepdim=True)) / (
        wide.var(1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    u = torch.einsum("nd,hde->nhe", y, layer.projections.double())
    u = u / u.norm(dim=-1, keepdim=True)
    # entries are at most 1, so that rounding to float32 moves them by half an ulp of 1/2 at most
    assert (layer._directions(z).double() - u).abs().max() <= 2.0**-25 + 1e-12


def test_codes_do_not_change_with_scale_and_offset_when_normalized(seeded):
    layer = RandomProjectionQuantizer(16, 64, 4, generator=seeded())
    latents = torch.randn(1, 50, 16, dtype=torch.float64, generator=seeded(1))
    assert torch.equal(layer.encode(8.0 * latents + 3.0), layer.encode(latents))
    plain = RandomProjectionQuantizer(16, 64, 4, normalize=False, generator=seeded())
    assert torch.equal(plain.encode(8.0 * latents), plain.encode(latents))
    assert not torch.equal(plain.encode(latents + 3.0), plain.encode(latents))


def test_nothing_is_ever_learned(seeded, snapshot, unchanged):
    layer = RandomProjectionQuantizer(8, 16, 4, generator=seeded()).train()
    before = snapshot(layer)
    result = layer(torch.randn(1, 9, 8, generator=seeded(1)))
    assert not layer.training
    assert not list(layer.parameters())
    assert result.loss == 0.0
    assert unchanged(layer, before)


def test_the_seed_decides_everything(seeded, unchanged, snapshot):
    first = RandomProjectionQuantizer(8, 16, 4, generator=seeded(3))
    second = RandomProjectionQuantizer(8, 16, 4, generator=seeded(3))
    assert unchanged(second, snapshot(first))
    assert not unchanged(RandomProjectionQuantizer(8, 16, 4, generator=seeded(4)), snapshot(first))


def test_buffers_have_the_documented_spread(seeded):
    layer = RandomProjectionQuantizer(100, 300, 60, codebooks=10, generator=seeded())
    # 60000 numbers: the standard error of their variance is 0.0058 of it; six of them
    assert abs(layer.projections.var().item() * 80 - 1.0) < 0.035
    norms = layer.codebooks.double().norm(dim=-1)
    assert (norms - 1.0).abs().max() < 60 * 2.0**-24


def test_the_shape_of_codes(seeded):
    latents = torch.randn(2, 3, 8, generator=seeded())
    assert RandomProjectionQuantizer(8, 5, 2)(latents).codes.shape == (2, 3)
    several = RandomProjectionQuantizer(8, 5, 2, codebooks=4)(latents)
    assert several.codes.shape == (2, 3, 4)
    assert several.quantized.shape == (2, 3, 8)
    wide = RandomProjectionQuantizer(8, 5, 7, codebooks=3, layout="b d n")
    assert wide.width == 21
    assert wide(latents.movedim(-1, 1)).quantized.shape == (2, 21, 3)


def test_latents_without_a_direction_get_the_code_nearest_to_zero(seeded):
    layer = RandomProjectionQuantizer(8, 5, 2, generator=seeded())
    book = spec.Codebook(tuple(map(exact, layer.codebooks[0])))
    expected = min(spec.nearest_codes(book, (Fraction(0), Fraction(0))))
    assert layer.encode(torch.full((1, 1, 8), 7.0)).tolist() == [[expected]]


def test_tiny_and_huge_projections_have_a_direction(seeded):
    layer = RandomProjectionQuantizer(8, 50, 4, normalize=False, generator=seeded()).double()
    latents = torch.randn(1, 20, 8, dtype=torch.float64, generator=seeded(1))
    codes = layer.encode(latents)
    for scale in (2.0**-900, 2.0**900):
        assert torch.equal(layer.encode(scale * latents), codes)


def test_cross_entropy_against_the_definition(seeded):
    layer = RandomProjectionQuantizer(8, 16, 4, codebooks=2, generator=seeded()).double()
    latents = torch.randn(2, 5, 8, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    wanted = torch.randint(16, (2, 5, 2), generator=seeded(2))
    wanted[0, 0] = PADDING
    loss = layer.cross_entropy(latents, wanted)
    directions = layer._directions(latents.reshape(-1, 8))
    similarity = torch.einsum("nhe,hke->nhk", directions, layer.codebooks)
    expected = functional.cross_entropy(
        similarity.flatten(0, 1), wanted.reshape(-1), ignore_index=PADDING
    )
    torch.testing.assert_close(loss.double(), expected, rtol=1e-12, atol=0)
    loss.backward()
    assert latents.grad[0, 1].any()
    assert not latents.grad[0, 0].any()
    assert layer.cross_entropy(latents, torch.full((2, 5, 2), PADDING)) == 0.0


def test_cross_entropy_refuses_other_codes():
    layer = RandomProjectionQuantizer(8, 16, 4, codebooks=2)
    latents = torch.zeros(2, 5, 8)
    with pytest.raises(ShapeError, match=r"\(2, 5, 2\).*got \(2, 5\)"):
        layer.cross_entropy(latents, torch.zeros(2, 5, dtype=torch.int64))
    codes = torch.zeros(2, 5, 2, dtype=torch.int64)
    with pytest.raises(DTypeError, match="codes must be integers, got float32"):
        layer.cross_entropy(latents, codes.float())
    codes[1, 0, 1] = 16
    with pytest.raises(CodeRangeError, match=r"range\(16\), got 16"):
        layer.cross_entropy(latents, codes)


@pytest.mark.parametrize("name", ["codebook_size", "code_dim", "codebooks", "dim"])
def test_wrong_options_are_named(name):
    options = {"dim": 4, "codebook_size": 6, "code_dim": 3, name: 0}
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        RandomProjectionQuantizer(**options)


def test_nan_is_named():
    latents = torch.zeros(1, 3, 4)
    latents[0, 1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 1, column 2"):
        RandomProjectionQuantizer(4, 6, 3)(latents)
