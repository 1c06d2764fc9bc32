"""Every class under torch.func: what a loop and autograd give, or a named error.

In train mode, too, wherever a forward pass changes nothing of the layer. Derivatives are compared
in float64, where sums of a few numbers in another order differ by less than `ORDER` of them.
"""

import copy
import functools
import math

import pytest
import torch
from torch import func, nn
from torch.autograd import forward_ad

from certvq.compat import vector_quantize_pytorch as vq
from certvq.errors import CodeRangeError, NonFiniteError, ShapeError, TransformError

from ._classes import LEARNS, OPTIONS, SEPARATE, SGD, SIX, build

ORDER = 1e-10

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's

FURTHER = [
    ("EvoLFQ", {"dim": 6}),
    ("Sequential", {}),
    ("BinaryMapper", {"bits": 6, "kl_loss_threshold": 0.0}),
    ("LFQ", {"dim": 6, "frac_per_sample_entropy": 0.5}),
    ("LatentQuantize", {"levels": [5, 4, 3], "dim": 6, "in_place_codebook_optimizer": SGD}),
    ("ResidualFSQ", {"levels": [5, 3], "dim": 6, "num_quantizers": 2, "quantize_dropout": True}),
    ("FSQ", {"levels": [5] * 6, "noise_dropout": 0.5, "preserve_symmetry": True}),
    ("ResidualVQ", {"beam_size": 2}),
    ("ResidualVQ", {"quant_grad_frac": 0.5, "beam_size": 2}),
    ("VectorQuantize", {"accept_image_fmap": True}),
    ("VectorQuantize", {**LEARNS, "commitment_use_cross_entropy_loss": True}),
    ("VectorQuantize", {**LEARNS, "codebook_diversity_loss_weight": 1.0}),
]
HEADS = {"heads": 2, "codebook_dim": 3}
FROZEN = {
    "VectorQuantize": [
        {},
        LEARNS,
        {"use_cosine_sim": True},
        {**SEPARATE, **LEARNS},
        {**LEARNS, "affine_param": True},
        {**LEARNS, "sync_update_v": 0.5},
        {**LEARNS, "in_place_codebook_optimizer": SGD},
        {"codebook_dim": 4, "layernorm_after_project_in": True},
        {"directional_reparam": True, "threshold_ema_dead_code": 1},
        {"rotation_trick": False},
        {"straight_through": True},
        {"route_gradients_to_input": False},
        {"commitment_use_cross_entropy_loss": True},
        {**HEADS, "codebook_diversity_loss_weight": 1.0},
        {"orthogonal_reg_weight": 1.0, "orthogonal_reg_max_codes": 5},
        {"accept_image_fmap": True},
    ],
    "ResidualVQ": [
        {"codebook_dim": 4, **LEARNS},
        {"shared_codebook": True},
        {"affine_param": True, "use_cosine_sim": False},
        {"diveq": True},
        {"quantize_dropout": True},
        {"commitment_use_cross_entropy_loss": True},
        {"codebook_diversity_loss_weight": 1.0},
        {"beam_size": 2},
    ],
    "GroupedResidualVQ": [{"groups": 2}],
}
LISTED = [
    *[(name, options) for name, listed in OPTIONS.items() for options in listed],
    *FURTHER,
    *[
        (n, {**options, "freeze_codebook": True})
        for n, listed in FROZEN.items()
        for options in listed
    ],
]


USUAL = len(LISTED) - sum(map(len, FROZEN.values()))
FIRST = [at for at, (name, _) in enumerate(LISTED) if name not in dict(LISTED[:at])]
"""One of each class: what it inherits does not depend on its options."""

LEARNERS = {"VectorQuantize", "ResidualVQ", "GroupedResidualVQ", "HierarchicalVQ", "Sequential"}


