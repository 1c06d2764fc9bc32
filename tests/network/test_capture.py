"""What can be captured, what cannot, and what the errors say."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from certvq.errors import CaptureError, DTypeError, NonFiniteError, OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import Network, canonical_codes, capture
from certvq.network._graph import Ref, last_uses
from certvq.network.rules._rule import tensor_entries
from certvq.network.rules._windows import Windows, windows_of

X = torch.zeros(1, 2, 4, 4)


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def attention(x, mask, **options):
    return functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, **options)


def lstm(**options):
    module = nn.LSTM(4, 2, **options).eval()
    return lambda x: module(x[0])[0]


def inner(function):
    return nn.Sequential(nn.Identity(), nn.Sequential(Of(function))).eval()


def test_a_graph_has_steps_places_and_the_parameters_themselves():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(inplace=True)).eval()
    network = capture(model, X)
    assert isinstance(network, Network)
    assert [step.operator for step in network.steps] == ["conv2d.default", "relu.default"]
    assert [step.place for step in network.steps] == ["0", "1"]
    pointers = {each.data_ptr() for each in network.constants.values()}
    assert pointers == {model[0].weight.data_ptr(), model[0].bias.data_ptr()}
    assert network.output == Ref("relu", (1, 3, 4, 4))
    assert [len(names) for names in last_uses(network)] == [3, 1]


def test_casts_and_constants_are_no_operators_of_the_real_function():
    """A cast to float16 denotes the number itself: 1/3 keeps all its digits."""
    model = Of(lambda x: x.half().float() + torch.ones(2, 1)).eval()
    batch, codebook = torch.tensor([[[1 / 3], [0.0]]]), torch.tensor([[0.0, 0.0], [4 / 3, 1.0]])
    found = canonical_codes(model, batch, codebook=codebook)
    assert found.codes.tolist() == [[1]]
    assert found.margin.item() > 0.8


@pytest.mark.slow
@pytest.mark.rows(
    ("function", "text"),
    [
        (
            lambda x: x if x.sum() > 0 else -x,
            "cannot be captured as a graph: Could not guard on data",
        ),
        (lambda x: x + torch.randn_like(x), r"randn_like.default at module '1.0' draws random"),
        (lambda x: functional.dropout(x, 0.5, training=True), "at module '1.0' draws random"),
        (
            lambda x: torch.cumsum(x, 1),
            r"cumsum.default at module '1.0' has no rule.*known are .*elu",
        ),
        (lambda x: (x > 0).float() * x, "gt.Scalar at module '1.0'"),
        (lambda x: x.to(torch.int32), "makes torch.int32 of floats"),
        (lambda x: x.max(1)[0], "at module '1.0' has no rule"),
        (lambda x: x**3, r"pow.Tensor_Scalar at module '1.0' with exponent=3 \(known: 2\)"),
        (
            lambda x: functional.interpolate(x, scale_factor=1.5),
            r"upsample_nearest2d.vec at module '1.0' with factors \[1\.5, 1\.5\] \(known: whole",
        ),
        (lambda x: torch.div(x, 3, rounding_mode="floor"), "operator div.Tensor_mode at"),
        (lambda x: torch.ops.aten.elu.default(x, 1, 1, -2), r"with input_scale=-2\.0"),
        (lambda x: functional.avg_pool2d(x, 3, ceil_mode=True), "with ceil_mode=True"),
        (lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "count_include_pad"),
        (lambda x: functional.adaptive_avg_pool2d(x, 3), "does not divide it"),
        (lambda x: functional.batch_norm(x, None, None, training=True), "batch_norm"),
        (
            lambda x: functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
            "with dropout_p=0.5",
        ),
        (lambda x: functional.scaled_dot_product_attention(x, x[0], x[0]), "other axes before"),
        (lambda x: attention(x, x), "with an attn_mask that is computed of floats"),
        (lambda x: attention(x, torch.zeros(4, 4) > 0), "that leaves a query without keys"),
        (lambda x: attention(x, torch.full((4, 4), math.inf)), "that holds NaN or infinity"),
        (lambda x: attention(x, torch.zeros(4, 4), is_causal=True), "attn_mask and is_causal"),
        (lstm(proj_size=1), "lstm.input at .* with proj_size"),
        (lambda x: functional.rms_norm(x, [4]), "with eps=None, which stands for another number"),
        (lambda x: x @ torch.ones(4), "matmul.default at module '1.0' of a vector"),
        (lambda x: (x, x), "must return one tensor, got 2"),
        (lambda x: torch.ones(1, 2), "must return a tensor that depends on its input"),
        (lambda x: functional.conv2d(x[0], torch.ones(1, 2, 1, 1)), "without a batch axis"),
    ],
)
def test_what_has_no_real_function_here_is_named(function, text):
    with pytest.raises(CaptureError, match=text):
        capture(inner(function), X)


def test_a_part_in_train_mode_is_named():
    model = inner(torch.tanh)
    model[1].train()
    with pytest.raises(OptionError, match=r"module '1' is in train mode; call model.eval"):
        capture(model, X)


@pytest.mark.rows("value", [float("nan"), float("inf")])
def test_a_parameter_that_is_not_finite_is_named(value):
    model = VQVAE(VQVAEConfig(hidden=4, dim=2, codebook_size=4), generator=torch.Generator()).eval()
    with torch.no_grad():
        model.encoder.body[2].weight[1, 0, 2, 3] = value
    text = rf"encoder.body.2.weight' must be finite, got {value} at index \(1, 0, 2, 3\)"
    with pytest.raises(NonFiniteError, match=text):
        canonical_codes(model, torch.zeros(1, 3, 8, 8))


@pytest.mark.rows(
    ("batch", "error", "text"),
    [
        (torch.tensor([[0.0, float("nan")]]), NonFiniteError, r"got nan at index \(0, 1\)"),
        (torch.zeros(1, 2, dtype=torch.int64), DTypeError, "or uint8, got torch.int64"),
        (torch.zeros(1, 2).to_sparse(), DTypeError, "torch.sparse"),
        (torch.zeros(1, 2, device="meta"), DTypeError, "without numbers"),
        ([[0.0, 1.0]], DTypeError, "got list"),
    ],
)
def test_inputs_that_are_no_numbers_are_named(batch, error, text):
    with pytest.raises(error, match=text):
        canonical_codes(nn.Tanh().eval(), batch, codebook=torch.ones(3, 2))


LARGE = 2**53 + 1


@pytest.mark.rows(
    ("function", "text"),
    [
        (lambda x: x + LARGE, r"other of operator aten.add.Tensor at module '1.0' must .* of at"),
        (lambda x: x * -LARGE, rf"must be an integer of at most 2\^53, got -{LARGE}, which"),
        (lambda x: torch.rsub(x, LARGE), "other of operator aten.rsub.Scalar"),
        (lambda x: x + torch.full((2,), LARGE, dtype=torch.float64), "fill_value of operator"),
    ],
)
def test_an_integer_that_float64_rounds_is_named(function, text):
    with pytest.raises(CaptureError, match=text):
        capture(inner(function), torch.zeros(1, 2))


@pytest.mark.rows("value", [LARGE, -LARGE, -(2**63)])
def test_a_stored_integer_that_float64_rounds_is_named(value):
    model = inner(lambda x: x)
    model[1].register_buffer("offset", torch.tensor([2**53, value]))
    model[1][0].function = lambda x: x + model[1].offset
    with pytest.raises(CaptureError, match=rf"offset' at index \(1,\) .* got {value}, which"):
        capture(model, torch.zeros(1, 2))
    model[1].offset[1] = -(2**53)
    assert len(capture(model, torch.zeros(1, 2)).steps) == 1


def normed_weight(x):
    weight = torch._weight_norm(torch.tanh(x).reshape(2, 1), torch.ones(2, 1))
    return functional.linear(torch.ones(1, 1), weight)


def with_computed(name):
    def normed(x):
        stored = {"running_mean": torch.zeros(2), "running_var": torch.ones(2)}
        stored[name] = torch.tanh(x)[0] + 0.7
        return functional.batch_norm(x, **stored)

    return normed


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (normed_weight, "_weight_norm.default at .* of computed numbers has no rule; store v and"),
        (with_computed("running_mean"), "batch_norm.* of computed numbers .* mean and variance"),
        (with_computed("running_var"), "batch_norm.* of computed numbers .* mean and variance"),
    ],
)
def test_a_norm_whose_numbers_must_be_stored_names_computed_ones(function, text):
    with pytest.raises(CaptureError, match=text):
        canonical_codes(inner(function), torch.ones(1, 2), codebook=torch.ones(3, 2))


def test_a_quotient_by_zero_is_named():
    model, codebook = inner(lambda x: 1 / (x - x)), torch.ones(3, 2)
    with pytest.raises(NonFiniteError, match="reciprocal.default at module '1.0' divides by 0"):
        canonical_codes(model, torch.ones(1, 2), codebook=codebook)


def test_windows_name_their_places():
    windows = windows_of((2,), [2], [1], [1])
    assert windows == Windows((2,), (2,), ((1, 1),), (1,))
    assert windows.places((3,)).tolist() == [[-1, 1], [0, 2]]
    assert windows_of((4,), 1, "same", 1).padding == ((1, 2),)


def test_entries_of_a_mask_stand_in_order():
    mask = torch.tensor([[True, False], [True, True]]).numpy()
    assert tensor_entries(mask, "abc").tolist() == [["a", None], ["b", "c"]]


def test_threads_may_capture_at_once():
    """torch.export itself fails if two threads export."""
    models = [nn.Conv1d(1, 2, 3).eval() for _ in range(12)]
    with ThreadPoolExecutor(4) as threads:
        networks = list(threads.map(lambda model: capture(model, torch.zeros(1, 1, 9)), models))
    assert {network.output.shape for network in networks} == {(1, 2, 7)}
