"""Scales, coarse to fine: certified averages, exact decoding, masks, one gradient.

Also of `certvq.nn._levels.pyramid`.
"""

import copy
import pickle
from fractions import Fraction

import pytest
import torch

from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, Gradient, HierarchicalVQ, LevelDropout, Uniform
from certvq.nn._levels import scales

CASES = [
    ("b d n", (2, 4, 9), [1, 3, 9]),
    ("b n d", (2, 9, 4), [1, 3, 9]),
    ("b c h w", (2, 4, 6, 8), [1, (2, 3), (6, 8)]),
    ("b c t h w", (2, 4, 2, 3, 4), [1, (2, 3, 4)]),
    ("b c h w", (2, 4, 7, 5), [1, 4]),
]
each = pytest.mark.parametrize(("layout", "shape", "sizes"), CASES)


def layer_of(seeded, layout="b d n", sizes=(1, 3, 9), **options):
    return HierarchicalVQ(4, 16, sizes, layout=layout, generator=seeded(), **options)


def grid_of(layer, latents):
    return layer._layout.grid(latents)


@each
@pytest.mark.rows("shared", [True, False])
@pytest.mark.rows("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_decode_gives_the_same_bits(layout, shape, sizes, shared, dtype, seeded, same_bits):
    layer = layer_of(seeded, layout, sizes, shared=shared, dropout=LevelDropout()).to(dtype)
    for step in range(5):
        latents = torch.randn(shape, generator=seeded(step)).to(dtype).requires_grad_()
        size = grid_of(layer, latents)[1:]
        if step == 4:
            layer.eval()
        quantized, codes, loss = layer(latents)
        assert same_bits(quantized, layer.decode(codes, size=size))
        assert codes.shape == (2, sum(layer.cells))
        coded = (codes >= 0).all(dim=0)
        assert torch.equal(layer.encode(latents)[:, coded], codes[:, coded])
        quantized.sum().backward()
        assert torch.equal(latents.grad, torch.ones_like(latents))
        assert torch.isfinite(loss)
    assert coded.all()


@each
def test_codes_are_nearest_to_the_averages(layout, shape, sizes, seeded):
    layer = layer_of(seeded, layout, sizes, shared=False)
    for step in range(2):
        latents = torch.randn(shape, generator=seeded(step))
        codes = layer(latents).codes
    residual = latents.movedim(layer._layout.feature_axis, 1)
    for level, piece in enumerate(layer.split(codes)):
        averages = scales.average(residual, None, layer.scales[level]).movedim(1, -1)
        book = [tuple(map(Fraction, row)) for row in layer.quantizers[level].codebook.tolist()]
        for row, code in zip(
            averages.reshape(-1, 4).tolist(), piece.flatten().tolist(), strict=True
        ):
            far = [
                sum((Fraction(z) - c) ** 2 for z, c in zip(row, vector, strict=True))
                for vector in book
            ]
            assert code == far.index(min(far))
        vectors = layer.quantizers[level].codebook[piece.flatten()]
        maps = vectors.reshape(len(codes), *layer.scales[level], 4).movedim(-1, 1)
        with torch.no_grad():
            residual = residual - layer.refinement(
                scales.spread(maps, tuple(residual.shape[2:])), level
            )


@pytest.mark.parametrize("shared", [True, False])
def test_padding_neither_counts_nor_teaches(shared, seeded, same_bits, snapshot, unchanged):
    first, second = (layer_of(seeded, shared=shared) for _ in range(2))
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 3:] = False
    mask[1, :1] = False
    for step in range(3):
        latents = torch.randn(2, 4, 9, generator=seeded(step))
        result = first(latents.masked_fill(~mask[:, None], float("nan")), mask)
        other = second(latents.masked_fill(~mask[:, None], 7.0), mask)
        assert same_bits(result.quantized, other.quantized)
        assert torch.equal(result.loss, other.loss)
        assert torch.equal(result.codes, other.codes)
        assert not result.quantized.movedim(1, -1)[~mask].any()
        assert same_bits(first.decode(result.codes, mask), result.quantized)
        pieces = first.split(result.codes)
        assert (pieces[1] == PADDING).tolist() == [[False, True, True], [False, False, False]]
        assert torch.equal(pieces[2] == PADDING, ~mask)
        assert torch.equal(first.encode(latents, mask), result.codes)
    assert unchanged(first, snapshot(second))


