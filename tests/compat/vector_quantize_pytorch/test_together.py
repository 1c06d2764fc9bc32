"""Two processes train the original's classes: one state, to the bit; the rest is alone."""

import functools
import inspect
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from certvq.compat import vector_quantize_pytorch as vq
from certvq.errors import NonFiniteError

VQ = {"dim": 4, "codebook_size": 8}
LEARNS = {"learnable_codebook": True, "ema_update": False}
INNER = functools.partial(torch.optim.SGD, lr=0.5, momentum=0.5)
SHARING = {
    "VectorQuantize",
    "ResidualVQ",
    "GroupedResidualVQ",
    "HierarchicalVQ",
}
"""Classes that have a codebook to share."""


def make_layers(**sync):
    one = functools.partial(vq.VectorQuantize, **VQ, **sync)
    several = functools.partial(vq.ResidualVQ, **VQ, **sync)
    return {
        "ema": one(),
        "kmeans and dead codes": one(kmeans_init=True, threshold_ema_dead_code=2),
        "cosine": one(use_cosine_sim=True),
        "separate": one(heads=2, codebook_dim=2, separate_codebook_per_head=True, kmeans_init=True),
        "affine": one(affine_param=True),
        "inner optimiser": one(**LEARNS, in_place_codebook_optimizer=INNER),
        "residual": several(num_quantizers=3, kmeans_init=True, quantize_dropout=True),
        "residual, dead codes": several(num_quantizers=2, threshold_ema_dead_code=2),
        "residual, shared": several(num_quantizers=3, shared_codebook=True),
        "residual, networks": several(
            num_quantizers=2, implicit_neural_codebook=True, threshold_ema_dead_code=2
        ),
        "groups": vq.GroupedResidualVQ(**VQ, groups=2, num_quantizers=2, kmeans_init=True, **sync),
        "scales": vq.HierarchicalVQ(
            **VQ, scales=[1, 3, 6], channel_first=False, nested_dropout=0.5, **sync
        ),
    }


def train_layers(rank):
    from pair import agree

    torch.manual_seed(0)
    layers = make_layers()
    torch.manual_seed(1 + rank)
    yield  # the layers were made before there were processes
    for name, layer in layers.items():
        start = [tensor.clone() for tensor in tensors(layer)]
        for step in range(4):
            found = layer(torch.randn(3, 6, 4) + 10 * rank)[1]
            if rank == 0:
                layer.state_dict()  # looking on one process asks nobody
            depth = (found[..., 0, :] >= 0).sum() if name == "residual" else torch.tensor(0)
            agree([layer.state_dict(), depth], f"{name}, step {step}")
        layer.eval()
        changed = [not torch.equal(a, b) for a, b in zip(start, tensors(layer), strict=False)]
        assert any(changed), f"{name}: nothing was learned"
        mine = agree(layer.state_dict(), name)
        if name == "ema":  # codes of both processes' tokens: one near 0, one near 10
            assert layer.codebook.mean(1).max() > 5.0, f"rank {rank} did not learn from the other"
        assert len(mine)


def mean(rank):
    value = torch.tensor([1.0 + 2 * rank], requires_grad=True)
    found = vq.lookup_free_quantization.maybe_distributed_mean(value)
    found.sum().backward()
    assert (found.item(), value.grad.item()) == (2.0, 1.0)


def test_the_mean_over_processes_has_a_gradient(pair):
    pair.run(mean)


def feed(rank):
    """Learn from given codes in eval mode; refuse what one process alone gives wrongly."""
    from pair import agree

    layer = vq.VectorQuantize(**VQ, sync_codebook=True).eval()
    layer.codebook = torch.zeros(8, 4)
    codes = torch.full((3, 6), rank)
    layer.update_indices(torch.full((3, 6, 4), 1.0 + rank), codes)
    before = agree(layer.state_dict(), "update_indices")
    assert bool((layer.codebook[:2] > 0.0).all())
    with pytest.raises(NonFiniteError):
        layer.update_indices(torch.full((3, 6, 4), torch.nan if rank else 0.0), codes)
    assert torch.equal(agree(layer.state_dict(), "update_indices"), before)


def test_codes_that_are_given_teach_all_processes_in_any_mode(pair):
    pair.run(feed)


def tensors(layer):
    from torch.utils._pytree import tree_leaves

    leaves = tree_leaves(dict(layer.state_dict()))  # an inner optimiser's state is a dictionary
    return [leaf.detach() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def test_two_processes_keep_one_state(pair):
    pair.run(train_layers)


def train_parallel(rank):
    from pair import agree

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), vq.VectorQuantize(**VQ))
    torch.manual_seed(1 + rank)
    new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    # nothing but the layer itself keeps its buffers equal
    unsynchronised = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    wrapped = DistributedDataParallel(model, **unsynchronised)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        quantized, _, loss = wrapped(torch.randn(3, 6, 4) + rank)
        (quantized.square().mean() + loss).backward()
        optimizer.step()
        agree(wrapped.state_dict(), f"step {step}")


def test_buffers_agree_without_those_who_copy_them(pair):
    pair.run(train_parallel)


def forward_alone(rank, path):
    """The first process makes forwards that the other one does not make."""
    from pair import agree, load

    classes = load(path)
    torch.manual_seed(0)
    layers = {
        f"{name} {options}": classes.build(vq, name, options)
        for name, listed in classes.OPTIONS.items()
        for options in listed
    }
    layers |= {f"local, {name}": layer for name, layer in make_layers(sync_codebook=False).items()}
    layers["frozen"] = vq.VectorQuantize(**VQ, freeze_codebook=True)
    layers["frozen residual"] = vq.ResidualVQ(**VQ, num_quantizers=2, freeze_codebook=True)
    shared = []
    for name, layer in layers.items():
        kind = name.partition(" ")[0]
        x = classes.batch(kind, rank) if kind in classes.OPTIONS else torch.randn(3, 6, 4)
        alone = kind not in SHARING
        layer(x)
        if rank == 0:
            layer.eval()
            layer(x)
            with pytest.raises(NonFiniteError):
                layer(x * torch.nan)
            layer.train()
            if alone:
                layer(x)
        layer(x)
        if not alone:
            shared.append(name)
            agree(layer.eval().state_dict(), name)  # what waits is taken in
    distributed.barrier()
    return shared


def test_eval_mode_and_what_shares_nothing_ask_nobody(pair):
    path = str(Path(__file__).parent / "_classes.py")
    shared, _ = pair.run(forward_alone, path)
    assert len(shared) > 20
