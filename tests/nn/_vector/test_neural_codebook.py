"""Codebooks that depend on the sum so far: certified among their vectors, learned by gradient."""

from fractions import Fraction

import pytest
import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn import EMA, Beam, Gradient, Neural, NeuralCodebook, Residual, ResidualVQ
from certvq.nn._vector.neural_codebook import nearest_of_own


def shaken(layer, seeded):
    """Give the networks other parameters than those of the identity."""
    generator = seeded(5)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "transform" in name:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer


def far(token, vector):
    return sum((Fraction(z) - Fraction(c)) ** 2 for z, c in zip(token, vector, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_codes_are_nearest_among_own_vectors(dtype, seeded):
    """Random vectors, vectors a rounding error apart, exact ties: all against fractions."""
    tokens = torch.randn(30, 3, generator=seeded()).to(dtype)
    vectors = torch.randn(30, 7, 3, generator=seeded(1)).to(dtype)
    vectors[10:20] = tokens[10:20, None]
    vectors[10:20, 2:] += torch.finfo(dtype).eps * vectors[10:20, 2:]
    vectors[12:15] = torch.roll(vectors[12:15], 3, dims=1)
    vectors[20:] = (tokens[20:, None] * 2).round()
    vectors[20:, 3] = tokens[20:] + 1.0
    vectors[20:, 5] = tokens[20:] - 1.0
    found = nearest_of_own(tokens, vectors).tolist()
    for token, own, code in zip(tokens.tolist(), vectors.tolist(), found, strict=True):
        distances = [far(token, vector) for vector in own]
        assert code == distances.index(min(distances))


def test_distances_that_float64_cannot_tell_apart():
    """Both differences square to more than 2^53 apart in their terms; integers decide."""
    tokens = torch.zeros(2, 2, dtype=torch.float64)
    big, tiny = 2.0**40, 2.0**-40
    vectors = torch.tensor(
        [[[big, tiny], [big, 0.0], [-big, 0.0]], [[big, 0.0], [0.0, big], [big, -0.0]]],
        dtype=torch.float64,
    )
    assert nearest_of_own(tokens, vectors).tolist() == [1, 0]


def test_ties_that_rounding_hides(seeded):
    """The entries of one vector in other orders: equal distances, sums that round differently."""
    entries = torch.randn(200, 1, 5, generator=seeded(), dtype=torch.float64)
    vectors = torch.cat([entries.roll(shift, dims=2) for shift in range(5)], dim=1)
    computed = vectors.square().sum(dim=2)
    assert (computed[:, 0] > computed.amin(dim=1)).any()
    tokens = torch.zeros(200, 5, dtype=torch.float64)
    assert not nearest_of_own(tokens, vectors).any()


def test_levels_are_nearest_to_their_residuals(seeded):
    layer = shaken(ResidualVQ(3, (5, 6, 4), neural=Neural(depth=2), generator=seeded()), seeded)
    latents = torch.randn(1, 40, 3, generator=seeded(1))
    codes = layer.eval().encode(latents)[0]
    first = layer.quantizers[0].codebook.detach()
    total = first[codes[:, 0]]
    residual = latents[0] - total
    for level, part in enumerate(layer.quantizers[1:], start=1):
        with torch.no_grad():
            vectors = part.transform(part.base.codebook[None], total[:, None])
        for token, own, code in zip(
            residual.tolist(), vectors.tolist(), codes[:, level].tolist(), strict=True
        ):
            distances = [far(token, vector) for vector in own]
            assert code == distances.index(min(distances))
        chosen = part.after(total).decode_tokens(codes[:, level]).detach()
        residual, total = residual - chosen, total + chosen


def test_the_network_starts_as_the_identity(seeded):
    layer = ResidualVQ(3, 8, num_quantizers=2, neural=Neural(), generator=seeded())
    codes = layer(torch.randn(1, 50, 3, generator=seeded())).codes
    part = layer.quantizers[1]
    plain = layer.quantizers[0].codebook[codes[..., 0]] + part.base.codebook[codes[..., 1]]
    assert torch.equal(layer.decode(codes), plain)


@pytest.mark.parametrize("skip", [True, False])
def test_sums_change_the_vectors_and_blocks_do_not(skip, seeded, monkeypatch):
    layer = NeuralCodebook(3, 6, neural=Neural(depth=1, skip=skip), generator=seeded())
    layer = shaken(layer, seeded).eval()
    tokens, sums = (torch.randn(20, 3, generator=seeded(i)) for i in (1, 2))
    codes = layer.after(sums).encode_tokens(tokens)
    assert not torch.equal(codes, layer.encode_tokens(tokens))
    monkeypatch.setattr("certvq.nn._vector.neural_codebook._BLOCK", 18 * 7)
    assert torch.equal(layer.after(sums).encode_tokens(tokens), codes)


def test_loss_and_gradients(seeded):
    """The codebook term has weight one, the commitment term beta; networks learn by the former."""
    layer = shaken(NeuralCodebook(3, 6, neural=Neural(depth=1), generator=seeded()), seeded).eval()
    tokens = torch.randn(20, 3, generator=seeded(1), requires_grad=True)
    sums = torch.randn(20, 3, generator=seeded(2))
    found = layer.after(sums).quantize_tokens(tokens)
    error = (tokens - layer.after(sums).decode_tokens(found.codes)).square().mean()
    torch.testing.assert_close(found.loss, 1.25 * error)
    gradient = torch.autograd.grad(error, [tokens, *layer.parameters()], retain_graph=True)
    got = torch.autograd.grad(found.loss, [tokens, *layer.parameters()])
    torch.testing.assert_close(got[0], 0.25 * gradient[0])
    torch.testing.assert_close(got[1:], gradient[1:])
    (through,) = torch.autograd.grad(found.vectors.sum(), tokens)
    assert torch.equal(through, torch.ones_like(tokens))


def test_networks_describe_what_plain_levels_cannot(seeded):
    """Points on a curved surface, the same steps of the same optimizer."""
    mix = torch.randn(2, 4, generator=seeded(3))
    latents = torch.sin(torch.randn(1, 300, 2, generator=seeded(1)) @ mix)
    errors = []
    for neural in (None, Neural(depth=1, hidden=16)):
        layer = ResidualVQ(
            4, 8, num_quantizers=3, neural=neural, update=Gradient(), generator=seeded()
        )
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        for _ in range(100):
            loss = layer(latents).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        layer.eval()(latents)
        errors.append(layer.metrics()["commitment_loss"])
    assert errors[1] < 0.95 * errors[0]


def test_fewer_levels_can_be_decoded(seeded, same_bits):
    layer = shaken(
        ResidualVQ(3, 5, num_quantizers=3, neural=Neural(depth=1), generator=seeded()), seeded
    )
    codes = layer.eval().encode(torch.randn(1, 9, 3, generator=seeded()))
    first = layer.quantizers[0].codebook[codes[..., 0]]
    assert same_bits(layer.decode(codes[..., :1]), first)
    second = layer.quantizers[1].after(first[0]).decode_tokens(codes[0, :, 1])
    assert same_bits(layer.decode(codes[..., :2])[0], first[0] + second)


def test_broken_networks_are_named_before_anything_changes(seeded, snapshot, unchanged):
    layer = ResidualVQ(3, 5, num_quantizers=3, neural=Neural(depth=1), generator=seeded())
    layer(torch.randn(1, 40, 3, generator=seeded()))
    with torch.no_grad():
        layer.quantizers[2].transform.proj_in.bias[1] = float("nan")
    before = snapshot(layer)
    with pytest.raises(NonFiniteError, match="those of proj_in.bias are not"):
        layer(torch.randn(1, 40, 3, generator=seeded()))
    assert unchanged(layer, before)
    with pytest.raises(NonFiniteError, match="got nan for row 0, code 0, column 0"):
        layer.eval().encode(torch.randn(1, 40, 3, generator=seeded()))


def test_options_that_contradict_are_refused():
    with pytest.raises(OptionError, match="depth must be at least 0, got -1"):
        Neural(depth=-1)
    with pytest.raises(OptionError, match="hidden must be at least 1, got 0"):
        Neural(hidden=0)
    with pytest.raises(OptionError, match="cannot be shared by levels: each has its own network"):
        ResidualVQ(3, 5, num_quantizers=3, neural=Neural(), shared=True)
    with pytest.raises(OptionError, match="give each level its own"):
        Residual([NeuralCodebook(3, 5, neural=Neural())], num_quantizers=2)
    with pytest.raises(OptionError, match="learn by Gradient, not by EMA"):
        ResidualVQ(3, 5, num_quantizers=2, neural=Neural(), update=EMA())
    with pytest.raises(OptionError, match=r"not \['metric'\]"):
        NeuralCodebook(3, 5, neural=Neural(), metric="cosine")
    with pytest.raises(OptionError, match="level 1 is NeuralCodebook"):
        ResidualVQ(3, 5, num_quantizers=2, neural=Neural(), beam=Beam(2))
