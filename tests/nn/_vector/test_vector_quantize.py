"""The layer: certified codes, exact decoding, exact gradients, named errors."""

import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certvq import spec
from certvq.errors import (
    CodeRangeError,
    DTypeError,
    NonFiniteError,
    OptionError,
    ShapeError,
)
from certvq.nn import (
    EMA,
    Gradient,
    KMeans,
    Quantized,
    Revive,
    RotationTrick,
    Uniform,
    VectorQuantize,
)

UPDATES = [EMA(), EMA(decay=0.5), Gradient()]
LAYOUTS = {
    "b n d": (2, 5, 4),
    "b d n": (2, 4, 5),
    "b c h w": (2, 4, 3, 5),
    "b c t h w": (2, 4, 2, 3, 5),
}
dyadics = st.integers(-64, 64).map(lambda n: n / 16)


def exact_codes(tokens, codebook):
    """Lowest nearest codes by exact rational arithmetic."""
    book = spec.Codebook(tuple(tuple(map(Fraction, row)) for row in codebook.double().tolist()))
    return [
        min(spec.nearest_codes(book, tuple(map(Fraction, z)))) for z in tokens.double().tolist()
    ]


def with_codebook(rows, *, dtype=torch.float64, **options):
    layer = VectorQuantize(len(rows[0]), len(rows), start=Uniform(), revive=None, **options)
    layer = layer.to(dtype)
    with torch.no_grad():
        layer.codebook.copy_(torch.tensor(rows, dtype=dtype))
    return layer


@pytest.mark.parametrize("update", UPDATES, ids=repr)
@pytest.mark.parametrize(("layout", "shape"), LAYOUTS.items())
def test_quantized_is_decode_of_codes_to_the_bit_while_training(
    layout, shape, update, seeded, same_bits
):
    """After forward has returned, in train mode and then in eval mode."""
    layer = VectorQuantize(4, 6, layout=layout, update=update, generator=seeded())
    for step in range(5):
        latents = torch.randn(shape, generator=seeded(step)) + step
        quantized, codes, loss = layer(latents)
        assert same_bits(quantized, layer.decode(codes))
        assert torch.equal(layer.encode(latents), codes)
        assert quantized.shape == latents.shape
        assert loss.shape == ()
        assert codes.dtype == torch.int64
        assert codes.numel() * 4 == latents.numel()
    quantized, codes, _ = layer.eval()(latents)
    assert same_bits(quantized, layer.decode(codes))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_codes_are_the_exact_ones(layout, seeded):
    layer = VectorQuantize(4, 9, layout=layout, generator=seeded())
    latents = torch.randn(LAYOUTS[layout], generator=seeded(1))
    codes = layer(latents).codes
    tokens = latents.movedim(layout.split().index("d" if "d" in layout else "c"), -1).reshape(-1, 4)
    assert codes.flatten().tolist() == exact_codes(tokens, layer.codebook)


def test_ties_go_to_the_lowest_code_and_minus_zero_survives(same_bits):
    layer = with_codebook([[1.0, -0.0], [-1.0, 0.0], [1.0, -0.0]]).eval()
    result = layer(torch.tensor([[[0.0, 3.0], [5.0, 0.0]]], dtype=torch.float64))
    assert result.codes.tolist() == [[0, 0]]
    assert same_bits(result.quantized[0, 0], layer.codebook[0])
    assert torch.signbit(result.quantized[0, :, 1]).all()


