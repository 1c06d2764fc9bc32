"""Every family under torch.func: what a loop and autograd give, or a named error.

Derivatives are compared in float64, where sums of a few numbers in another order differ by less
than `ORDER` of them.
"""

import copy
import importlib.util
import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import func
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from certvq.errors import CodeRangeError, NonFiniteError, TransformError
from certvq.models import VQVAE, VQVAEConfig
from certvq.nn import (
    FSQ,
    LFQ,
    EachLevel,
    Gumbel,
    HierarchicalVQ,
    LatentQuantize,
    LevelDropout,
    Residual,
    ResidualFSQ,
    RotationTrick,
    SimVQ,
    VectorQuantize,
)
from certvq.nn._scalar import bit_entropy
from certvq.nn._torch.generators import without_generators

ORDER = 1e-11

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's


def contract():
    """Load the cases of all families; see test_contract.py."""
    path = Path(__file__).with_name("test_contract.py")
    spec = importlib.util.spec_from_file_location("_contract", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hierarchical(*, layout, generator):
    assert layout == "b n d"
    return HierarchicalVQ(4, 6, (1, 4), layout=layout, generator=generator)


def learns(layer):
    return any(hasattr(part, "learn_now") for part in layer.modules())


CONTRACT = contract()
CASES = [pytest.param(make, id=name) for name, make, _ in CONTRACT.ALL]
CASES.append(pytest.param(CONTRACT.Case("hierarchical", hierarchical), id="hierarchical"))
LAYERS = [case.values[0](layout="b n d", generator=torch.Generator()) for case in CASES]
FIRST = [type(layer) not in map(type, LAYERS[:at]) for at, layer in enumerate(LAYERS)]
"""Which cases are one of each class; the others are slow."""


def over(kept):
    """Parametrise over some of the cases."""
    chosen = [
        pytest.param(*case.values, id=case.id, marks=() if first else pytest.mark.slow)
        for case, first, keep in zip(CASES, FIRST, kept, strict=True)
        if keep
    ]
    return pytest.mark.parametrize("make", chosen)


every = over([True] * len(CASES))
each_class = pytest.mark.rows(
    "make", [case.values[0] for case, first in zip(CASES, FIRST, strict=True) if first]
)


def latents_of(seed, *, tokens=4):
    return torch.randn(1, tokens, 4, generator=torch.Generator().manual_seed(seed)).double()


def build(make, *, seed=0, steps=2):
    layer = make(layout="b n d", generator=torch.Generator().manual_seed(seed))
    for step in range(steps):
        layer(latents_of(step, tokens=8).float())
    return layer.eval().double()


def batch():
    return torch.stack([latents_of(seed) for seed in range(20, 23)])


def cost(layer, x):
    found = layer(x)
    return found.quantized.square().sum() + found.loss


def gradients(value, inputs):
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]


def gradient(layer, x):
    x = x.clone().requires_grad_()
    return gradients(cost(layer, x), [x])[0]


def close(left, right):
    return torch.allclose(left, right, rtol=ORDER, atol=ORDER)


@every
@pytest.mark.rows("axis", [0, 2])
def test_vmap_gives_what_a_loop_gives(make, axis):
    layer = build(make)
    samples = batch()
    found = func.vmap(lambda x: tuple(layer(x)), in_dims=axis)(samples.movedim(0, axis))
    looped = [torch.stack(part) for part in zip(*map(layer, samples), strict=True)]
    assert torch.equal(found[1], looped[1])
    assert close(found[0], looped[0])
    assert close(found[2], looped[2])
    assert torch.equal(func.vmap(layer.encode)(samples), found[1])
    assert close(func.vmap(layer.decode)(found[1]), looped[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: VectorQuantize(4, 6, metric="cosine"),
        lambda: FSQ((8, 5, 4, 3)),
        lambda: LFQ(4, spherical=True),
        lambda: LatentQuantize((8, 5, 4, 3)),
    ],
    ids=["cosine", "fsq", "lfq", "latent"],
)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_vmap_gives_the_bits_of_a_loop(make, kind, same_bits):
    torch.manual_seed(0)
    layer, samples = make().eval(), torch.randn(3, 2, 5, 4).to(kind)
    found = func.vmap(func.vmap(lambda x: tuple(layer(x[None]))))(samples)
    for sample, vectors, codes in zip(samples, *found[:2], strict=True):
        expected = layer(sample)
        assert torch.equal(codes[:, 0], expected.codes)
        assert same_bits(vectors[:, 0], expected.quantized)


