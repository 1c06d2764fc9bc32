"""FSQ: nearest to the bounded latent over the real numbers; exact integers up to 2^63."""

import copy
import io
import math
import pickle
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq import assign, spec
from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import FSQ, NoiseDropout

LEVELS = [(8, 5, 5), (3, 4, 7), (6,), (5, 16, 3)]
SYMMETRIC = [(2, 3, 4), (8, 5, 5), (2, 2, 2, 2), (7,)]


def clamp(number):
    return max(Fraction(-1), min(Fraction(1), number))


def tanh(number):
    """Hyperbolic tangent to 40 digits, as a fraction; next to 0 it is the number itself."""
    if abs(number) < Fraction(1, 10**20):
        return number
    with localcontext() as context:
        context.prec = 80
        square = (2 * (Decimal(number.numerator) / Decimal(number.denominator))).exp()
        return Fraction((square - 1) / (square + 1))


def atanh(number):
    with localcontext() as context:
        context.prec = 80
        ratio = (1 + number) / (1 - number)
        return Fraction((Decimal(ratio.numerator) / Decimal(ratio.denominator)).ln() / 2)


def bounded(latent, levels, *, preserve_symmetry, hard_clamp):
    """The definition of the paper, on exact numbers (with the clamp) or to 60 digits (tanh)."""
    g, inverse = (clamp, lambda number: number) if hard_clamp else (tanh, atanh)
    if preserve_symmetry:
        return g(latent)
    reach = Fraction(levels - 1, 2) * Fraction(1001, 1000)
    offset = Fraction(1, 2) if levels % 2 == 0 else Fraction(0)
    return (g(latent + inverse(offset / reach)) * reach - offset) / (levels // 2)


def grid_of(levels, *, preserve_symmetry):
    if preserve_symmetry:
        return [Fraction(2 * i - levels + 1, levels - 1) for i in range(levels)]
    return [Fraction(i - levels // 2, levels // 2) for i in range(levels)]


def lowest_nearest(value, points):
    """Index of the nearest point, the lowest among ties."""
    return min(range(len(points)), key=lambda i: (abs(value - points[i]), i))


def exact_codes(tokens, layer):
    codes = []
    options = {"preserve_symmetry": layer.preserve_symmetry}
    for row in tokens.double().tolist():
        code, place = 0, 1
        for latent, levels in zip(row, layer.levels, strict=True):
            value = bounded(Fraction(latent), levels, hard_clamp=layer.hard_clamp, **options)
            code += place * lowest_nearest(value, grid_of(levels, **options))
            place *= levels
        codes.append(code)
    return codes


def near_limits(layer, dtype):
    """Latents at every threshold, one float above and one below."""
    limits = layer.constant("limits64").T.to(dtype)
    limits = torch.where(limits.isfinite(), limits, torch.zeros_like(limits))
    up = torch.nextafter(limits, torch.full_like(limits, math.inf))
    down = torch.nextafter(limits, torch.full_like(limits, -math.inf))
    return torch.cat([limits, up, down])


@pytest.mark.rows("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.rows("hard_clamp", [False, True])
@pytest.mark.parametrize(
    ("levels", "preserve_symmetry"),
    [(levels, False) for levels in LEVELS] + [(levels, True) for levels in SYMMETRIC],
)
def test_codes_are_those_of_the_definition(levels, preserve_symmetry, hard_clamp, dtype, seeded):
    """Also one float beside every threshold, where rounding tanh would often decide wrongly."""
    layer = FSQ(levels, preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
    random = torch.randn(60, len(levels), generator=seeded(), dtype=torch.float64).to(dtype)
    special = torch.tensor([[0.0], [-0.0], [1.0], [-1.0], [50.0], [-1e4], [1e-7]])
    tokens = torch.cat(
        [random, near_limits(layer, dtype), special.expand(-1, len(levels)).to(dtype)]
    )
    codes = layer.encode(tokens[None])[0]
    assert codes.tolist() == exact_codes(tokens, layer)


@pytest.mark.parametrize(
    ("levels", "preserve_symmetry"), [((8, 5, 5), False), ((2, 3, 4), True), ((5, 16, 3), False)]
)
def test_codes_are_those_of_assign_on_the_explicit_grid(levels, preserve_symmetry, seeded):
    """The grid is multiplied by its denominator, so that its points are integers."""
    layer = FSQ(levels, preserve_symmetry=preserve_symmetry)
    tokens = torch.randn(500, len(levels), generator=seeded())
    points = layer.level_indices(torch.arange(layer.codebook_size))
    width = [levels[d] - 1 if preserve_symmetry else levels[d] // 2 for d in range(len(levels))]
    origin = [levels[d] - 1 if preserve_symmetry else levels[d] // 2 for d in range(len(levels))]
    step = 2 if preserve_symmetry else 1
    numbers = (step * points - torch.tensor(origin)).double()
    values = torch.tensor(
        [
            [
                float(
                    bounded(Fraction(z), k, preserve_symmetry=preserve_symmetry, hard_clamp=False)
                    * w
                )
                for z, k, w in zip(row, levels, width, strict=True)
            ]
            for row in tokens.tolist()
        ],
        dtype=torch.float64,
    )
    assert torch.equal(layer.encode(tokens[None])[0], assign(values, numbers).codes)


@given(rows=st.lists(st.tuples(*[st.integers(-64, 64).map(lambda n: n / 32)] * 3), min_size=1))
@settings(max_examples=60, deadline=None)
def test_ties_of_the_clamp_go_to_the_lowest_code_of_the_specification(rows):
    layer = FSQ((2, 5, 4), preserve_symmetry=True, hard_clamp=True)
    points = [grid_of(k, preserve_symmetry=True) for k in layer.levels]
    vectors = tuple(
        tuple(points[d][i] for d, i in enumerate(row))
        for row in layer.level_indices(torch.arange(layer.codebook_size)).tolist()
    )
    book = spec.Codebook(vectors)
    codes = layer.encode(torch.tensor([rows], dtype=torch.float64))[0].tolist()
    for row, code in zip(rows, codes, strict=True):
        latent = tuple(clamp(Fraction(z)) for z in row)
        assert code == min(spec.nearest_codes(book, latent))
        assert spec.is_nearest_code(book, latent, code)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_between_two_levels_gets_the_lower_one(zero):
    layer = FSQ((2, 4), preserve_symmetry=True)
    assert layer.encode(torch.full((1, 1, 2), zero)).tolist() == [[0 + 2 * 1]]


def test_vectors_are_the_floats_nearest_to_the_levels():
    for options, levels in [({}, (8, 5, 7, 100)), ({"preserve_symmetry": True}, (2, 4, 7, 100))]:
        for dtype in (torch.float32, torch.float64):
            layer = FSQ(levels, **options).to(dtype)
            for d, count in enumerate(levels):
                digits = torch.zeros(count, 4, dtype=torch.int64)
                digits[:, d] = torch.arange(count)
                place = math.prod(levels[:d])
                got = layer.decode((digits[:, d] * place)[None])[0, :, d]
                exact = grid_of(count, preserve_symmetry="preserve_symmetry" in options)
                expected = torch.tensor([float(level) for level in exact], dtype=torch.float64)
                assert torch.equal(got, expected.to(dtype))


@pytest.mark.parametrize(
    ("levels", "options"),
    [
        ((8,) * 21, {}),
        ((2,) * 63, {"preserve_symmetry": True}),
        ((4096,) * 5 + (8,), {"preserve_symmetry": True}),
        ((7,) * 22, {}),
    ],
)
def test_codes_up_to_two_to_the_sixty_three_are_exact(levels, options, seeded):
    layer = FSQ(levels, **options)
    size = math.prod(levels)
    assert layer.codebook_size == size > 2**61
    top = torch.tensor([0, 1, size - 1, size - 2, size // 2])
    codes = torch.randint(0, size - 1, (500,), generator=seeded())
    codes = torch.cat([top, codes])[None]
    digits = layer.level_indices(codes)
    for code, row in zip(codes[0].tolist(), digits[0].tolist(), strict=True):
        assert code == sum(digit * math.prod(levels[:d]) for d, digit in enumerate(row))
    # Vectors lie in [-1, 1]; spread out over the clamp's range they get their codes back.
    spread = FSQ(levels, hard_clamp=True, **options)
    wide = spread.double().decode(codes)
    if options:
        assert torch.equal(spread.encode(wide), codes)
    with pytest.raises(CodeRangeError, match=f"got {2**63 - 1 if size < 2**63 else -1}"):
        layer.decode(torch.tensor([[2**63 - 1 if size < 2**63 else -1]]))


def test_many_codes_from_latents_and_back(seeded):
    """Index -> vector -> index with tanh: its inverse lies well inside each cell."""
    for levels, symmetric in [((8,) * 21, False), ((2,) * 63, True), ((5, 8) * 11, False)]:
        layer = FSQ(levels, preserve_symmetry=symmetric).double()
        codes = torch.randint(0, layer.codebook_size - 1, (1, 300), generator=seeded())
        vectors = layer.decode(codes)
        assert torch.equal(layer.encode(inverse(layer, vectors)), codes)


def inverse(layer, vectors):
    if layer.preserve_symmetry:
        return torch.atanh(vectors.clamp(-0.999, 0.999))
    bound = layer.bound(torch.device("cpu"))
    return torch.atanh((vectors + bound.bias.double()) / bound.gain.double()) - bound.shift.double()


@pytest.mark.parametrize("options", [{}, {"preserve_symmetry": True}, {"hard_clamp": True}])
@pytest.mark.parametrize("count", [1, 7, 5000])
def test_every_way_to_count_gives_the_same(options, count, seeded):
    """Small batches, many comparisons and bisection are three pieces of code."""
    tokens = torch.randn(1, count, 3, generator=seeded())
    few, many = FSQ((8, 5, 30), **options), FSQ((8, 5, 200), **options)
    whole, tall = few.encode(tokens), many.encode(tokens)
    for start in range(0, count, 997):
        part = tokens[:, start : start + 5]
        assert torch.equal(few.encode(part), whole[:, start : start + 5])
        assert torch.equal(many.encode(part), tall[:, start : start + 5])
    assert torch.equal(whole % 40, tall % 40)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hard_clamp", [False, True])
@pytest.mark.parametrize("preserve_symmetry", [False, True])
def test_the_gradient_is_that_of_the_bounded_latent(preserve_symmetry, hard_clamp, dtype, seeded):
    layer = FSQ((8, 5, 4), preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
    latents = torch.randn(1, 40, 3, generator=seeded()).to(dtype).requires_grad_()
    weights = torch.randn(1, 40, 3, generator=seeded(1))
    (layer(latents).quantized * weights).sum().backward()
    exact = latents.detach().clone().requires_grad_()
    wide = exact.to(torch.promote_types(dtype, torch.float32))
    (layer.bound(torch.device("cpu"))(wide) * weights).sum().backward()
    assert latents.grad.dtype == dtype
    torch.testing.assert_close(latents.grad, exact.grad)


def test_the_gradient_has_a_gradient(seeded):
    layer = FSQ((8, 5, 4)).double()
    latents = torch.randn(1, 4, 3, generator=seeded(), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(latents).quantized.sum(), latents, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), latents)
    twin = latents.detach().requires_grad_()
    (slope,) = torch.autograd.grad(layer.bound(twin.device)(twin).sum(), twin, create_graph=True)
    (expected,) = torch.autograd.grad(slope.sum(), twin)
    torch.testing.assert_close(curve, expected)


def test_bounded_latents_are_those_of_the_definition(seeded):
    for options in ({}, {"preserve_symmetry": True}, {"hard_clamp": True}):
        layer = FSQ((8, 5, 4), **options)
        flags = {"preserve_symmetry": False, "hard_clamp": False, **options}
        tokens = torch.randn(30, 3, generator=seeded())
        got = layer.bound(torch.device("cpu"))(tokens)
        for row, values in zip(tokens.tolist(), got.tolist(), strict=True):
            for latent, count, value in zip(row, layer.levels, values, strict=True):
                assert abs(value - bounded(Fraction(latent), count, **flags)) < 8 * 2**-24


def test_codes_come_from_before_the_noise(seeded, same_bits):
    layer = FSQ(
        (4, 4), preserve_symmetry=True, noise=NoiseDropout(probability=0.5), generator=seeded()
    )
    plain = FSQ((4, 4), preserve_symmetry=True)
    latents = torch.randn(1, 4000, 2, generator=seeded(1))
    noisy, codes, _ = layer(latents)
    expected = plain(latents)
    assert torch.equal(codes, expected.codes)
    moved = noisy != expected.quantized
    assert 0.3 < moved.float().mean() < 0.5
    assert ((noisy - expected.quantized).abs() <= 0.5).all()
    assert noisy.abs().max() <= 1
    assert same_bits(layer.eval()(latents).quantized, layer.decode(codes))


def test_all_of_the_memory_is_that_of_the_latents():
    """No codebook: a layer with 2^63 codes pickles to a few kilobytes."""
    layer = FSQ((8,) * 21)
    assert layer.state_dict() == {}
    assert len(pickle.dumps(layer)) < 20_000


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_conversion_of_the_layer_changes_no_code(dtype, seeded):
    layer = FSQ((8, 5, 4))
    latents = torch.randn(1, 200, 3, generator=seeded())
    codes = layer.encode(latents)
    assert torch.equal(copy.deepcopy(layer).to(dtype).encode(latents), codes)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.encode(latents), codes)


def test_a_saved_layer_is_the_same(seeded):
    layer = FSQ((8, 5, 4))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = FSQ((8, 5, 4))
    other.load_state_dict(torch.load(file, weights_only=True))
    latents = torch.randn(1, 50, 3, generator=seeded())
    assert torch.equal(other(latents).quantized, layer(latents).quantized)


@pytest.mark.parametrize(
    ("levels", "options", "text"),
    [
        ((), {}, "at least one feature, got an empty list"),
        ((3, 1), {}, "at least 2 each, got 1 at place 1"),
        ((3, 2), {}, "levels of 2 need preserve_symmetry=True, got 2 at place 1"),
        (
            (8,) * 21 + (3,),
            {},
            "at most 2\\^63 codes, .* got 27670116110564327424 from 22 features",
        ),
        ((5, 4097), {}, "at most 4096 each, got 4097 at place 1"),
        ((5, 5), {"noise": NoiseDropout()}, "noise needs preserve_symmetry=True"),
        ((5, 5), {"layout": "d"}, "layout must be one of"),
    ],
)
def test_wrong_options_are_named(levels, options, text):
    with pytest.raises(OptionError, match=text):
        FSQ(levels, **options)


def test_wrong_input_is_named():
    layer = FSQ((8, 5, 4))
    with pytest.raises(ShapeError, match=r"dim=3 .*got shape \(1, 2, 4\)"):
        layer(torch.zeros(1, 2, 4))
    latents = torch.zeros(1, 3, 3)
    latents[0, 2, 1] = math.nan
    for mode in (True, False):
        with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 2, col"):
            layer.train(mode)(latents)
    with pytest.raises(CodeRangeError, match=r"range\(160\), got 160"):
        layer.level_indices(torch.tensor([160]))


def test_a_sum_that_overflows_is_no_error():
    codes = FSQ((3, 3)).encode(torch.full((1, 4, 2), 3e38))
    assert codes.tolist() == [[8, 8, 8, 8]]