@pytest.mark.parametrize("training", [True, False])
def test_codes_under_bfloat16_autocast_are_exact_for_the_latents_that_came(training, seeded):
    """The latents keep their type, the codebook its own, and the search sees both exactly."""
    layer = VectorQuantize(8, 64, generator=seeded()).train(training)
    network = torch.nn.Linear(8, 8)
    with torch.no_grad():
        network.weight.copy_(torch.randn(8, 8, generator=seeded(3)))
        network.bias.zero_()
        layer.codebook.copy_(10.0 + torch.randn(64, 8, generator=seeded(1)))
    layer.started.fill_(True)
    layer.statistics.begin(layer.codebook, torch.ones(64), 0.99)
    with torch.autocast("cpu", torch.bfloat16):
        latents = network(torch.randn(1, 50, 8, generator=seeded(2))) + 10.0
        result = layer(latents)
        products = latents.detach()[0] @ layer.codebook.T
        careless = (products - layer.codebook.square().sum(1) / 2).argmax(1)
    assert latents.dtype == torch.bfloat16
    assert result.quantized.dtype == result.loss.dtype == torch.float32
    exact = exact_codes(latents[0], layer.codebook)
    assert result.codes[0].tolist() == exact
    assert careless.tolist() != exact
    result.loss.backward()
    assert network.weight.grad is not None


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[dyadics] * 4), min_size=1, max_size=4),
    latent=st.tuples(*[dyadics] * 4),
    upstream=st.tuples(*[dyadics] * 4),
    beta=st.sampled_from([0.0, 0.25, 1.0, 2.0]),
)
def test_gradients_are_those_of_the_specification(rows, latent, upstream, beta):
    """With ==: dyadic numbers and n = 4 leave float64 nothing to round."""
    layer = with_codebook(rows, update=Gradient(), commitment_weight=beta).eval()
    z = torch.tensor([[latent]], dtype=torch.float64, requires_grad=True)
    quantized, codes, loss = layer(z)
    (loss + (quantized * torch.tensor(upstream, dtype=torch.float64)).sum()).backward()
    book = spec.Codebook(tuple(tuple(map(Fraction, row)) for row in rows))
    expected = spec.training_gradients(
        book,
        tuple(map(Fraction, latent)),
        int(codes),
        tuple(map(Fraction, upstream)),
        Fraction(beta),
    )
    assert tuple(z.grad[0, 0].tolist()) == expected.encoder
    assert tuple(map(tuple, layer.codebook.grad.tolist())) == expected.codebook


def test_gradients_of_a_batch_are_the_mean_over_its_tokens():
    """Two tokens share code 0, code 2 gets exactly zero; all numbers are dyadic."""
    rows = [[0.0, 0.5], [4.0, 4.0], [9.0, 9.0]]
    latents = [[1.0, -0.5], [0.25, 0.0], [4.5, 3.0], [3.0, 4.0]]
    layer = with_codebook(rows, update=Gradient(), commitment_weight=0.5)
    z = torch.tensor([latents], dtype=torch.float64, requires_grad=True)
    _, codes, loss = layer(z)
    loss.backward()
    assert codes.tolist() == [[0, 0, 1, 1]]
    each = [
        spec.training_gradients(
            spec.Codebook(tuple(tuple(map(Fraction, row)) for row in rows)),
            tuple(map(Fraction, latent)),
            code,
            (Fraction(0), Fraction(0)),
            Fraction(1, 2),
        )
        for latent, code in zip(latents, codes[0].tolist(), strict=True)
    ]
    assert z.grad[0].tolist() == [[float(g / 4) for g in one.encoder] for one in each]
    sums = [[float(sum(o.codebook[k][d] for o in each) / 4) for d in range(2)] for k in range(3)]
    assert layer.codebook.grad.tolist() == sums
    assert layer.codebook.grad[2].tolist() == [0.0, 0.0]


def test_losses_are_those_of_the_documented_example():
    """Code 0 of three, z = (1, -0.5): squared distance 1.25, mean 0.625, beta 0.25."""
    rows, z = [[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]], torch.tensor([[[1.0, -0.5]]]).double()
    by_average = with_codebook(rows).eval()
    assert by_average(z).loss == 0.25 * 0.625
    by_gradient = with_codebook(rows, update=Gradient()).eval()
    assert by_gradient(z).loss == 0.625 + 0.25 * 0.625
    for layer in (by_average, by_gradient):
        assert layer.metrics()["codebook_loss"] == layer.metrics()["commitment_loss"] == 0.625


def test_gradcheck_of_the_loss(seeded):
    """Codes are constant in a small neighbourhood, so the loss is a smooth function there."""
    rows = (4.0 * torch.randn(3, 2, generator=seeded())).tolist()
    layer = with_codebook(rows, update=Gradient()).eval()
    z = torch.randn(1, 5, 2, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    fixed = z.detach()
    by_average = with_codebook(rows).eval()
    assert torch.autograd.gradcheck(lambda x: by_average(x).loss, (z,))
    alone = with_codebook(rows, update=Gradient(), commitment_weight=0.0).eval()
    book = layer.codebook.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: torch.func.functional_call(alone, {"codebook": c}, (fixed,)).loss, (book,)
    )


def test_the_codebook_follows_the_tokens_of_the_batch_before():
    """decay 0 and tiny eps: after the next batch each code is the mean of its latest tokens."""
    layer = with_codebook([[0.0], [10.0]], update=EMA(decay=0.0, eps=1e-12))
    first = layer(torch.tensor([[[1.0], [2.0], [8.0]]], dtype=torch.float64))
    assert first.codes.tolist() == [[0, 0, 1]]
    assert layer.codebook.flatten().tolist() == [0.0, 10.0]
    layer(torch.tensor([[[1.0]]], dtype=torch.float64))
    torch.testing.assert_close(layer.codebook.flatten().tolist(), [1.5, 8.0])


