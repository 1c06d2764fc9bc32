"""Training steps that happen as a whole or not at all."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.nn import (
    Gradient,
    GroupedResidualVQ,
    HierarchicalVQ,
    LevelDropout,
    Online,
    ResidualVQ,
    VectorQuantize,
)
from certvq.nn._torch.transaction import all_or_nothing


class Learner(nn.Module):
    """Everything that a step can change: buffers, a parameter, a generator, and state beside."""

    def __init__(self, generator=None):
        super().__init__()
        self.register_buffer("counts", torch.tensor([1.0, -0.0]))
        self.register_buffer("started", torch.tensor(False))
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.generator = generator
        self.beside = 1

    def remember(self):
        old = self.beside

        def restore():
            self.beside = old

        return restore

    def change(self):
        with torch.no_grad():
            for tensor in (self.counts, self.started, self.weight):
                tensor.fill_(7)
        self.beside = 7
        return torch.rand(1, generator=self.generator)


def state_of(module):
    tensors = [module.counts, module.started, module.weight.detach()]
    return [[t.tolist() for t in tensors], torch.signbit(module.counts).tolist(), module.beside]


def fail(module, error=NonFiniteError, tokens=None, step=None, **options):
    """Change everything, or do what `step` does, and then raise."""

    def body():
        (step or module.change)()
        raise error

    with pytest.raises(error):
        all_or_nothing(module, torch.ones(1, 1) if tokens is None else tokens, body, **options)


@pytest.mark.parametrize("error", [NonFiniteError, RuntimeError, KeyboardInterrupt])
def test_whatever_is_raised_all_is_put_back(error, seeded):
    module = Learner(seeded(3))
    before = state_of(module)
    fail(module, error)
    assert state_of(module) == before
    assert torch.equal(module.change(), Learner(seeded(3)).change())


def test_what_does_not_fail_stays():
    module = Learner()
    assert all_or_nothing(module, torch.ones(1, 1), module.change).shape == (1,)
    assert module.counts.tolist() == [7.0, 7.0]
    assert module.beside == 7


def test_the_default_generator_is_put_back_where_a_module_draws_from_it():
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        fail(Learner())
        assert torch.equal(torch.get_rng_state(), before)


def test_the_default_generator_is_left_alone_where_none_draws_from_it(seeded):
    """Another thread may draw from it meanwhile."""
    module = Learner(seeded())
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        fail(module, step=lambda: torch.rand(1))
        assert not torch.equal(torch.get_rng_state(), before)


def test_eval_mode_copies_nothing_but_where_it_is_told_that_it_learns():
    module = Learner().eval()
    fail(module)
    assert module.beside == 7
    module = Learner().eval()
    fail(module, learns=True)
    assert module.beside == 1


def test_tokens_without_numbers_copy_nothing():
    module = Learner()
    fail(module, tokens=torch.ones(1, 1, device="meta"))
    assert module.beside == 7


def test_a_step_within_a_step_is_part_of_it(seeded):
    """The inner one makes no copy; what it did before it succeeded is put back, too."""
    outer = nn.ModuleList([Learner(seeded()), Learner(seeded(1))])
    before = [state_of(part) for part in outer]

    def step():
        all_or_nothing(outer[0], torch.ones(1, 1), outer[0].change)
        fail(outer[1])
        assert outer[1].beside == 7

    fail(outer, step=step)
    assert [state_of(part) for part in outer] == before
    fail(outer[1])  # the outer step is over
    assert state_of(outer[1]) == before[1]


def test_backward_passes_through_what_was_not_written_stay_valid():
    module = Learner()
    loss = (module.weight * module.weight).sum()
    fail(module, step=lambda: module.counts.fill_(3))
    assert module.counts.tolist() == [1.0, 0.0]
    loss.backward()
    assert module.weight.grad.tolist() == [2.0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's
def test_under_torch_func_no_optimiser_is_put_back(seeded):
    """Its tensors would be those of the transformation, which do not outlive it."""
    update = Online(partial(torch.optim.SGD, lr=0.1), immediate=True)
    layer = VectorQuantize(2, 4, update=update, generator=seeded())
    twin = copy.deepcopy(layer)
    batches = [torch.randn(1, 8, 2, generator=seeded(step)) for step in range(3)]
    for one in (layer, twin):
        one(batches[0])
    torch.func.grad(lambda x: fail(layer, tokens=x, step=x.sum) or x.sum())(batches[0])
    for x in batches[1:]:
        assert torch.equal(layer(x).codes, twin(x).codes)
        assert torch.equal(layer.codebook, twin.codebook)


MASK = torch.arange(12).reshape(2, 6) % 4 > 0
CASES = {
    "averages": lambda g: VectorQuantize(4, 8, generator=g),
    "inner optimiser": lambda g: VectorQuantize(
        4, 8, update=Online(partial(torch.optim.Adam, lr=0.1), immediate=True), generator=g
    ),
    "residual": lambda g: ResidualVQ(
        4, 8, num_quantizers=3, dropout=LevelDropout(), update=Gradient(), generator=g
    ),
    "groups": lambda g: GroupedResidualVQ(4, 8, groups=2, num_quantizers=2, generator=g),
    "scales": lambda g: HierarchicalVQ(
        4, 8, [1, 3, 6], layout="b n d", dropout=LevelDropout(), generator=g
    ),
}


@pytest.mark.parametrize(
    ("name", "steps"), [("averages", 0), ("scales", 0), *((name, 2) for name in CASES)]
)
def test_ctrl_c_at_any_line_of_a_forward_pass_undoes_all(
    name, steps, seeded, snapshot, unchanged, interrupt_everywhere
):
    """Also at the last lines, when all has been learned and padding is put back."""
    layer = CASES[name](seeded())
    x = torch.randn(2, 6, 4, generator=seeded(1))
    for _ in range(steps):
        layer(x, MASK)
    before, drawn, figures = snapshot(layer), layer.generator.get_state(), layer.latest

    def check(layer, line):
        assert unchanged(layer, before), line
        assert torch.equal(layer.generator.get_state(), drawn), line
        assert layer.latest is figures, line

    assert interrupt_everywhere(layer, lambda layer: layer(x, MASK), check) > 100
