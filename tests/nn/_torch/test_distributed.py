"""Two processes train one codebook: the same on both, from the data of both; nobody hangs."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import distributed

from certvq.compat.vector_quantize_pytorch import VectorQuantize as Compat
from certvq.errors import DistributedError, NonFiniteError, OptionError
from certvq.nn import EMA, LFQ, Entropy, Uniform, VectorQuantize
from certvq.nn._scalar.bit_entropy import batch_entropy
from certvq.nn._torch import distributed as _distributed


def train_one_codebook(rank):
    from pair import agree

    layer = VectorQuantize(2, 16)  # built before the group exists
    mean = VectorQuantize(1, 1, update=EMA(decay=0.0), start=Uniform(), revive=None)
    yield
    for step in range(6):
        layer(torch.randn(1, 30, 2) + 100 * rank)
        agree(layer.state_dict(), step)
    assert bool((layer.codebook > 50).any()), "codes saw the data of rank 1"
    for _ in range(2):
        mean(torch.full((1, 3, 1), float(rank)))
    assert abs(float(mean.codebook) - 0.5) < 1e-4, float(mean.codebook)
    before = mean.codebook.clone()
    bad = torch.zeros(1, 3, 1)
    bad[0, 2, 0] = float("nan") if rank == 1 else 0.0
    with pytest.raises(NonFiniteError) as caught:
        mean(bad)
    assert torch.equal(mean.codebook, before)
    return str(caught.value)


def test_two_processes_keep_one_codebook(pair):
    first, second = pair.run(train_one_codebook)
    assert "those of another process are not" in first
    assert "got nan at row 2, column 0" in second


def start_unlike(rank, where):
    """The processes have other numbers, or one of them has gone on from a checkpoint."""
    from pair import agree

    layer = VectorQuantize(2, 4, start=Uniform())
    if where == "compat":
        layer = Compat(dim=2, codebook_size=4)
    elif rank == 0:
        other = VectorQuantize(2, 4, start=Uniform(), process_group=False)
        for _ in range(3):
            other(torch.randn(1, 9, 2))
        layer.load_state_dict(other.state_dict())
    for step in range(2):
        layer(torch.randn(1, 9, 2))
        agree(layer.state_dict(), step)


@pytest.mark.parametrize("where", ["nn", "compat"])
def test_processes_take_over_the_state_of_the_first_one(where, pair):
    pair.run(start_unlike, where)


def train_in_groups(rank):
    """Each process in a group of its own learns alone; so does one that shares with nobody."""
    own = [distributed.new_group([one]) for one in range(2)][rank]
    both = distributed.new_group([0, 1])
    codebooks = []
    for group in (own, False, both):
        layer = VectorQuantize(1, 1, update=EMA(decay=0.0), start=Uniform(), process_group=group)
        layer.codebook.zero_()
        layer = deepcopy(layer)
        assert layer.process_group is group
        for _ in range(2):
            layer(torch.full((1, 3, 1), float(rank)))
        codebooks.append(round(float(layer.codebook), 3))
        copy = pickle.loads(pickle.dumps(layer))  # noqa: S301 (made here)
        assert copy.process_group is (False if group is False else None)
    return codebooks


def test_a_layer_shares_with_its_process_group(pair):
    assert pair.run(train_in_groups) == [[0.0, 0.0, 0.5], [1.0, 1.0, 0.5]]


def forward_unlike_often(rank):
    """One process makes three forwards, the other one two."""
    layer = VectorQuantize(4, 8)
    for _ in range(2):
        layer(torch.randn(2, 30, 4))
    if rank == 1:
        return ""
    with pytest.raises(DistributedError) as caught:
        layer(torch.randn(2, 30, 4))
    return str(caught.value)


def wait_elsewhere(rank):
    """The one with two stays, and waits for the other one at another place."""
    text = forward_unlike_often(rank)
    if rank == 1:
        with pytest.raises(RuntimeError):
            distributed.barrier()
    return text


@pytest.mark.parametrize(
    ("scenario", "cause"), [(forward_unlike_often, "onnection"), (wait_elsewhere, "Timed out")]
)
def test_a_process_that_leaves_early_is_named(pair, scenario, cause):
    text, _ = pair.run(scenario, timeout=2.0, limit=60.0)
    assert text.startswith("VectorQuantize(dim=4, codebook_size=8) shares what it learns with 2")
    assert "same training forwards" in text
    assert "process_group=False" in text
    assert cause in text


def meet_join(rank):
    """A layer with a group of its own, outside of the model that Join knows."""
    layer = VectorQuantize(4, 8, process_group=distributed.new_group())
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
    try:
        with distributed.algorithms.join.Join([model]):
            for _ in range(3 - rank):
                layer(model(torch.randn(2, 30, 4))).loss.backward()
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"
    return "went on"


def test_a_layer_with_a_group_of_its_own_is_not_mixed_up_with_others(pair):
    first, _ = pair.run(meet_join, timeout=2.0)
    assert first.startswith("DistributedError: VectorQuantize(dim=4")


def join(rank, share, throw):
    layer = VectorQuantize(4, 8, process_group=None if share else False)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
    model = torch.nn.parallel.DistributedDataParallel(model)
    try:
        with distributed.algorithms.join.Join([model], throw_on_early_termination=throw):
            for _ in range(3 - rank):
                quantized, _, loss = model(torch.randn(2, 30, 4))
                (quantized.sum() + loss).backward()
    except (DistributedError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "went on"


@pytest.mark.parametrize(
    ("share", "throw", "texts"),
    [
        (False, False, ["went on", "went on"]),
        (True, False, ["DistributedError: VectorQuantize", "DistributedError: VectorQuantize"]),
        (True, True, ["RuntimeError: Detected at least one rank", "RuntimeError: Rank 1 exhaus"]),
    ],
)
def test_join_goes_on_or_ends_with_a_named_error(pair, share, throw, texts):
    for text, expected in zip(pair.run(join, share, throw), texts, strict=True):
        assert text.startswith(expected)


def take_entropies(rank):
    """Values agree, and gradients average to those of one process with all latents."""
    seed = torch.Generator().manual_seed(0)
    whole = torch.randn(9, 4, generator=seed, dtype=torch.float64).requires_grad_()
    expected = batch_entropy(whole)
    (gradient,) = torch.autograd.grad(expected, whole)
    rows = slice(0, 3) if rank == 0 else slice(3, 9)
    part = whole[rows].detach().requires_grad_()
    value = batch_entropy(part, peers=_distributed.Peers(None, "an entropy"))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, part)[0] / 2, gradient[rows])
    found = []
    for entropy in (Entropy(process_group=None), Entropy()):
        layer = LFQ(4, entropy=entropy).double()
        layer(part.detach()[None])
        found.append(layer.metrics()["batch_entropy"])
    return found


def test_an_entropy_is_that_of_its_process_group(pair):
    """By default that of the process alone, as of every other loss."""
    (shared, alone), (same, other) = pair.run(take_entropies)
    assert shared == same
    assert len({shared, alone, other}) == 3


def test_one_process_decides_alone():
    peers = _distributed.Peers(None, "a layer")
    assert not peers.together()
    assert peers.is_first()
    assert peers.size() == 1
    tensor = torch.ones(2)
    assert peers.add(tensor) is tensor
    assert tensor.tolist() == [1.0, 1.0]
    peers.copy_from_first([tensor])
    layer = VectorQuantize(1, 1)
    _distributed.raise_together(layer, None, torch.device("cpu"))
    with pytest.raises(NonFiniteError, match="mine"):
        _distributed.raise_together(layer, NonFiniteError("mine"), torch.device("cpu"))


def test_what_is_no_process_group_is_refused():
    wrong = r"ProcessGroup .* None .* or False .*, got True"
    with pytest.raises(OptionError, match=wrong):
        VectorQuantize(2, 2, process_group=True)
    with pytest.raises(OptionError, match=wrong):
        Entropy(process_group=True)
    layer = VectorQuantize(2, 2)
    with pytest.raises(OptionError, match=wrong):
        layer.process_group = True