@every
def test_per_sample_gradients(make):
    layer, samples = build(make), batch()
    slopes = func.vmap(func.grad(lambda x: cost(layer, x)))(samples)
    assert close(slopes, torch.stack([gradient(layer, x) for x in samples]))
    named = dict(layer.named_parameters())
    if not named:
        return
    state = dict(layer.named_buffers())

    def one(parameters, x):
        return cost(lambda x: func.functional_call(layer, (parameters, state), (x,)), x)

    fixed = {name: parameter.detach() for name, parameter in named.items()}
    found = func.vmap(func.grad(one), in_dims=(None, 0))(fixed, samples)
    for place, x in enumerate(samples):
        expected = gradients(cost(layer, x), list(named.values()))
        assert all(close(found[n][place], e) for n, e in zip(named, expected, strict=True))


@every
def test_forward_mode_is_the_adjoint_of_backward(make):
    layer, x = build(make), latents_of(7)
    draws = torch.Generator().manual_seed(1)
    tangent = torch.randn(x.shape, generator=draws).double()

    def both(x):
        found = layer(x)
        return found.quantized, found.loss

    value, moved = func.jvp(both, (x,), (tangent,))
    weight = torch.randn(value[0].shape, generator=draws).double()
    y = x.clone().requires_grad_()
    quantized, _, loss = layer(y)
    (slope,) = gradients((quantized * weight).sum() + loss, [y])
    left, right = (moved[0] * weight).sum() + moved[1], (slope * tangent).sum()
    assert torch.isclose(left.double(), right, rtol=ORDER, atol=ORDER * slope.abs().sum())
    assert slope.any()
    with forward_ad.dual_level():  # the same outside of torch.func
        dual = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent)).quantized)
        assert torch.equal(dual.primal, value[0])
        assert close(dual.tangent, moved[0])
    tangents = torch.stack([tangent, -2 * tangent])
    columns = func.vmap(lambda t: func.jvp(both, (x,), (t,))[1][0])(tangents)
    assert close(columns, torch.stack([moved[0], -2 * moved[0]]))


@each_class
def test_jacobians_and_products_with_the_hessian(make):
    layer, x = build(make), latents_of(7, tokens=4)

    def flat(x):
        return layer(x).quantized.reshape(-1)

    backward = func.jacrev(flat)(x)
    assert close(func.jacfwd(flat)(x), backward)
    assert backward.any()
    slope = func.grad(lambda x: cost(layer, x))
    direction = latents_of(8)
    twice = func.grad(lambda x: (slope(x) * direction).sum())(x)
    assert close(func.jvp(slope, (x,), (direction,))[1], twice)
    y = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(cost(layer, y), y, create_graph=True)
    assert close(twice, gradients((first * direction).sum(), [y])[0])


