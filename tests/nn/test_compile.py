"""Training steps compile as one graph and do what they do uncompiled, state included.

Also of `certvq.nn._core.uncompiled`.
"""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from certvq.errors import NonFiniteError
from certvq.models import VQVAE, VQVAEConfig
from certvq.nn import (
    FSP,
    FSQ,
    LFQ,
    Beam,
    Diversity,
    Gradient,
    Gumbel,
    LatentQuantize,
    NoiseDropout,
    Orthogonal,
    Project,
    Reparam,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)

DIM = 8

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the compiler's own
    pytest.mark.filterwarnings("ignore:Skipping serialization:UserWarning"),  # torch 2.6's
    pytest.mark.slow,
]


@pytest.fixture(autouse=True)
def _forget_programs():
    torch.compiler.reset()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


FAMILIES = {
    "vector": lambda: VectorQuantize(DIM, 32, generator=seeded()),
    "vector-cosine": lambda: VectorQuantize(DIM, 32, metric="cosine", generator=seeded()),
    "residual": lambda: ResidualVQ(DIM, 32, num_quantizers=3, generator=seeded()),
    "fsq": lambda: FSQ([5] * DIM),
    "lfq": lambda: LFQ(DIM),
    "sim": lambda: SimVQ(DIM, 32, generator=seeded()),
    "project": lambda: Project(VectorQuantize(3, 32, generator=seeded()), DIM),
}

REGULARIZERS = (Orthogonal(max_codes=5), Diversity())
DRAWING = {
    "fsp": lambda: FSP([5] * DIM, generator=seeded()),
    "fsq-noise": lambda: FSQ([5] * DIM, preserve_symmetry=True, noise=NoiseDropout()),
    "reparam": lambda: vector(estimator=Reparam(), update=Gradient()),
    "regularized": lambda: vector(
        estimator=Gumbel(soft=True), update=Gradient(), regularizers=REGULARIZERS
    ),
}
"""Layers that draw numbers for each batch, or go over it in chunks."""


def vector(**options):
    return VectorQuantize(DIM, 32, generator=seeded(), **options)


class Step(torch.nn.Module):
    """A network, a quantizer and a loss."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Linear(DIM, DIM)
        self.quantizer = make()

    def forward(self, x):
        quantized, codes, loss = self.quantizer(self.network(x))
        return loss + quantized.square().mean(), codes


def batch(seed, *, size=4):
    return torch.randn(size, 20, DIM, generator=seeded(seed))


def same_state(left, right):
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def compare(plain, compiled, program, batches):
    """Train both; nothing may differ but what another order of additions makes of the loss."""
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (plain, compiled)]
    for x in batches:
        losses = []
        for run, optimizer in zip((plain, program), optimizers, strict=True):
            torch.manual_seed(len(x))
            loss, codes = run(x)
            optimizer.zero_grad()
            loss.backward()
            losses.append((loss.detach(), codes))
        assert torch.equal(losses[0][1], losses[1][1])
        assert torch.allclose(losses[0][0], losses[1][0])
        assert same_state(plain, compiled)


@pytest.mark.parametrize("family", [*FAMILIES, *DRAWING])
def test_a_training_step_is_one_graph_for_batches_of_all_sizes(family):
    """Torch compiles for the first size, and once more for any."""
    make = {**FAMILIES, **DRAWING}[family]
    plain, compiled = Step(make), Step(make)
    backend = CompileCounterWithBackend("aot_eager")
    program = torch.compile(compiled, fullgraph=True, backend=backend)
    compare(plain, compiled, program, [batch(size, size=size) for size in (4, 2, 5)])
    assert backend.frame_count == 2
    plain.eval(), compiled.eval()
    torch.manual_seed(0)
    expected = plain(batch(9))[1]
    torch.manual_seed(0)
    assert torch.equal(program(batch(9))[1], expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that:UserWarning")
def test_a_beam_compiles_in_pieces():
    """`certvq.rank` stays out of the compiler's sight, which warns of its own second look."""
    plain = Step(lambda: ResidualVQ(DIM, 32, num_quantizers=3, beam=Beam(3), generator=seeded()))
    compiled = copy.deepcopy(plain)
    program = torch.compile(compiled, backend="aot_eager")
    compare(plain, compiled, program, [batch(seed) for seed in range(3)])
    plain.eval(), compiled.eval()
    assert torch.equal(program(batch(9))[1], plain(batch(9))[1])
    level = plain.quantizer.quantizers[0]
    nearest = torch.compile(lambda x: level.nearest(x, 3), backend="aot_eager")
    assert torch.equal(nearest(batch(9)), level.nearest(batch(9), 3))


def test_learned_scalars_compile_but_for_the_order_of_additions():
    """Uncompiled, the gradient of the values is summed in float64."""
    plain = Step(lambda: LatentQuantize([5] * DIM))
    compiled = copy.deepcopy(plain)
    program = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for seed in range(3):
        (loss, codes), (expected, expected_codes) = program(batch(seed)), plain(batch(seed))
        loss.backward(), expected.backward()
        assert torch.equal(codes, expected_codes)
        assert torch.allclose(loss, expected)
        for left, right in zip(compiled.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(left.grad, right.grad)
    plain.eval(), compiled.eval()
    assert torch.equal(program(batch(9))[1], plain(batch(9))[1])
    compiled.quantizer.values.data[3] = float("nan")
    with pytest.raises(NonFiniteError, match="values must be finite, got nan at place 3"):
        program(batch(9))


def test_a_training_step_compiles_with_inductor():
    plain = Step(FAMILIES["residual"])
    compiled = copy.deepcopy(plain)
    program = torch.compile(compiled, fullgraph=True)
    compare(plain, compiled, program, [batch(seed) for seed in range(3)])


def test_a_model_is_one_graph():
    plain = VQVAE(VQVAEConfig.small(), generator=seeded())
    compiled = copy.deepcopy(plain)

    def run(model, images):
        output = model(images)
        return output.loss, output.codes

    step = torch.compile(run, fullgraph=True, backend="aot_eager")
    images = [torch.rand(2, 3, 16, 16, generator=seeded(seed)) for seed in range(3)]
    compare(_Bound(run, plain), _Bound(run, compiled), lambda x: step(compiled, x), images)


class _Bound(torch.nn.Module):
    def __init__(self, run, model):
        super().__init__()
        self.run, self.model = run, model

    def forward(self, images):
        return self.run(self.model, images)


@pytest.mark.parametrize("family", ["vector", "fsq"])
def test_a_bad_batch_changes_nothing_in_a_compiled_step(family):
    step = Step(FAMILIES[family])
    program = torch.compile(step, fullgraph=True, backend="aot_eager")
    program(batch(0))
    program(batch(1))
    before = copy.deepcopy(step.state_dict())
    bad = batch(2)
    bad[1, 3, 5] = float("nan")
    with pytest.raises(NonFiniteError, match="latents must be finite"):
        program(bad)
    after = step.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_copy_learns_by_itself():
    """Compiled programs know layers by numbers: a copy must not have the number of the first."""
    first = Step(FAMILIES["vector"])
    first(batch(0))
    second = copy.deepcopy(first)
    before = copy.deepcopy(first.state_dict())
    program = torch.compile(second, fullgraph=True, backend="aot_eager")
    for seed in range(1, 4):
        program(batch(seed))
    assert all(torch.equal(v, first.state_dict()[name]) for name, v in before.items())
    assert not same_state(first, second)
