"""What every quantizer holds, whatever its family.

The cases are those of all files `_cases_*.py` beside this one: each has a list `CASES` of
``(name, constructor)`` or ``(name, constructor, traits)``. A constructor takes `layout` and
`generator`, and returns a quantizer of 4 features. A trait is the name of a promise that the case
by design does not make, as its class documents:
``"samples"``: in train mode the codes are not those of `encode`; ``"noisy"``: in train mode the
vectors are not `decode` of the codes; ``"spatial"``: tokens of one sample depend on each other;
``"frozen"``: no gradient reaches the latents; ``"projects"``: a map before them follows autocast.
"""

import importlib.util
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.masked import masked_tensor

from certvq.errors import (
    CodeRangeError,
    DeviceError,
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    OptionError,
    ShapeError,
)
from certvq.nn import PADDING, Quantized, Quantizer

DIM = 4
SHAPES = {
    "n d": (16, DIM),
    "b n d": (2, 8, DIM),
    "b d n": (2, DIM, 8),
    "b c h w": (2, DIM, 4, 4),
    "b h w c": (2, 4, 4, DIM),
    "b c t h w": (2, DIM, 2, 2, 4),
    "b t h w c": (2, 2, 2, 4, DIM),
}


class Case:
    """A constructor that shows the name of its case where a row of it fails."""

    def __init__(self, name, make):
        self.name, self.make = name, make

    def __call__(self, **options):
        return self.make(**options)

    def __repr__(self):
        return self.name