@over([bool([*layer.parameters(), *layer.buffers()]) for layer in LAYERS])
def test_ensembles_over_stacked_state(make):
    layers = [build(make, seed=seed, steps=2 + seed) for seed in range(3)]
    parameters, buffers = func.stack_module_state(layers)
    parameters = {name: value.detach() for name, value in parameters.items()}
    base, x = copy.deepcopy(layers[0]), latents_of(7)

    def call(p, b):
        return tuple(func.functional_call(base, (p, b), (x,)))

    found = func.vmap(call)(parameters, buffers)
    for place, layer in enumerate(layers):
        expected = layer(x)
        assert torch.equal(found[1][place], expected.codes)
        assert close(found[0][place], expected.quantized)
        assert close(found[2][place], expected.loss)
    if not parameters:
        return

    def one(p, b):
        return call(p, b)[0].square().sum() + call(p, b)[2]

    slopes = func.vmap(func.grad(one))(parameters, buffers)
    for place, layer in enumerate(layers):
        expected = gradients(cost(layer, x), list(layer.parameters()))
        pairs = zip(layer.named_parameters(), expected, strict=True)
        assert all(close(slopes[name][place], slope) for (name, _), slope in pairs)


@each_class
@pytest.mark.rows("bad", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_is_refused(make, bad):
    layer, samples = build(make), batch()
    samples[1, 0, 2, 3] = bad
    for call in (lambda x: tuple(layer(x)), layer.encode):
        with pytest.raises(NonFiniteError, match=r"latents must be finite.* got (nan|inf) at row"):
            func.vmap(call)(samples)


@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap of grad"])
@pytest.mark.parametrize("wrong", ["nan", "code", "large"])
def test_errors_name_numbers_under_every_transformation(wrong, transform):
    layer = LFQ(4)
    x = torch.zeros(1, 3, 4)
    x[0, 1, 2] = {"nan": math.nan, "code": 0.0, "large": 1e30}[wrong]
    codes = torch.tensor([[1, 99, 2]])

    def run(x):
        found = layer(x).quantized.sum()
        return found + layer.decode(codes).sum() if wrong == "code" else found

    calls = {
        "grad": lambda: func.grad(run)(x),
        "jvp": lambda: func.jvp(run, (x,), (x,)),
        "vmap of grad": lambda: func.vmap(func.grad(run))(x[None]),
    }
    text = {
        "nan": "got nan at row 1, column 2",
        "code": r"got 99 at position \(0, 1\)",
        "large": r"got 1e\+30 at row 1, column 2",
    }
    with pytest.raises((NonFiniteError, CodeRangeError), match=text[wrong]):
        calls[transform]()


def test_rows_of_the_error_are_those_of_all_samples():
    samples = torch.zeros(3, 1, 4, 4)
    samples[2, 0, 1, 3] = math.nan
    with pytest.raises(NonFiniteError, match="at row 9, column 3"):
        func.vmap(FSQ((3, 3, 3, 3)).encode)(samples)


@pytest.mark.rows("make", [case.values[0] for case in CASES])
@pytest.mark.rows("transform", ["vmap", "grad", "jvp"])
def test_train_mode_changes_nothing_or_is_refused(make, transform, snapshot, same_bits):
    """A layer may draw from its generator."""
    layer = build(make).train()
    samples = batch()
    before = without_generators(snapshot(layer))
    calls = {
        "vmap": lambda: func.vmap(lambda x: cost(layer, x), randomness="same")(samples),
        "grad": lambda: func.grad(lambda x: cost(layer, x))(samples[0]),
        "jvp": lambda: func.jvp(lambda x: cost(layer, x), (samples[0],), (samples[1],)),
    }
    if learns(layer):
        with pytest.raises(
            TransformError,
            match=r"must change nothing under torch\.func, got .* in train mode, which learns from "
            r"each batch; call \.eval\(\)",
        ):
            calls[transform]()
    else:
        calls[transform]()
    after = tree_leaves(without_generators(layer.state_dict()))
    assert all(same_bits(*pair) for pair in zip(tree_leaves(before), after, strict=True))


@over([not learns(layer) for layer in LAYERS])
def test_train_mode_of_layers_that_learn_nothing(make):
    """With the same random numbers for all samples, each sample is what it is alone."""
    layer = build(make).train()
    samples = batch()
    sources = [part.generator for part in layer.modules() if getattr(part, "generator", None)]
    states = [source.get_state() for source in sources]

    def rewind():
        torch.manual_seed(3)
        for source, state in zip(sources, states, strict=True):
            source.set_state(state)

    rewind()
    found = func.vmap(lambda x: tuple(layer(x)), randomness="same")(samples)
    rewind()
    slopes = func.vmap(func.grad(lambda x: cost(layer, x)), randomness="same")(samples)
    for place, x in enumerate(samples):
        rewind()
        quantized, codes, loss = layer(x)
        assert torch.equal(found[1][place], codes)
        assert close(found[0][place], quantized)
        assert close(found[2][place], loss)
        rewind()
        assert close(slopes[place], gradient(layer, x))


def test_a_part_in_train_mode_is_named():
    layer = build(lambda **options: ResidualFSQ((3, 3, 3, 3), 2, **options))
    layer.parts[1].learner = VectorQuantize(4, 6)
    layer.train()
    with pytest.raises(TransformError, match=r"got VectorQuantize at 'parts\.1\.learner' in train"):
        func.vmap(lambda x: tuple(layer(x)))(batch())


def test_a_part_that_trains_within_a_layer_that_does_not(snapshot, unchanged):
    layer = SimVQ(4, 6).eval()
    layer.part = VectorQuantize(4, 6)
    before = snapshot(layer)
    with pytest.raises(TransformError, match="got VectorQuantize in train mode"):
        func.grad(lambda x: layer.part.quantize_tokens(layer(x).quantized[0]).loss)(
            torch.zeros(1, 3, 4)
        )
    assert unchanged(layer, before)


def test_masks_are_the_same_for_all_samples():
    layer, samples = build(lambda **options: VectorQuantize(4, 6, **options)), batch()
    mask = torch.tensor([[True, False, True, True]])
    found = func.vmap(lambda x: tuple(layer(x, mask)))(samples)
    assert torch.equal(found[1], torch.stack([layer(x, mask).codes for x in samples]))
    slope = func.grad(lambda x: layer(x, mask).quantized.sum())(samples[0])
    assert torch.equal(slope[0, :, 0], mask[0].double())
    with pytest.raises(TransformError, match="mask must be the same for all samples"):
        func.vmap(lambda x, m: tuple(layer(x, m)))(samples, mask.expand(3, 1, 4))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shares_of_levels_in_forward_mode(share):
    """Each level is straight through: exact on small numbers."""
    parts = [VectorQuantize(2, 3), VectorQuantize(2, 3)]
    layer = Residual(parts, estimator=EachLevel(share)).eval()
    for jacobian in (func.jacfwd, func.jacrev):
        slopes = jacobian(lambda x: layer(x[None, None]).quantized[0, 0])(torch.zeros(2))
        assert torch.equal(slopes, (2.0 - share) * torch.eye(2))


def test_straight_through_is_the_identity_in_forward_mode():
    layer = build(lambda **options: VectorQuantize(4, 6, **options))
    tangent = torch.arange(16.0).reshape(1, 4, 4).double()
    _, moved = func.jvp(lambda x: layer(x).quantized, (latents_of(3),), (tangent,))
    assert torch.equal(moved, tangent)


@pytest.mark.parametrize("soft", [False, True])
def test_gumbel_draws_for_one_batch_at_a_time(soft):
    layer = SimVQ(4, 6, estimator=Gumbel(soft=soft)).double()
    x = latents_of(3).requires_grad_()
    torch.manual_seed(0)
    slope = func.grad(lambda x: cost(layer, x))(x.detach())
    torch.manual_seed(0)
    assert close(slope, gradients(cost(layer, x), [x])[0])
    torch.manual_seed(0)
    _, moved = func.jvp(lambda x: cost(layer, x), (x.detach(),), (latents_of(4),))
    assert torch.isclose(moved, (slope * latents_of(4)).sum(), rtol=1e-9)
    with pytest.raises(TransformError, match="Gumbel draws codes for one batch of latents"):
        func.vmap(lambda x: tuple(layer(x)), randomness="same")(batch())


def test_the_number_of_levels_is_the_same_for_all_samples():
    layer = ResidualFSQ((3, 3, 3, 3), 3, dropout=LevelDropout())
    func.vmap(lambda x: tuple(layer(x)), randomness="same")(batch())
    with pytest.raises(TransformError, match='one number for all samples .* use "same"'):
        func.vmap(lambda x: tuple(layer(x)), randomness="different")(batch())


def test_rotations_in_forward_mode():
    layer = SimVQ(4, 6, estimator=RotationTrick()).double()
    x, tangent, weight = (latents_of(seed) for seed in (1, 2, 3))
    _, moved = func.jvp(lambda x: layer(x).quantized, (x,), (tangent,))
    _, back = func.vjp(lambda x: layer(x).quantized, x)
    assert torch.isclose((moved * weight).sum(), (back(weight)[0] * tangent).sum(), rtol=ORDER)
    slopes = func.vmap(func.grad(lambda x: cost(layer, x)))(batch())
    assert close(slopes, torch.stack([gradient(layer, x) for x in batch()]))


def test_cross_entropy_of_a_codebook():
    layer = build(lambda **options: VectorQuantize(4, 6, **options))
    codes = torch.tensor([[0, 3, 1, 5]])
    slopes = func.vmap(func.grad(lambda x: layer.cross_entropy(x, codes)))(batch())
    for x, slope in zip(batch(), slopes, strict=True):
        y = x.clone().requires_grad_()
        assert close(slope, gradients(layer.cross_entropy(y, codes), [y])[0])
    ranked = func.vmap(lambda x: layer.nearest(x, 3))(batch())
    assert torch.equal(ranked, torch.stack([layer.nearest(x, 3) for x in batch()]))


def test_a_large_batch_of_bits_in_train_mode(monkeypatch):
    """Where ordinary backward computes chunks anew, which torch.func does not allow."""
    monkeypatch.setattr(bit_entropy, "_CHUNK", 64)
    layer, x = LFQ(4).double(), latents_of(3, tokens=100)
    assert close(func.grad(lambda x: cost(layer, x))(x), gradient(layer, x))


@each_class
def test_figures_of_derivatives_are_those_of_a_forward(make):
    layer, x = build(make), latents_of(7)
    func.grad(lambda x: cost(layer, x))(x)
    kept = layer.metrics()
    layer(x)
    assert kept == pytest.approx(layer.metrics(), rel=ORDER)


def test_figures_end_with_vmap():
    layer, samples = build(lambda **options: VectorQuantize(4, 6, **options)), batch()
    found = func.vmap(lambda x: (layer(x).loss, layer.latest["commitment_loss"]))(samples)
    assert torch.equal(found[1], torch.stack([layer(x).loss / 0.25 for x in samples]))
    func.vmap(lambda x: layer(x).loss)(samples)
    assert layer.metrics() == {}
    assert copy.deepcopy(layer).latest == {}
    assert pickle.loads(pickle.dumps(layer)).latest == {}  # noqa: S301 (our own bytes)
    func.grad(lambda x: layer(x).loss)(samples[0])
    kept = layer.metrics()
    layer(samples[0])
    assert kept == layer.metrics()


def test_per_sample_gradients_of_a_model():
    model = VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0)).eval().double()
    images = torch.rand(3, 1, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    named, state = dict(model.named_parameters()), dict(model.named_buffers())

    def one(parameters, image):
        return func.functional_call(model, (parameters, state), (image,)).loss

    fixed = {name: parameter.detach() for name, parameter in named.items()}
    found = func.vmap(func.grad(one), in_dims=(None, 0))(fixed, images)
    for place, image in enumerate(images):
        expected = gradients(model(image).loss, list(named.values()))
        pairs = zip(named, expected, strict=True)
        assert all(torch.allclose(found[n][place], e, rtol=1e-8, atol=1e-10) for n, e in pairs)
