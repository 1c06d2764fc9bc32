"""The interface that all quantizers share: layouts, masks, checks before any change."""

import pytest
import torch

from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import EMA, PADDING, Gradient, Quantized, Quantizer, Uniform, VectorQuantize


def layer_of(update, seeded, **options):
    return VectorQuantize(3, 5, update=update, generator=seeded(), **options)


@pytest.mark.parametrize("update", [EMA(), Gradient()], ids=repr)
def test_padding_neither_counts_nor_teaches(update, seeded, same_bits, snapshot, unchanged):
    """A masked batch is the batch without its padding, whatever the padding holds."""
    tokens = torch.randn(2, 4, 3, generator=seeded(1))
    mask = torch.tensor([[True, True, False, True], [False, True, True, True]])
    dirty = tokens.masked_fill(~mask[..., None], float("nan"))
    masked, plain = (layer_of(update, seeded, start=Uniform()) for _ in range(2))
    for _ in range(3):
        result = masked(dirty, mask)
        expected = plain(tokens[mask][None])
    assert same_bits(result.quantized[mask], expected.quantized[0])
    assert torch.equal(result.codes[mask], expected.codes[0])
    assert torch.equal(result.loss, expected.loss)
    assert unchanged(masked, snapshot(plain))
    assert (result.codes[~mask] == PADDING).all()
    assert not result.quantized[~mask].any()
    assert torch.equal(masked.encode(dirty, mask), result.codes)


def test_padding_is_decoded_with_its_mask_only(seeded, same_bits):
    layer = layer_of(EMA(), seeded)
    mask = torch.tensor([[True, False]])
    quantized, codes, _ = layer(torch.randn(1, 2, 3, generator=seeded()), mask)
    assert same_bits(layer.decode(codes, mask), quantized)
    with pytest.raises(CodeRangeError, match=r"got -1 at position \(0, 1\).*with the mask"):
        layer.decode(codes)
    with pytest.raises(CodeRangeError, match="got 5 at position"):
        layer.decode(torch.tensor([[5, PADDING]]), mask)


def test_a_batch_of_padding_alone_changes_nothing(seeded, snapshot, unchanged):
    layer = layer_of(EMA(), seeded)
    layer(torch.randn(1, 20, 3, generator=seeded()))
    layer(torch.randn(1, 20, 3, generator=seeded()))
    layer.statistics.average(0.99)
    before = snapshot(layer)
    result = layer(torch.full((1, 4, 3), float("nan")), torch.zeros(1, 4, dtype=torch.bool))
    assert float(result.loss) == 0.0
    assert (result.codes == PADDING).all()
    del before["codebook"]
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in before.items())


def test_padding_gets_no_gradient(seeded):
    layer = layer_of(EMA(), seeded)
    latents = torch.randn(1, 3, 3, generator=seeded(), requires_grad=True)
    mask = torch.tensor([[True, False, True]])
    quantized, _, loss = layer(latents, mask)
    (quantized.sum() + loss).backward()
    assert not latents.grad[0, 1].any()
    assert latents.grad[0, 0].all()


def test_a_mask_has_the_shape_of_the_codes(seeded):
    layer = layer_of(EMA(), seeded, layout="b d n")
    with pytest.raises(ShapeError, match=r"mask must have the shape of the codes, \(2, 7\)"):
        layer(torch.zeros(2, 3, 7), torch.ones(2, 3, dtype=torch.bool))


class Refuser(Quantizer):
    """A family that refuses every batch in train mode."""

    codebook_size = 1

    def quantize_tokens(self, tokens):
        raise AssertionError(tokens)

    encode_tokens = decode_tokens = quantize_tokens

    def token_error(self, tokens):
        return NonFiniteError(f"{len(tokens)} tokens refused")


def test_a_family_is_asked_before_it_learns():
    with pytest.raises(NonFiniteError, match="6 tokens refused"):
        Refuser(3)(torch.zeros(2, 3, 3))


def test_dim_must_be_positive():
    with pytest.raises(OptionError, match="dim must be at least 1, got 0"):
        Refuser(0)


def test_the_result_unpacks_as_three():
    assert Quantized._fields == ("quantized", "codes", "loss")