def test_a_shared_codebook_learns_once_from_all_scales(seeded, same_bits):
    layer = layer_of(seeded)
    for step in range(3):
        layer(torch.randn(2, 4, 9, generator=seeded(step)))
        assert int(layer.quantizers[0].statistics.pending_counts.sum()) == 2 * (1 + 3 + 9)
    assert len(layer.parts) == 1


def test_fewer_scales_are_a_coarser_picture(seeded, same_bits):
    layer = layer_of(seeded).eval()
    codes = layer.encode(torch.randn(2, 4, 9, generator=seeded()))
    coarse = layer.decode(codes[:, :4])
    padded = codes.clone()
    padded[:, 4:] = PADDING
    assert same_bits(coarse, layer.decode(padded))
    assert coarse.shape == (2, 4, 9)
    assert layer.decode(codes, size=[18]).shape == (2, 4, 18)


def test_bad_codes_are_named(seeded):
    layer = layer_of(seeded)
    good = torch.zeros(2, 13, dtype=torch.int64)
    for place, code in [((1, 5), 16), ((0, 2), PADDING), ((1, 0), -2)]:
        bad = good.clone()
        bad[place] = code
        where = rf"got {code} at position \({place[0]}, {place[1]}\)"
        with pytest.raises(CodeRangeError, match=where):
            layer.decode(bad)
    with pytest.raises(CodeRangeError, match=r"range\(16\), got -1 at position \(0, 0\)"):
        layer.decode(torch.full((2, 13), PADDING))
    with pytest.raises(ShapeError, match=r"n one of \[1, 4, 13\]"):
        layer.decode(good[:, :5])
    with pytest.raises(DTypeError, match="integers, got float32"):
        layer.decode(good.float())
    with pytest.raises(ShapeError, match=r"mask must have the shape of the codes, \(2, 9\)"):
        layer.decode(good, torch.ones(3, 9, dtype=torch.bool))
    sized = HierarchicalVQ(4, (3, 5), [1, 2], shared=False)
    assert sized.codebook_size == (3, 5, 5)
    with pytest.raises(CodeRangeError, match=r"range\(3\), got 4 at position \(0, 0\)"):
        sized.decode(torch.tensor([[4, 4, 4]]))


@pytest.mark.parametrize("shared", [True, False])
def test_bad_latents_change_nothing(shared, seeded, snapshot, unchanged):
    layer = layer_of(seeded, shared=shared)
    layer(torch.randn(2, 4, 9, generator=seeded()))
    before = snapshot(layer)
    latents = torch.randn(2, 4, 9, generator=seeded(1))
    latents[1, 2, 3] = float("nan")
    for call in (layer, layer.encode, layer.eval()):
        with pytest.raises(NonFiniteError, match="latents must be finite.*row 12, column 2"):
            call(latents)
    assert unchanged(layer, before)
    with pytest.raises(ShapeError, match=r"one place on each axis, got shape \(2, 4, 0\)"):
        layer(torch.zeros(2, 4, 0))
    with pytest.raises(ShapeError, match=r"dim=4 at axis 1, got shape \(2, 5, 9\)"):
        layer(torch.zeros(2, 5, 9))
    with pytest.raises(ShapeError, match=r"\(2, 9\), got \(2, 8\)"):
        layer(torch.zeros(2, 4, 9), torch.ones(2, 8, dtype=torch.bool))