def collect():
    """Read the cases of all files beside this one."""
    for path in sorted(Path(__file__).parent.glob("_cases_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, constructor, *traits in module.CASES:
            yield name, Case(name, constructor), frozenset(*traits)


def first_of_each_class():
    """Name one case for each class: what a class inherits it refuses whatever its options are."""
    kept = {}
    for name, constructor, _ in ALL:
        layer = constructor(layout="b n d", generator=torch.Generator())
        kept.setdefault(type(layer), name)
    return set(kept.values())


ALL = list(collect())
FIRST = first_of_each_class()


def over(*exempt, names=None):
    """Parametrise over the cases that keep a promise; those beside one of a class are slow."""
    kept = [
        pytest.param(constructor, id=name, marks=() if name in FIRST else pytest.mark.slow)
        for name, constructor, traits in ALL
        if traits.isdisjoint(exempt) and (names is None or name in names)
    ]
    return pytest.mark.parametrize("make", kept)


every = over()
each_class = pytest.mark.rows("make", [make for name, make, _ in ALL if name in FIRST])
"""One case of each class, as rows of one test: for what all options of a class share."""
all_at_once = pytest.mark.rows("make", [make for _, make, _ in ALL])
"""All cases, as rows of one test: for what takes no time."""


def build(make, *, seed=0, layout="b n d", steps=0):
    """Make a quantizer and train it a little."""
    layer = make(layout=layout, generator=torch.Generator().manual_seed(seed))
    for step in range(steps):
        layer(latents_of(layout, step))
    return layer


def latents_of(layout="b n d", seed=0):
    return torch.randn(SHAPES[layout], generator=torch.Generator().manual_seed(seed))


def sizes(layer):
    size = layer.codebook_size
    return torch.tensor(size if isinstance(size, tuple) else [size])


def test_names_are_unique():
    names = [name for name, _, _ in ALL]
    assert len(names) == len(set(names))


@every
@pytest.mark.rows("layout", SHAPES)
def test_shapes_and_types(make, layout):
    layer = build(make, layout=layout)
    assert isinstance(layer, Quantizer)
    latents = latents_of(layout)
    feature = layout.split().index("d" if "d" in layout else "c")
    grid = tuple(latents.movedim(feature, -1).shape[:-1])
    shape = list(latents.shape)
    shape[feature] = layer.width
    for mode in (True, False):
        result = layer.train(mode)(latents)
        assert isinstance(result, Quantized)
        assert list(result.quantized.shape) == shape
        assert result.quantized.dtype == torch.float32
        assert result.codes.shape == (*grid, *layer.code_shape)
        assert result.codes.dtype == torch.int64
        assert result.loss.shape == ()
        assert torch.isfinite(result.loss)
        assert ((result.codes >= 0) & (result.codes < sizes(layer))).all()
        assert list(layer.decode(result.codes).shape) == shape


@every
@pytest.mark.rows("layout", ["b n d", "b c h w"])
def test_decode_gives_the_same_bits_in_eval_mode(make, layout, same_bits):
    layer = build(make, layout=layout, steps=3).eval()
    quantized, codes, _ = layer(latents_of(layout, 9))
    assert same_bits(quantized, layer.decode(codes))
    assert torch.equal(layer.encode(latents_of(layout, 9)), codes)


@over("noisy")
def test_decode_gives_the_same_bits_in_train_mode(make, same_bits):
    layer = build(make)
    for step in range(4):
        quantized, codes, _ = layer(latents_of(seed=step))
        assert same_bits(quantized, layer.decode(codes))


@over("samples")
def test_encode_gives_the_codes_of_train_mode(make):
    layer = build(make)
    for step in range(4):
        codes = layer(latents_of(seed=step)).codes
        assert torch.equal(layer.encode(latents_of(seed=step)), codes)


@every
def test_encode_and_eval_change_nothing(make, snapshot, unchanged):
    layer = build(make, steps=2)
    before, random = snapshot(layer), layer_random(layer)
    layer.encode(latents_of(seed=5))
    layer.eval()(latents_of(seed=6))
    assert unchanged(layer, before)
    assert same_random(layer, random)


@every
def test_codes_do_not_depend_on_the_split_of_the_batch(make):
    layer = build(make, steps=2).eval()
    latents = torch.cat([latents_of(seed=seed) for seed in range(3)])
    whole = layer.encode(latents)
    assert torch.equal(whole, torch.cat([layer.encode(sample[None]) for sample in latents]))


@over("frozen")
def test_the_gradient_reaches_the_latents(make):
    layer = build(make, steps=2)
    for mode in (True, False):
        latents = latents_of(seed=7).requires_grad_()
        layer.train(mode)(latents).quantized.square().sum().backward()
        assert torch.isfinite(latents.grad).all()
        assert latents.grad.any()


@over("frozen", names=FIRST)
def test_functional_gradients_in_eval_mode(make):
    layer = build(make, steps=2).eval()

    def cost(latents):
        found = layer(latents)
        return found.quantized.square().sum() + found.loss

    latents = latents_of(seed=7)
    slope = torch.func.grad(cost)(latents)
    latents.requires_grad_()
    (expected,) = torch.autograd.grad(cost(latents), latents)
    assert torch.equal(slope, expected)


def layer_random(layer):
    return [part.generator.get_state() for part in layer.modules() if has_generator(part)]


def has_generator(part):
    return isinstance(getattr(part, "generator", None), torch.Generator)


def same_random(layer, states):
    return all(torch.equal(a, b) for a, b in zip(layer_random(layer), states, strict=True))


@all_at_once
@pytest.mark.rows("steps", [0, 3])
@pytest.mark.rows("bad", [math.nan, -math.inf])
def test_a_bad_batch_changes_nothing(make, steps, bad, snapshot, unchanged):
    layer = build(make, steps=steps)
    before, random = snapshot(layer), layer_random(layer)
    latents = latents_of(seed=9)
    latents[1, 2, 1] = bad
    for mode in (True, False):
        with pytest.raises(NonFiniteError, match="latents"):
            layer.train(mode)(latents)
        with pytest.raises(NonFiniteError, match="latents"):
            layer.encode(latents)
    assert unchanged(layer, before)
    assert same_random(layer, random)


@every
@pytest.mark.rows("steps", [0, 3])
def test_a_step_that_is_cut_short_changes_nothing(make, steps, snapshot, unchanged, monkeypatch):
    """Whatever raises: the next steps are those of a layer that never saw the batch."""
    layer, twin = build(make, steps=steps), build(make, steps=steps)
    before, random = snapshot(layer), layer_random(layer)
    quantize = layer.quantize_tokens

    def cut_short(tokens):
        quantize(tokens)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(layer, "quantize_tokens", cut_short)
        with pytest.raises(KeyboardInterrupt):
            layer(5.0 * latents_of(seed=9))
    assert unchanged(layer, before)
    assert same_random(layer, random)
    for step in range(5, 8):
        assert torch.equal(layer(latents_of(seed=step)).codes, twin(latents_of(seed=step)).codes)
    assert unchanged(layer, snapshot(twin))


@each_class
def test_an_empty_batch_teaches_nothing(make, snapshot, unchanged):
    layer = build(make)
    before = snapshot(layer)
    quantized, codes, loss = layer(torch.zeros(2, 0, DIM))
    assert quantized.shape == (2, 0, layer.width)
    assert codes.shape == (2, 0, *layer.code_shape)
    assert loss == 0.0
    assert unchanged(layer, before)


@over("spatial")
def test_padding_neither_counts_nor_teaches(make, same_bits, snapshot, unchanged):
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 3:] = mask[1, 0] = False
    masked, plain = build(make), build(make)
    for step in range(3):
        latents = latents_of(seed=step)
        result = masked(latents.masked_fill(~mask[..., None], math.nan), mask)
        expected = plain(latents[mask][None])
        assert same_bits(result.quantized[mask], expected.quantized[0])
        assert torch.equal(result.codes[mask], expected.codes[0])
        assert torch.equal(result.loss, expected.loss)
    assert unchanged(masked, snapshot(plain))


@each_class
def test_padding_has_no_code(make, same_bits):
    layer = build(make, steps=2).eval()
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 3:] = False
    latents = latents_of(seed=3)
    quantized, codes, _ = layer(latents, mask)
    assert (codes[~mask] == PADDING).all()
    assert (codes[mask] >= 0).all()
    assert not quantized[~mask].any()
    assert torch.equal(layer.encode(latents, mask), codes)
    assert same_bits(layer.decode(codes, mask), quantized)
    with pytest.raises(CodeRangeError, match="-1"):
        layer.decode(codes)