def is_still(name, options):
    """Whether no forward pass changes a layer: it is frozen, or only gradients teach it."""
    inner = "in_place_codebook_optimizer" in options
    if options.get("freeze_codebook") or name not in LEARNERS:
        return options.get("freeze_codebook", False) or not inner
    by_gradient = {"diveq", "implicit_neural_codebook"} & options.keys()
    averages = options.get("ema_update", True) and not by_gradient
    return not (averages or "affine_param" in options or inner)


STILL = [at for at, listed in enumerate(LISTED) if is_still(*listed)]


def every(places):
    """Parametrise over places in `LISTED`; those beside one of a class are slow."""
    named = [
        pytest.param(
            place,
            id=f"{LISTED[place][0]}-{'-'.join(LISTED[place][1]) or 'usual'}",
            marks=() if place in FIRST else pytest.mark.slow,
        )
        for place in places
    ]
    return pytest.mark.parametrize("place", named)


def make(name, options):
    if name == "EvoLFQ":
        return vq.EvoLFQ(nn.Linear(6, 6), nn.Linear(6, 6), **options)
    if name == "Sequential":
        return vq.Sequential(nn.Linear(6, 6), build(vq, "VectorQuantize", {}), nn.Linear(6, 6))
    return build(vq, name, options)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Case:
    """A class with options: layers of it that have seen two batches, and latents."""

    def __init__(self, name, options, *, train):
        self.name, self.options, self.train = name, options, train

    def layer(self, seed=0):
        torch.manual_seed(seed)
        layer = make(self.name, self.options)
        for step in range(2 + seed):
            layer(self.latents(step).float())
        return layer.eval().train(self.train).double()

    def latents(self, seed):
        x = torch.randn(1, 4, 6, generator=seeded(seed)).double()
        if self.name == "LatentQuantize":
            return x.movedim(1, 2)
        return x.movedim(1, 2).unflatten(2, (2, 2)) if "accept_image_fmap" in self.options else x

    def samples(self):
        return torch.stack([self.latents(seed) for seed in (20, 21, 22)])


def flat(found):
    """All tensors of a result."""
    if isinstance(found, torch.Tensor):
        return [found]
    listed = found.values() if isinstance(found, dict) else found or ()
    return [each for part in listed for each in flat(part)]


def call(layer, x):
    """With the same random numbers each time."""
    torch.manual_seed(5)
    return tuple(flat(layer(x)))


def vectors(layer, x):
    first = call(layer, x)[0]
    return first if first.is_floating_point() else x * 0.0  # random projections have codes only


def cost(layer, x):
    numbers = [each for each in call(layer, x) if each.is_floating_point()]
    return sum((each.sum() for each in numbers), vectors(layer, x).square().sum())


def gradients(value, inputs):
    if not value.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]


def gradient(layer, x):
    x = x.clone().requires_grad_()
    return gradients(cost(layer, x), [x])[0]


def close(left, right):
    return torch.allclose(left.double(), right.double(), rtol=ORDER, atol=ORDER)


def same(found, expected):
    pairs = list(zip(found, expected, strict=True))
    codes = all(torch.equal(a, b) for a, b in pairs if not a.is_floating_point())
    return codes and all(close(a, b) for a, b in pairs if a.is_floating_point())


def looped(run, samples):
    return [torch.stack(parts) for parts in zip(*map(run, samples), strict=True)]


def functional(layer):
    """The layer as a function of its parameters and buffers, and latents."""
    return lambda state, x: call(lambda x: func.functional_call(layer, state, (x,)), x)


def check_vmap(case):
    layer, samples = case.layer(), case.samples()
    found = func.vmap(lambda x: call(layer, x), randomness="same")(samples)
    assert same(found, looped(lambda x: call(layer, x), samples))
    slopes = func.vmap(func.grad(lambda x: cost(layer, x)), randomness="same")(samples)
    assert close(slopes, torch.stack([gradient(layer, x) for x in samples]))
    total = func.grad(lambda x: func.vmap(lambda x: cost(layer, x), randomness="same")(x).sum())
    assert close(total(samples), slopes)