def test_batches_without_latents(seeded, snapshot, unchanged):
    layer = layer_of(seeded)
    before = snapshot(layer)
    result = layer(torch.zeros(0, 4, 9))
    assert result.codes.shape == (0, 13)
    assert layer.decode(result.codes).shape == (0, 4, 9)
    result = layer(torch.full((2, 4, 9), float("nan")), torch.zeros(2, 9, dtype=torch.bool))
    assert (result.codes == PADDING).all()
    assert not result.quantized.any()
    assert float(result.loss.detach()) == 0.0
    assert unchanged(layer, before)


def test_the_loss_trains_latents_codebooks_and_convolutions(seeded):
    layer = layer_of(seeded, update=Gradient(), start=Uniform())
    latents = torch.randn(2, 4, 9, generator=seeded(), requires_grad=True)
    layer(latents).loss.backward()
    assert latents.grad.any()
    assert all(parameter.grad.any() for parameter in layer.parameters())
    assert {"refine_loss", "commitment_loss", "depth", "level2/commitment_loss"} <= set(
        layer.metrics()
    )
    plain = layer_of(seeded, refine=None)
    plain(latents)
    assert "refine_loss" not in plain.metrics()
    assert not list(plain.parameters())


def test_training_lowers_the_error(seeded):
    layer = HierarchicalVQ(3, 32, [1, 2, 4], layout="b c h w", generator=seeded())
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    errors = []
    for step in range(60):
        base = torch.randn(16, 3, 1, 1, generator=seeded(step))
        latents = base + 0.5 * torch.randn(
            16, 3, 2, 2, generator=seeded(step + 99)
        ).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        loss = layer(latents).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(layer.metrics()["commitment_loss"])
    assert sum(errors[-10:]) < 0.5 * sum(errors[:10])


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],  # noqa: S301 (our own bytes)
)
def test_training_goes_on_from_a_copy(copied, seeded, snapshot, unchanged):
    layer = layer_of(seeded, dropout=LevelDropout())
    layer(torch.randn(2, 4, 9, generator=seeded()))
    other = copied(layer)
    loaded = layer_of(seeded)
    loaded.load_state_dict(layer.state_dict())
    assert unchanged(loaded, snapshot(layer))
    for step in range(3):
        latents = torch.randn(2, 4, 9, generator=seeded(step))
        assert torch.equal(layer(latents).codes, other(latents).codes)
    assert unchanged(layer, snapshot(other))


def test_autocast_changes_nothing(seeded, same_bits):
    layer = layer_of(seeded).eval()
    latents = torch.randn(2, 4, 9, generator=seeded()).bfloat16()
    expected = layer(latents)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(latents)
        decoded = layer.decode(result.codes)
    assert torch.equal(result.codes, expected.codes)
    assert same_bits(result.quantized, expected.quantized)
    assert same_bits(decoded, expected.quantized)


def test_the_generator_makes_every_random_choice(seeded, snapshot, unchanged):
    def trained(noise):
        torch.manual_seed(noise)
        layer = layer_of(seeded, dropout=LevelDropout())
        for step in range(3):
            layer(torch.randn(2, 4, 9, generator=seeded(step)))
        return layer

    assert unchanged(trained(1), snapshot(trained(2)))


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((4, 8, []), {}, "from coarse to fine"),
        ((4, (8, 9), [1, 2]), {}, r"one codebook_size for all scales, got \(8, 9\)"),
        ((4, (8,), [1, 2]), {"shared": False}, r"each of 2 scales, got \(8,\)"),
        ((4, 8, [1, 2]), {"dropout": LevelDropout(3)}, "at most the number of levels, 2, got 3"),
        ((0, 8, [1]), {}, "dim must be at least 1"),
    ],
)
def test_options_that_contradict_are_refused(arguments, options, text):
    with pytest.raises(OptionError, match=text):
        HierarchicalVQ(*arguments, **options)