@each_class
def test_a_batch_of_padding_alone(make):
    layer = build(make, steps=2)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    quantized, codes, loss = layer(torch.full((2, 8, DIM), math.nan), mask)
    assert not quantized.any()
    assert (codes == PADDING).all()
    assert loss == 0.0


@each_class
def test_wrong_input_is_named(make):
    layer = build(make, steps=1)
    for method in (layer, layer.encode):
        with pytest.raises(ShapeError, match=r"dim=4 .*got shape \(2, 8, 5\)"):
            method(torch.zeros(2, 8, 5))
        with pytest.raises(ShapeError, match=r"got shape \(8, 4\)"):
            method(torch.zeros(8, DIM))
        with pytest.raises(DTypeError, match="got int64"):
            method(torch.zeros(2, 8, DIM, dtype=torch.int64))
        with pytest.raises(ShapeError, match=r"\(2, 8\), got \(2, 7\)"):
            method(torch.zeros(2, 8, DIM), torch.ones(2, 7, dtype=torch.bool))
        with pytest.raises(DTypeError, match="mask must be bool.*got float32"):
            method(torch.zeros(2, 8, DIM), torch.ones(2, 8))


@each_class
def test_a_layer_on_another_device_is_named(make):
    """One without parameters and buffers is on none."""
    layer = build(make, steps=1)
    codes = layer.encode(latents_of())
    layer.to("meta")
    if not [*layer.parameters(), *layer.buffers()]:
        assert torch.equal(layer.encode(latents_of()), codes)
        return
    for mode in (True, False):
        layer.train(mode)
        for method in (layer, layer.encode):
            with pytest.raises(DeviceError, match=r"latents on cpu and \w+ on meta; give the"):
                method(latents_of())
        with pytest.raises(DeviceError, match=r"got codes on cpu and \w+ on meta; give the"):
            layer.decode(codes)


NOT_DENSE = [
    pytest.param(lambda t: t.tolist(), "must be a torch.Tensor, got list; use", id="list"),
    pytest.param(lambda t: t.numpy(), "must be a torch.Tensor, got ndarray; use", id="array"),
    pytest.param(lambda _: None, "must be a torch.Tensor, got NoneType; use", id="none"),
    pytest.param(lambda t: t.to_sparse(), "layout sparse_coo; use .to_dense", id="sparse"),
    pytest.param(lambda t: t.to("meta"), r"shape \(2, 8.* on the device meta", id="meta"),
    pytest.param(lambda t: torch.nested.nested_tensor(list(t)), "got a nested one", id="nested"),
    pytest.param(
        lambda t: masked_tensor(t, torch.ones_like(t, dtype=torch.bool)),
        "got a MaskedTensor; .*get_data",
        id="masked",
    ),
]
other_than_dense = pytest.mark.rows(("change", "match"), NOT_DENSE)