@pytest.mark.parametrize("update", UPDATES, ids=repr)
@pytest.mark.rows("steps", [0, 1, 3])
@pytest.mark.rows("bad", [math.nan, math.inf, 1e30])
def test_a_bad_batch_raises_and_leaves_every_state_untouched(
    update, steps, bad, seeded, snapshot, unchanged
):
    layer = VectorQuantize(3, 5, update=update, generator=seeded())
    for step in range(steps):
        layer(torch.randn(2, 7, 3, generator=seeded(step)))
    before = snapshot(layer)
    random_state = layer.generator.get_state()
    latents = torch.randn(2, 7, 3, generator=seeded(9))
    latents[1, 2, 1] = bad
    with pytest.raises(NonFiniteError, match="row 9, column 1"):
        layer(latents)
    assert unchanged(layer, before)
    assert torch.equal(layer.generator.get_state(), random_state)


def test_eval_mode_refuses_nan_and_changes_nothing(seeded, snapshot, unchanged):
    layer = VectorQuantize(3, 5, generator=seeded())
    layer(torch.randn(2, 7, 3))
    layer.eval()
    before = snapshot(layer)
    layer(torch.randn(2, 7, 3))
    assert unchanged(layer, before)
    for method in (layer, layer.encode):
        with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 0"):
            method(torch.full((1, 2, 3), math.nan))


def test_an_empty_batch_has_loss_zero_and_teaches_nothing(snapshot, unchanged):
    layer = VectorQuantize(3, 5)
    before = snapshot(layer)
    result = layer(torch.zeros(2, 0, 3))
    assert result.quantized.shape == (2, 0, 3)
    assert result.codes.shape == (2, 0)
    assert result.loss == 0.0
    assert unchanged(layer, before)


def test_the_generator_decides_everything(seeded, unchanged, snapshot):
    default = torch.get_rng_state()

    def trained(seed):
        layer = VectorQuantize(2, 40, generator=seeded(seed))
        for step in range(4):
            layer(torch.randn(1, 30, 2, generator=seeded(step)))
        return layer

    first = trained(0)
    assert unchanged(trained(0), snapshot(first))
    assert not unchanged(trained(1), snapshot(first))
    assert torch.equal(torch.get_rng_state(), default)


@pytest.mark.parametrize("update", UPDATES, ids=repr)
def test_training_goes_on_from_a_state_dict(update, seeded, tmp_path, same_bits):
    """Saved with torch.save, read with weights_only; the generator's state travels apart."""
    layer = VectorQuantize(3, 6, update=update, generator=seeded())
    for step in range(3):
        layer(torch.randn(1, 40, 3, generator=seeded(step)))
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other = VectorQuantize(3, 6, update=update, generator=seeded(5))
    other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    other.generator.set_state(layer.generator.get_state())
    for step in range(3, 6):
        latents = torch.randn(1, 40, 3, generator=seeded(step))
        ours, theirs = layer(latents), other(latents)
        assert torch.equal(ours.codes, theirs.codes)
        assert same_bits(ours.quantized, theirs.quantized)


def test_a_deep_copy_goes_its_own_way(seeded, snapshot, unchanged):
    layer = VectorQuantize(3, 6, generator=seeded())
    layer(torch.randn(1, 40, 3, requires_grad=True))
    other = copy.deepcopy(layer)
    before = snapshot(layer)
    assert unchanged(other, before)
    other(torch.randn(1, 40, 3))
    assert unchanged(layer, before)
    assert not unchanged(other, before)


def test_a_half_precision_module_keeps_exact_statistics(seeded, same_bits):
    layer = VectorQuantize(3, 6, generator=seeded()).half()
    for step in range(3):
        result = layer(torch.randn(1, 40, 3, generator=seeded(step)).half())
        assert same_bits(result.quantized, layer.decode(result.codes))
    assert layer.codebook.dtype == result.quantized.dtype == torch.float16
    assert layer.statistics.counts.dtype == torch.float32


def test_training_lowers_the_distortion_of_drifting_data(seeded):
    """The codebook follows data that move after the start."""
    layer = VectorQuantize(2, 16, generator=seeded(), update=EMA(decay=0.9))
    losses = []
    for step in range(60):
        layer(torch.randn(1, 256, 2, generator=seeded(step)) + (4.0 if step else 0.0))
        losses.append(layer.metrics()["commitment_loss"])
    assert losses[-1] < 0.2 * losses[1]