def check_derivatives(case):
    layer, x, tangent = case.layer(), case.latents(7), case.latents(8)
    expected = gradient(layer, x)
    assert close(func.grad(lambda x: cost(layer, x))(x), expected)
    moved = func.jvp(lambda x: cost(layer, x), (x,), (tangent,))[1]
    assert close(moved, (expected * tangent).sum())
    value, back = func.vjp(lambda x: vectors(layer, x), x)
    y = x.clone().requires_grad_()
    assert close(back(value)[0], gradients((vectors(layer, y) * value).sum(), [y])[0])
    with forward_ad.dual_level():  # of a copy, for outside of torch.func layers learn
        other = copy.deepcopy(layer)
        dual = forward_ad.unpack_dual(vectors(other, forward_ad.make_dual(x, tangent)))
        assert close(dual.primal, value)


def check_jacobians(case):
    layer, x, direction = case.layer(), case.latents(7), case.latents(8)
    backward = func.jacrev(lambda x: vectors(layer, x).reshape(-1))(x)
    forward = func.jacfwd(lambda x: vectors(layer, x).reshape(-1), randomness="same")(x)
    assert close(forward, backward)
    slope = func.grad(lambda x: cost(layer, x))
    twice = func.grad(lambda x: (slope(x) * direction).sum())(x)
    assert close(func.jvp(slope, (x,), (direction,))[1], twice)


def check_parameters(case):
    layer, samples = case.layer(), case.samples()
    named, state = dict(layer.named_parameters()), dict(layer.named_buffers())
    if not named:
        return

    def one(parameters, x):
        return cost(lambda x: func.functional_call(layer, {**state, **parameters}, (x,)), x)

    fixed = {name: each.detach() for name, each in named.items()}
    found = func.vmap(func.grad(one), in_dims=(None, 0), randomness="same")(fixed, samples)
    for place, x in enumerate(samples):
        expected = gradients(cost(layer, x), list(named.values()))
        assert all(close(found[n][place], e) for n, e in zip(named, expected, strict=True))
        plain = {name: each.clone().requires_grad_() for name, each in fixed.items()}
        slopes = gradients(one(plain, x), list(plain.values()))  # without torch.func's transforms
        assert all(close(a, b) for a, b in zip(slopes, expected, strict=True))


def check_ensembles(case):
    layers = [case.layer(seed) for seed in range(3)]
    parameters, buffers = func.stack_module_state(layers)
    stacked = {**{name: each.detach() for name, each in parameters.items()}, **buffers}
    one, x = functional(copy.deepcopy(layers[0])), case.latents(7)
    if not stacked:
        return
    found = func.vmap(one, in_dims=(0, None), randomness="same")(stacked, x)
    for place, layer in enumerate(layers):
        assert same([part[place] for part in found], call(layer, x))


def walk(place, *, train):
    """Samples and derivatives whatever the options are; the rest for one layer of each class."""
    case = Case(*LISTED[place], train=train)
    check_vmap(case)
    check_derivatives(case)
    if place in FIRST or place == USUAL:
        check_jacobians(case)
        check_parameters(case)
        check_ensembles(case)


@functools.cache
def learns(place):
    """Whether an ordinary forward in train mode changes the layer."""
    case = Case(*LISTED[place], train=True)
    layer = case.layer()
    before = [each.detach().clone() for each in (*layer.parameters(), *layer.buffers())]
    call(layer, case.latents(7))
    after = [*layer.parameters(), *layer.buffers()]
    return not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@every(sorted({*range(USUAL)} - {*STILL} | {*FIRST}))
def test_eval_mode(place):
    """Options of what learns nothing are walked in train mode."""
    walk(place, train=False)


@every(STILL)
def test_train_mode_of_what_learns_nothing(place):
    walk(place, train=True)