@each_class
@other_than_dense
@pytest.mark.filterwarnings("ignore:The PyTorch API of:UserWarning")
def test_what_is_no_dense_tensor_is_named(make, change, match, snapshot, unchanged):
    layer = build(make, steps=1)
    before, codes = snapshot(layer), layer.encode(latents_of())
    for mode in (True, False):
        layer.train(mode)
        for method in (layer, layer.encode):
            with pytest.raises(DTypeError, match=f"latents.*{match}"):
                method(change(latents_of()))
        with pytest.raises(DTypeError, match=f"codes.*{match}"):
            layer.decode(change(codes))
        mask = change(torch.ones(2, 8, dtype=torch.bool))
        if mask is not None:
            for method, given in ((layer, latents_of()), (layer.encode, latents_of())):
                with pytest.raises(DTypeError, match=f"mask.*{match}"):
                    method(given, mask)
            with pytest.raises(DTypeError, match=f"mask.*{match}"):
                layer.decode(codes, mask)
    assert unchanged(layer, before)


@each_class
@pytest.mark.rows("bad", [torch.complex64, torch.bool])
def test_other_kinds_of_number_are_named(make, bad):
    """Also for codes of fewer levels, which residual quantizers complete."""
    layer = build(make, steps=1)
    name = str(bad).removeprefix("torch.")
    for method in (layer, layer.encode):
        with pytest.raises(DTypeError, match=f"latents must be float64, .*got {name}; convert"):
            method(latents_of().to(bad))
    codes = layer.encode(latents_of()).to(bad)
    for given in (codes, codes[..., :1]):
        with pytest.raises(DTypeError, match=f"codes must be integers, got {name}; convert"):
            layer.decode(given)


@every
def test_losses_of_huge_latents_are_finite_or_refused(make):
    """Squares of these overflow, which times a weight of 0 would be NaN."""
    layer = build(make, steps=2)
    huge = latents_of(seed=3).sign() * 3e38
    for mode in (True, False):
        try:
            result = layer.train(mode)(huge)
        except NonFiniteError:
            continue
        assert torch.isfinite(result.loss), mode
        assert all(math.isfinite(value) for value in layer.metrics().values()), mode
        if not mode:
            assert torch.equal(result.codes, layer.encode(huge))


@over("frozen")
@pytest.mark.rows("size", [1e19, 1e30, 3e38])
def test_gradients_of_huge_latents_are_finite_or_refused(make, size):
    """Twice these overflows, which times a slope of 0 would be NaN."""
    layer = build(make, steps=2).eval()
    huge = (latents_of(seed=3).sign() * size).requires_grad_()
    try:
        quantized, _, loss = layer(huge)
    except NonFiniteError:
        return
    for value in (quantized.sum(), loss):
        if value.requires_grad:  # some losses are constants
            (slope,) = torch.autograd.grad(value, huge, retain_graph=True)
            assert torch.isfinite(slope).all()


@each_class
def test_wrong_codes_are_named(make):
    layer = build(make, steps=1)
    codes = layer.encode(latents_of())
    with pytest.raises(DTypeError, match="integers, got float32"):
        layer.decode(codes.float())
    with pytest.raises(ShapeError, match="axes"):
        layer.decode(codes[None, None])
    high = codes.clone()
    high[1, 2] = int(sizes(layer).max())
    with pytest.raises(CodeRangeError, match=r"range\(\d+\), got \d+ at position \(1, 2"):
        layer.decode(high)


@each_class
def test_wrong_options_are_named(make):
    with pytest.raises(OptionError, match="layout must be one of .* got 'd b'"):
        make(layout="d b", generator=None)


@every
def test_the_generator_makes_every_random_choice(make, snapshot, unchanged):
    default = torch.get_rng_state()
    first, second = build(make, steps=3), build(make, steps=3)
    assert unchanged(first, snapshot(second))
    assert torch.equal(torch.get_rng_state(), default)