def test_metrics_are_those_of_the_latest_forward(seeded):
    layer = VectorQuantize(2, 2, start=Uniform(), generator=seeded()).eval()
    assert layer.metrics() == {}
    layer.codebook.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    layer(torch.tensor([[[0.0, 5.0], [1.0, 0.0], [2.0, 0.0]]]))
    assert layer.metrics() == {
        "codebook_loss": pytest.approx((26.0 + 0.0 + 1.0) / 6),
        "commitment_loss": pytest.approx((26.0 + 0.0 + 1.0) / 6),
        "filter_rows": 2.0,
        "refined_rows": 0.0,
        "exact_rows": 1.0,
        "perplexity": pytest.approx(3.0 / 2.0 ** (2.0 / 3.0)),
        "codebook_usage": 1.0,
        "dead_codes": 0.0,
    }
    assert all(type(value) is float for value in layer.metrics().values())


def test_the_result_unpacks_like_a_tuple(seeded):
    result = VectorQuantize(2, 2, generator=seeded())(torch.randn(1, 3, 2))
    assert isinstance(result, Quantized)
    quantized, codes, loss = result
    assert (quantized is result.quantized, codes is result.codes, loss is result.loss) == (
        True,
    ) * 3


@pytest.mark.parametrize("method", ["forward", "encode"])
def test_wrong_latents_are_named(method):
    layer = VectorQuantize(4, 2, layout="b c h w")
    with pytest.raises(ShapeError, match=r"dim=4 at axis 1, got shape \(1, 5, 2, 2\)"):
        getattr(layer, method)(torch.zeros(1, 5, 2, 2))
    with pytest.raises(DTypeError, match="got int32"):
        getattr(layer, method)(torch.zeros(1, 4, 2, 2, dtype=torch.int32))


def test_wrong_codes_are_named():
    layer = VectorQuantize(4, 3, layout="b c h w")
    assert layer.decode(torch.zeros(2, 5, 6, dtype=torch.uint8)).shape == (2, 4, 5, 6)
    with pytest.raises(CodeRangeError, match=r"range\(3\), got 3 at position \(0, 1, 0\)"):
        layer.decode(torch.tensor([[[0], [3]]]))
    with pytest.raises(DTypeError, match="must be integers, got float32"):
        layer.decode(torch.zeros(1, 1, 1))
    with pytest.raises(ShapeError, match=r"must have 3 axes, got shape \(2, 2\)"):
        layer.decode(torch.zeros(2, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((0, 5), {}, "dim must be at least 1, got 0"),
        ((5, 0), {}, "codebook_size must be at least 1, got 0"),
        ((5, 5), {"commitment_weight": -1.0}, "commitment_weight .* at least 0, got -1.0"),
        ((5, 5), {"commitment_weight": math.nan}, "commitment_weight .* at least 0, got nan"),
        ((5, 5), {"layout": "b d"}, "layout must be one of .* got 'b d'"),
    ],
)
def test_wrong_options_are_refused(sizes, options, message):
    with pytest.raises(OptionError, match=message):
        VectorQuantize(*sizes, **options)


def test_repr_shows_the_options():
    layer = VectorQuantize(4, 2, start=KMeans(iterations=3), revive=Revive(threshold=0.5))
    for part in ("dim=4", "codebook_size=2", "EMA(decay=0.8", "KMeans(iterations=3)", "0.5"):
        assert part in repr(layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"update": EMA}, "update must be an object of EMA, Gradient, Online, None, got <class"),
        ({"update": "ema"}, "got 'ema' for VectorQuantize; write it with brackets"),
        ({"start": None}, "start must be an object of KMeans, Uniform, Given, got None"),
        ({"revive": True}, "revive must be an object of Revive, None, got True"),
        ({"estimator": RotationTrick}, "estimator must be an object of Estimator"),
    ],
)
def test_strategies_are_objects(options, message):
    """A class in the place of an object would leave the codebook as it is, without a word."""
    with pytest.raises(OptionError, match=message):
        VectorQuantize(2, 4, **options)


def test_few_classes_stand_above_it():
    """A codebook is a part of a quantizer, and not what it is made from."""

    def levels(cls):
        if cls is nn.Module:
            return 0
        return 1 + max(levels(base) for base in cls.__bases__ if issubclass(base, nn.Module))

    assert levels(VectorQuantize) - 1 <= 3
    assert not isinstance(VectorQuantize(2, 4).book, nn.Module)