@every(sorted({*range(len(LISTED))} - {*STILL} | {*FIRST}))
def test_what_learns_is_refused_and_left_as_it_was(place):
    """The next ordinary step is that of a layer that nobody transformed."""
    assert learns(place) == (place not in STILL)
    case = Case(*LISTED[place], train=True)
    layer, twin, samples = case.layer(), case.layer(), case.samples()
    stacked = func.stack_module_state([case.layer(seed) for seed in range(3)])
    state = {**{name: each.detach() for name, each in stacked[0].items()}, **stacked[1]}
    calls = [
        lambda: func.vmap(lambda x: cost(layer, x), randomness="same")(samples),
        lambda: func.grad(lambda x: cost(layer, x))(samples[0]),
        lambda: func.jvp(lambda x: cost(layer, x), (samples[0],), (samples[1],)),
        lambda: func.vmap(functional(layer), (0, None), randomness="same")(state, samples[0]),
    ]
    for one in calls[: 4 if state else 3]:
        if learns(place):
            text = r"must change nothing under torch\.func, got .*(in train mode|that waits)"
            with pytest.raises(TransformError, match=text):
                one()
        else:
            one()
    assert same(call(layer, samples[2]), call(twin, samples[2]))
    pairs = zip(layer.eval().state_dict().values(), twin.eval().state_dict().values(), strict=True)
    numbers = [pair for pair in pairs if isinstance(pair[0], torch.Tensor)]
    assert all(torch.equal(a, b) for a, b in numbers)


def test_a_batch_that_waits_is_named():
    layer = vq.VectorQuantize(6, 16)
    layer(torch.randn(1, 8, 6))
    with pytest.raises(TransformError, match=r"a batch that waits .* call \.eval\(\) once"):
        func.grad(lambda x: layer(x, freeze_codebook=True)[0].sum())(torch.randn(1, 8, 6))
    layer.eval().train()
    slope = func.grad(lambda x: layer(x, freeze_codebook=True)[0].sum())(torch.randn(1, 8, 6))
    assert bool(slope.any())


def test_networks_that_adapt_codebooks_can_be_frozen():
    options = {"implicit_neural_codebook": True, "threshold_ema_dead_code": 1}
    layer = Case("ResidualVQ", options, train=True).layer()
    stacked = func.stack_module_state([copy.deepcopy(layer) for _ in range(2)])
    state = {**{name: each.detach() for name, each in stacked[0].items()}, **stacked[1]}
    x = torch.zeros(1, 4, 6).double()

    def one(state, x, frozen):
        return func.functional_call(layer, state, (x,), {"freeze_codebook": frozen})[0]

    found = func.vmap(one, in_dims=(0, None, None))(state, x, True)
    expected = layer(x, freeze_codebook=True)[0]
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=0)
    with pytest.raises(TransformError, match=r"got Layer at .* in train mode"):
        func.vmap(one, in_dims=(0, None, None))(state, x, False)


def built(name, **options):
    return Case(name, options, train=False).layer()


def token_codes(seed):
    return torch.randint(16, (1, 4), generator=seeded(seed))