@every
@pytest.mark.rows("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_number(make, dtype, same_bits):
    layer = build(make).to(dtype)
    for step in range(3):
        result = layer(latents_of(seed=step).to(dtype).requires_grad_())
        assert result.quantized.dtype == dtype
        assert result.loss.dtype in {torch.float32, torch.promote_types(dtype, torch.float32)}
        assert torch.isfinite(result.loss)
        (result.quantized.sum() + result.loss).backward()
    layer.eval()
    latents = latents_of(seed=5).to(dtype)
    quantized, codes, loss = layer(latents)
    assert same_bits(quantized, layer.decode(codes))
    assert torch.equal(codes, layer.encode(latents))
    assert loss.dtype in {torch.float32, torch.promote_types(dtype, torch.float32)}
    narrow = [b for _, b in statistics(layer) if b.dtype.itemsize < torch.float32.itemsize]
    assert not narrow


@each_class
@pytest.mark.rows("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_latents_of_another_type_than_the_layer(make, dtype):
    """Each number is exact; vectors have the layer's type, the gradient that of the latents."""
    layer = build(make)
    for mode in (True, False):
        latents = latents_of(seed=int(mode)).to(dtype).requires_grad_()
        result = layer.train(mode)(latents)
        assert result.quantized.dtype == layer.decode(result.codes).dtype == torch.float32
        assert result.loss.dtype in {torch.float32, torch.promote_types(dtype, torch.float32)}
        if result.quantized.requires_grad and latents.requires_grad:
            (result.quantized.sum() + result.loss).backward()
            assert latents.grad is None or latents.grad.dtype == dtype
    assert torch.equal(layer.encode(latents), result.codes)


def statistics(layer):
    for name, module in layer.named_modules():
        if type(module).__name__ == "RunningStatistics":
            yield from ((f"{name}.{n}", b) for n, b in module.named_buffers())


@over("projects")
def test_autocast_changes_no_code(make, same_bits):
    """Codes and vectors are those without autocast, and the loss is float32."""
    layer, plain = build(make), build(make)
    for step in range(3):
        latents = latents_of(seed=step).bfloat16()
        expected = plain(latents)
        with torch.autocast("cpu", torch.bfloat16):
            result = layer(latents)
            decoded = layer.decode(result.codes)
        assert torch.equal(result.codes, expected.codes)
        assert same_bits(result.quantized, expected.quantized)
        assert result.loss.dtype == torch.float32
        assert decoded.shape == result.quantized.shape


@each_class
def test_without_gradients(make):
    """`requires_grad_(False)` and `torch.no_grad` stop nothing else."""
    layer = build(make).requires_grad_(False)
    for step in range(3):
        with torch.no_grad():
            result = layer(latents_of(seed=step))
        assert torch.isfinite(result.quantized).all()
    assert not any(parameter.grad is not None for parameter in layer.parameters())


@each_class
def test_metrics_are_floats(make):
    layer = build(make)
    assert layer.metrics() == {}
    layer(latents_of())
    assert layer.metrics()
    assert all(type(value) is float for value in layer.metrics().values())
    assert not any(value.requires_grad for value in layer.latest.values())


@each_class
def test_repr_names_the_class(make):
    layer = build(make)
    assert type(layer).__name__ in repr(layer)


@each_class
def test_flushed_subnormals_are_refused(make):
    """Comparisons would see zeros where numbers were given."""
    layer = build(make, steps=1)
    latents = latents_of(seed=3)
    torch.set_flush_denormal(True)
    try:
        for call in (layer.encode, layer.eval()):
            with pytest.raises(FloatEnvironmentError, match="subnormal numbers must be kept"):
                call(latents)
    finally:
        torch.set_flush_denormal(False)


@each_class
@pytest.mark.rows(("strict", "bad"), [(True, math.nan), (False, -math.inf)])
def test_no_state_with_nan_is_loaded(make, strict, bad, snapshot, unchanged):
    """Whichever tensor has it, alone or within a larger module, and nothing has been loaded."""
    layer, other = build(make, steps=2), build(make, seed=1, steps=2)
    before = snapshot(layer)
    floats = [
        name
        for name, value in other.state_dict().items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel()
    ]
    for name in floats:
        state = snapshot(other)
        state[name][(-1,) * state[name].ndim] = bad
        text = f"'{re.escape(name)}' in the state must be finite, got {bad} at"
        with pytest.raises(NonFiniteError, match=text):
            layer.load_state_dict(state, strict=strict)
        assert unchanged(layer, before)
        whole = nn.Sequential(nn.Identity(), layer)
        with pytest.raises(NonFiniteError, match=f"'1.{re.escape(name)}' in the state"):
            whole.load_state_dict({f"1.{k}": v for k, v in state.items()}, strict=strict)
        assert unchanged(layer, before)
    layer.load_state_dict(other.state_dict(), strict=strict)
    assert unchanged(layer, snapshot(other))
