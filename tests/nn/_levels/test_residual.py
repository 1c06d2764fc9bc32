"""Levels one after the other: certified at each level, decoded to the bit, learned as a whole."""

import copy
from fractions import Fraction

import pytest
import torch

from certvq import assign
from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import (
    EMA,
    PADDING,
    EachLevel,
    Gradient,
    Gumbel,
    LevelDropout,
    ProductQuantize,
    Reparam,
    Residual,
    Uniform,
    VectorQuantize,
)
from certvq.nn._torch.generators import without_generators


def parts_of(seeded, sizes=(6, 5, 7), dim=4, **options):
    return [VectorQuantize(dim, size, generator=seeded(), **options) for size in sizes]


def with_books(books):
    """A layer in eval mode with given codebooks, float64."""
    dim = len(books[0][0])
    layer = Residual([VectorQuantize(dim, len(book), start=Uniform()) for book in books])
    layer = layer.double().eval()
    for part, book in zip(layer.quantizers, books, strict=True):
        part.codebook.copy_(torch.tensor(book, dtype=torch.float64))
    return layer


def fractions(tensor):
    return [tuple(map(Fraction, row)) for row in tensor.double().tolist()]


@pytest.mark.parametrize("update", [EMA(), Gradient()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_level_is_nearest_to_its_residual_as_computed(update, dtype, seeded):
    layer = Residual(parts_of(seeded, update=update)).to(dtype)
    for step in range(3):
        latents = torch.randn(1, 40, 4, generator=seeded(step)).to(dtype)
        codes = layer(latents).codes[0]
        residual = latents[0]
        for level, part in enumerate(layer.quantizers):
            book = fractions(part.codebook)
            for row, code in zip(fractions(residual), codes[:, level].tolist(), strict=True):
                far = [
                    sum((z - c) ** 2 for z, c in zip(row, vector, strict=True)) for vector in book
                ]
                assert code == far.index(min(far))
            residual = residual - part.codebook[codes[:, level]]


def test_residual_telescopes_on_exact_numbers(seeded):
    """With numbers that round nowhere the latent is the sum plus the last residual."""
    grid = torch.randint(-64, 65, (3, 5, 2), generator=seeded()).double() / 16
    layer = with_books(grid.tolist())
    latents = torch.randint(-640, 641, (1, 50, 2), generator=seeded(1)).double() / 64
    quantized, codes, _ = layer(latents)
    residual = [list(row) for row in fractions(latents[0])]
    for level in range(3):
        book = fractions(grid[level])
        for row, code in zip(residual, codes[0, :, level].tolist(), strict=True):
            far = [sum((z - c) ** 2 for z, c in zip(row, vector, strict=True)) for vector in book]
            assert code == far.index(min(far))
            row[:] = [z - c for z, c in zip(row, book[code], strict=True)]
    whole = fractions(latents[0] - quantized[0])
    assert [tuple(row) for row in residual] == whole


@pytest.mark.parametrize("estimator", [None, EachLevel(), EachLevel(1.0)], ids=repr)
@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("dropout", [None, LevelDropout()], ids=repr)
def test_quantized_is_decode_of_codes_to_the_bit(estimator, levels, dropout, seeded, same_bits):
    parts = parts_of(seeded, sizes=(6,) if levels else (6, 5, 7))
    options = {} if estimator is None else {"estimator": estimator}
    layer = Residual(parts, num_quantizers=levels, dropout=dropout, generator=seeded(3), **options)
    depths = set()
    for step in range(12):
        latents = torch.randn(2, 30, 4, generator=seeded(step))
        quantized, codes, loss = layer(latents)
        depth = int(layer.metrics()["depth"])
        depths.add(depth)
        assert codes.shape == (2, 30, 3)
        assert (codes[..., depth:] == PADDING).all()
        assert (codes[..., :depth] >= 0).all()
        assert torch.equal(layer.encode(latents)[..., :depth], codes[..., :depth])
        assert same_bits(quantized, layer.decode(codes))
        assert same_bits(quantized, layer.decode(codes[..., :depth]))
        assert loss.shape == ()
    assert depths == ({1, 2, 3} if dropout else {3})
    quantized, codes, _ = layer.eval()(latents)
    assert (codes >= 0).all()
    assert same_bits(quantized, layer.decode(codes))


def test_minus_zero_survives_levels_that_are_not_coded(same_bits):
    layer = with_books([[[-0.0, 1.0]], [[0.5, 0.5]]])
    vectors = layer.decode(torch.tensor([[[0, PADDING], [0, 0]]]))
    assert same_bits(vectors, torch.tensor([[[-0.0, 1.0], [0.5, 1.5]]], dtype=torch.float64))


def test_codes_that_have_no_vector_are_named(seeded):
    layer = Residual(parts_of(seeded))
    with pytest.raises(CodeRangeError, match=r"range\(5\), got 6 at position \(0, 0, 1\)"):
        layer.decode(torch.tensor([[[0, 6, 0]]]))
    with pytest.raises(CodeRangeError, match=r"got -1 at position \(0, 0, 1\)"):
        layer.decode(torch.tensor([[[0, PADDING, 0]]]))
    with pytest.raises(CodeRangeError, match=r"got -1 at position \(0, 0, 0\).*with the mask"):
        layer.decode(torch.tensor([[[PADDING, PADDING, PADDING]]]))
    with pytest.raises(CodeRangeError, match="got -2 at position"):
        layer.decode(torch.tensor([[[0, -2]]]))
    with pytest.raises(ShapeError, match=r"the last of sizes \(3,\), got shape \(1, 1, 4\)"):
        layer.decode(torch.zeros(1, 1, 4, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"got shape \(1, 1, 0\)"):
        layer.decode(torch.zeros(1, 1, 0, dtype=torch.int64))


def test_fewer_levels_are_the_first_partial_sums(seeded, same_bits):
    layer = Residual(parts_of(seeded)).eval()
    codes = layer.encode(torch.randn(2, 5, 4, generator=seeded()))
    first, second, _ = (part.codebook for part in layer.quantizers)
    assert same_bits(layer.decode(codes[..., :1].to(torch.uint8)), first[codes[..., 0]])
    assert same_bits(layer.decode(codes[..., :2]), first[codes[..., 0]] + second[codes[..., 1]])


def gradient_of(layer, latents, seeded):
    leaf = latents.clone().requires_grad_()
    weight = torch.randn(latents.shape, generator=seeded(9))
    (layer(leaf).quantized * weight).sum().backward()
    return leaf.grad / weight


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 1.0),
        ({"estimator": EachLevel()}, 3.0),
        ({"estimator": EachLevel(1.0)}, 1.0),
        ({"estimator": EachLevel(0.5)}, 1.0 + 0.5 + 0.25),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_how_often_the_gradient_reaches_the_latents(options, times, training, seeded):
    layer = Residual(parts_of(seeded), **options).train(training)
    latents = torch.randn(1, 9, 4, generator=seeded())
    expected = times if isinstance(layer.estimator, EachLevel) else 1.0
    torch.testing.assert_close(
        gradient_of(layer, latents, seeded), torch.full_like(latents, expected)
    )


def test_every_level_pulls_the_latents(seeded):
    """The loss is the sum of the levels' losses, each with its own gradient."""
    layer = Residual(parts_of(seeded)).eval()
    latents = torch.randn(1, 9, 4, generator=seeded(), requires_grad=True)
    quantized, codes, loss = layer(latents)
    loss.backward()
    residual, expected, total = latents.detach(), 0.0, torch.zeros(1, 9, 4)
    for level, part in enumerate(layer.quantizers):
        residual = residual - part.codebook[codes[..., level]]
        expected = expected + 0.25 * residual.square().mean()
        total = total + 0.25 * 2 * residual / residual.numel()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(latents.grad, total)
    assert layer.metrics()["commitment_loss"] == pytest.approx(float(residual.square().mean()))
    del quantized


def test_a_shared_codebook_learns_from_all_levels_at_once(seeded):
    """The average after a forward is that of one batch with the residuals of all levels."""
    update = EMA(decay=0.5)
    shared = VectorQuantize(4, 6, update=update, revive=None, start=Uniform(), generator=seeded())
    lone = copy.deepcopy(shared)
    layer = Residual([shared], num_quantizers=3)
    for step in range(4):
        latents = torch.randn(1, 40, 4, generator=seeded(step))
        codes = layer(latents).codes[0]
        lone.learn_tokens(latents[0])
        residual = latents[0]
        for level in range(3):
            assert torch.equal(assign(residual, lone.codebook).codes, codes[:, level])
            lone.statistics.observe(residual, codes[:, level])
            residual = residual - lone.codebook[codes[:, level]]
        assert torch.equal(shared.codebook, lone.codebook)
        assert int(lone.statistics.pending_counts.sum()) == 3 * 40
        assert torch.equal(shared.statistics.pending_counts, lone.statistics.pending_counts)
        assert torch.equal(shared.statistics.pending_sums, lone.statistics.pending_sums)
    own = without_generators(lone.state_dict())
    assert without_generators(layer.state_dict()).keys() == {f"parts.0.{name}" for name in own}


def test_a_shared_codebook_revives_codes_from_residuals_of_all_levels(seeded, monkeypatch):
    """What new code vectors are picked from is what each level is given."""
    pools = []
    learn = VectorQuantize.learn_tokens

    def spy(self, tokens, *, candidates=None):
        pools.append(candidates())
        learn(self, tokens, candidates=candidates)

    monkeypatch.setattr(VectorQuantize, "learn_tokens", spy)
    part = VectorQuantize(2, 16, generator=seeded())
    layer = Residual([part], num_quantizers=3)
    for step in range(3):
        latents = torch.randn(1, 50, 2, generator=seeded(step))
        before = part.codebook.clone()
        layer(latents)
        residual, expected = latents[0], [latents[0]]
        for _ in range(2):
            residual = residual - before[assign(residual, before).codes]
            expected.append(residual)
        assert torch.equal(pools[step], torch.cat(expected))


def test_revived_codes_come_from_the_candidates(seeded):
    """All codes but one are dead; their new vectors are among the candidates."""
    part = VectorQuantize(1, 4, update=EMA(decay=0.0), start=Uniform(), generator=seeded())
    part(torch.zeros(1, 9, 1))
    pool = torch.arange(100.0, 104.0)[:, None]
    part.learn_tokens(torch.zeros(9, 1), candidates=lambda: pool)
    part.learn_tokens(torch.zeros(9, 1), candidates=lambda: pool)
    assert (part.codebook >= 99.0).sum() == 3


def test_nothing_is_learned_if_a_later_level_fails(seeded, snapshot, unchanged):
    layer = Residual(parts_of(seeded))
    layer(torch.randn(1, 40, 4, generator=seeded()))
    layer.quantizers[2].codebook[1, 3] = float("nan")
    before = snapshot(layer)
    with pytest.raises(NonFiniteError, match="codebook must be finite.*row 1, column 3"):
        layer(torch.randn(1, 40, 4, generator=seeded(1)))
    assert unchanged(layer, before)


@pytest.mark.parametrize(
    ("dtype", "latent", "vector", "text"),
    [
        (torch.float32, 4e18, -4e18, r"level 1 of 2: latents in training.*8e\+18 at row 0"),
        (torch.float16, 1.6e4, -6e4, "level 1 of 2: latents must be finite.*row 0, column 0"),
    ],
)
def test_a_residual_that_is_too_large_undoes_the_levels_before_it(
    dtype, latent, vector, text, snapshot, unchanged
):
    """The latents and codebooks are fine; their difference is too large to learn from."""
    parts = [VectorQuantize(1, 1, start=Uniform(), revive=None) for _ in range(2)]
    layer = Residual(parts).to(dtype)
    for part in parts:
        part.started.fill_(True)
        part.statistics.begin(part.codebook, torch.ones(1), 0.5)
    parts[0].codebook.fill_(vector)
    before = snapshot(layer)
    with pytest.raises(NonFiniteError, match=text):
        layer(torch.full((1, 4, 1), latent, dtype=dtype))
    assert unchanged(layer, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_change_nothing(bad, seeded, snapshot, unchanged):
    layer = Residual(parts_of(seeded))
    layer(torch.randn(1, 40, 4, generator=seeded()))
    latents = torch.randn(1, 40, 4, generator=seeded(1))
    latents[0, 7, 2] = bad
    before = snapshot(layer)
    with pytest.raises(NonFiniteError, match="row 7, column 2"):
        layer(latents)
    assert unchanged(layer, before)


def test_parts_may_have_several_codes_each(seeded, same_bits):
    """Two levels of products: codes (b, n, level, slice), dropped slices together."""
    parts = [
        ProductQuantize([VectorQuantize(2, size, generator=seeded()) for size in sizes])
        for sizes in ((3, 4), (5, 5))
    ]
    layer = Residual(parts, dropout=LevelDropout(), generator=seeded())
    assert layer.codebook_size == ((3, 4), (5, 5))
    for step in range(4):
        quantized, codes, _ = layer(torch.randn(2, 30, 4, generator=seeded(step)))
        assert codes.shape == (2, 30, 2, 2)
        assert same_bits(quantized, layer.decode(codes))
    assert same_bits(layer.decode(codes[..., :1, :]), parts[0].decode(codes[..., 0, :]))
    with pytest.raises(CodeRangeError, match=r"got -1 at position \(0, 0, 1, 0\)"):
        layer.decode(torch.tensor([[[[0, 0], [PADDING, 1]]]]))


def test_an_empty_batch_is_fine(seeded):
    layer = Residual(parts_of(seeded))
    result = layer(torch.zeros(2, 0, 4))
    assert result.codes.shape == (2, 0, 3)
    assert float(result.loss) == 0.0
    assert layer.decode(result.codes).shape == (2, 0, 4)


def test_parts_that_do_not_fit_are_refused(seeded):
    first, second, third = parts_of(seeded)
    with pytest.raises(OptionError, match="at least one part, got none"):
        Residual([])
    with pytest.raises(OptionError, match=r"got 2 parts and num_quantizers=3"):
        Residual([first, second], num_quantizers=3)
    with pytest.raises(OptionError, match=r"4 and \(\); part 1 has 3 and \(\)"):
        Residual([first, VectorQuantize(3, 5)])
    with pytest.raises(OptionError, match=r"part 2 is part 0; share a codebook"):
        Residual([first, second, first])
    with pytest.raises(
        OptionError, match="min_levels must be at most the number of levels, 3, got 4"
    ):
        Residual([first, second, third], dropout=LevelDropout(min_levels=4))
    with pytest.raises(OptionError, match="Gumbel chooses codes"):
        Residual([first], estimator=Gumbel())


def test_code_vectors_learn_from_what_follows_with_reparam(seeded):
    """The value has the distance of the sum from the latents; its gradient reaches all levels."""
    layer = Residual(parts_of(seeded, update=Gradient()), estimator=Reparam(0.0))
    latents = torch.randn(1, 30, 4, generator=seeded())
    quantized, codes, _ = layer(latents)
    torch.testing.assert_close(quantized, layer.decode(codes))
    quantized.square().sum().backward()
    assert all(part.codebook.grad.any() for part in layer.quantizers)