MASK = torch.tensor([[True, False, True, True]])
ARGUMENTS = {
    "mask": ("VectorQuantize", {}, {"mask": MASK}),
    "lens": ("VectorQuantize", {}, {"lens": torch.tensor([3])}),
    "padding as it was": (
        "VectorQuantize",
        {"return_zeros_for_masked_padding": False},
        {"mask": MASK},
    ),
    "several codes": ("VectorQuantize", {}, {"topk": 3}),
    "several directions": ("VectorQuantize", {"use_cosine_sim": True}, {"topk": 3}),
    "own codebooks": (
        "VectorQuantize",
        {},
        {"codebook_transform_fn": lambda book: book.expand(4, -1, -1).cumsum(0)[None]},
    ),
    "cross entropy": ("VectorQuantize", {**LEARNS}, {"indices": token_codes(0)}),
    "cross entropy but for one": (
        "VectorQuantize",
        {**LEARNS},
        {"indices": token_codes(0).masked_fill(~MASK, -1)},
    ),
    "breakdown": ("VectorQuantize", {}, {"return_loss_breakdown": True}),
    "residual mask": ("ResidualVQ", {}, {"mask": MASK}),
    "residual cross entropy": (
        "ResidualVQ",
        {},
        {"indices": torch.stack([token_codes(seed) for seed in range(3)], dim=-1)},
    ),
    "residual codes": ("ResidualVQ", {}, {"return_all_codes": True}),
    "beam": ("ResidualVQ", {}, {"beam_size": 3}),
    "grouped mask": ("GroupedResidualVQ", {"groups": 2}, {"mask": MASK}),
    "bits mask": ("LFQ", {"dim": 6}, {"mask": MASK}),
    "scales mask": ("HierarchicalVQ", {"scales": [1, 4]}, {"mask": MASK}),
    "scales lens": ("HierarchicalVQ", {"scales": [1, 4]}, {"lens": torch.tensor([3])}),
    "projections": ("RandomProjectionQuantizer", {**SIX, "codebook_dim": 3}, {}),
    "projections cross entropy": (
        "RandomProjectionQuantizer",
        {**SIX, "codebook_dim": 3},
        {"indices": token_codes(0)},
    ),
    "grid codes": ("ResidualFSQ", OPTIONS["ResidualFSQ"][0], {"return_all_codes": True}),
}


@pytest.mark.parametrize(("name", "options", "arguments"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_forward(name, options, arguments):
    layer = built(name, **options)
    samples = torch.stack([torch.randn(1, 4, 6, generator=seeded(s)) for s in range(3)]).double()

    def run(x):
        return tuple(flat(layer(x, **arguments)))

    found = func.vmap(run)(samples)
    assert same(found, looped(run, samples))

    def numbers(x):
        return sum(each.square().sum() for each in run(x) if each.is_floating_point()) + x.sum()

    slopes = func.vmap(func.grad(numbers))(samples)
    for x, slope in zip(samples, slopes, strict=True):
        y = x.clone().requires_grad_()
        assert close(slope, gradients(numbers(y), [y])[0])


@pytest.mark.parametrize(
    ("name", "options", "argument", "values", "text"),
    [
        ("VectorQuantize", {}, "mask", MASK, "mask must be the same for all samples"),
        ("ResidualVQ", {}, "mask", MASK, "mask must be the same for all samples"),
        ("HierarchicalVQ", {"scales": [1, 4]}, "mask", MASK, "mask must be the same for all"),
        ("VectorQuantize", {}, "lens", torch.tensor([3]), "lens must be the same for all samples"),
        (
            "VectorQuantize",
            LEARNS,
            "indices",
            torch.tensor([[3, -1, 2, 0]]),
            "indices of -1 must stand at the same places in all samples",
        ),
    ],
)
def test_what_counts_tokens_is_the_same_for_all_samples(name, options, argument, values, text):
    layer, samples = built(name, **options), torch.zeros(3, 1, 4, 6).double()
    each = values.expand(3, *values.shape)
    with pytest.raises(TransformError, match=text):
        func.vmap(lambda x, own: tuple(flat(layer(x, **{argument: own}))))(samples, each)


def test_indices_of_their_own_for_each_sample():
    layer = built("VectorQuantize", **LEARNS)
    samples, codes = torch.zeros(3, 1, 4, 6).double(), torch.stack([*map(token_codes, range(3))])
    found = func.vmap(lambda x, own: layer(x, own)[1])(samples, codes)
    expected = [layer(x, own)[1] for x, own in zip(samples, codes, strict=True)]
    assert close(found, torch.stack(expected))


@pytest.mark.parametrize("name", ["VectorQuantize", "ResidualVQ"])
def test_as_many_code_vectors_as_a_batch_uses(name):
    options = {"orthogonal_reg_weight": 1.0, "orthogonal_reg_active_codes_only": True}
    case = Case(name, {**options, "ema_update": False, "freeze_codebook": True}, train=True)
    layer = case.layer()
    check_derivatives(case)
    with pytest.raises(TransformError, match="looks at as many code vectors as a batch uses"):
        func.vmap(lambda x: call(layer, x), randomness="same")(case.samples())


def test_drawn_codes_are_those_of_one_batch():
    case = Case(
        "VectorQuantize", {"stochastic_sample_codes": True, "freeze_codebook": True}, train=True
    )
    layer = case.layer()
    check_derivatives(case)
    with pytest.raises(TransformError, match="Gumbel draws codes for one batch of latents"):
        func.vmap(lambda x: call(layer, x), randomness="same")(case.samples())


DECODERS = (
    "get_codes_from_indices",
    "get_output_from_indices",
    "indices_to_codes",
    "indices_to_level_indices",
)
WITHOUT_DECODERS = {"RandomProjectionQuantizer", "EvoLFQ", "Sequential", "BinaryMapper"}


@every([at for at in FIRST if LISTED[at][0] not in WITHOUT_DECODERS])
def test_decoding(place):
    case = Case(*LISTED[place], train=False)
    layer = case.layer()
    names = [name for name in DECODERS if hasattr(layer, name)]
    assert names
    codes = [layer(x)[1] for x in case.samples()]
    if isinstance(codes[0], tuple):  # of the scales
        codes = [torch.cat([each.flatten() for each in part]) for part in codes]
        sizes = [math.prod(shape) for shape in layer.level_shapes]

        def given(joined):
            parts = zip(joined.split(sizes), layer.level_shapes, strict=True)
            return [part.reshape(1, *shape) for part, shape in parts]
    else:

        def given(codes):
            return codes

    def run(codes):
        return tuple(each for name in names for each in flat(getattr(layer, name)(given(codes))))

    assert same(func.vmap(run)(torch.stack(codes)), looped(run, codes))


def test_points_of_a_grid():
    layer = vq.FSQ([5, 4, 3])
    points = layer.implicit_codebook[torch.tensor([[3, 7], [59, 0]])]
    assert func.vmap(layer.codes_to_indices)(points).tolist() == [[3, 7], [59, 0]]
    points[1, 0, 2] = 3.0
    with pytest.raises(CodeRangeError, match=r"got 3\.0 at row 2, feature 2, of 3 levels"):
        func.vmap(layer.codes_to_indices)(points)


def test_errors_name_numbers_under_grad():
    layer, x = vq.VectorQuantize(6, 16).eval(), torch.zeros(1, 4, 6)
    with pytest.raises(ShapeError, match="lens must lie in 0 to 4, got 9 at position 0"):
        func.grad(lambda x: layer(x, lens=torch.tensor([9]))[0].sum())(x)
    with pytest.raises(CodeRangeError, match=r"got 99 at position \(0, 1\)"):
        func.grad(lambda x: layer(x, indices=torch.tensor([[1, 99, 2, 3]]))[1])(x)
    with pytest.raises(CodeRangeError, match="got 7.0 at row 0, feature 0"):
        func.grad(lambda x: vq.FSQ([5, 4]).codes_to_indices(x + 7.0).sum())(torch.zeros(1, 2))


def test_levels_after_one_that_was_left_out():
    layer = built("ResidualFSQ", levels=[5, 3], dim=6, num_quantizers=2)
    with pytest.raises(CodeRangeError, match="indices must not follow -1"):
        func.vmap(layer.get_codes_from_indices)(torch.tensor([[[[3, 2]]], [[[-1, 2]]]]))


@every(FIRST)
def test_a_sample_that_is_not_finite_is_refused(place):
    case = Case(*LISTED[place], train=False)
    layer, samples = case.layer(), case.samples()
    samples[1].view(-1)[9] = math.nan
    with pytest.raises(NonFiniteError, match="must be finite.* got nan at row"):
        func.vmap(lambda x: call(layer, x), randomness="same")(samples)
