"""Two processes train quantizers made of others: one state, one depth."""

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from certvq.nn import Beam, GroupedResidualVQ, HierarchicalVQ, LevelDropout, Neural, ResidualVQ


def train_composites(rank):
    from pair import agree

    drop = LevelDropout()
    torch.manual_seed(0)
    layers = [
        ResidualVQ(4, 8, num_quantizers=3, dropout=drop),
        ResidualVQ(4, 8, num_quantizers=3, dropout=drop, shared=True),
        ResidualVQ(4, 8, num_quantizers=2, neural=Neural(depth=1)),
        ResidualVQ(4, 8, num_quantizers=3, beam=Beam(3)),
        GroupedResidualVQ(4, 8, groups=2, num_quantizers=3, dropout=drop),
        HierarchicalVQ(4, 8, [1, 3, 6], layout="b n d", dropout=drop, refine=None),
    ]
    torch.manual_seed(1 + rank)
    for layer in layers:
        depths = set()
        for step in range(6):
            mask = torch.full((3, 6), step % 3 != rank)  # a process may have padding alone
            layer(torch.randn(3, 6, 4) + 10 * rank, mask)
            depth = layer.metrics()["depth"] if "depth" in layer.latest else 0.0
            depth = layer.metrics().get("group0/depth", depth)
            depths.add(depth)
            agree([layer.state_dict(), torch.tensor([depth])], f"{layer}: step {step}")
        assert len(depths) > 1 or not getattr(layer, "dropout", None), depths


def test_two_processes_keep_one_state_and_one_depth(pair):
    pair.run(train_composites)


def forward_unshared(rank):
    """The first process trains layers alone, however their codebooks are nested."""
    options = {"process_group": False, "dropout": LevelDropout()}
    layers = [
        ResidualVQ(4, 8, num_quantizers=3, **options),
        ResidualVQ(4, 8, num_quantizers=3, shared=True, **options),
        ResidualVQ(4, 8, num_quantizers=2, neural=Neural(depth=1), **options),
        GroupedResidualVQ(4, 8, groups=2, num_quantizers=3, **options),
        HierarchicalVQ(4, 8, [1, 3, 6], layout="b n d", **options),
    ]
    for layer in layers:
        for _ in range(3 - rank):
            layer(torch.randn(3, 6, 4) * 1e15)  # so far out that levels have to be asked
    distributed.barrier()


def test_process_group_false_reaches_all_codebooks(pair):
    pair.run(forward_unshared)


def train_again_in_backward(rank):
    """Whether what is computed again in a backward pass changes what is learned."""

    def train(again):
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        layer = ResidualVQ(4, 8, num_quantizers=2, generator=generator)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
        wrapped = DistributedDataParallel(model[0])
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        torch.manual_seed(1 + rank)
        for _ in range(4):
            x = wrapped(torch.randn(3, 6, 4) + rank)
            found = (
                checkpoint(lambda z: tuple(layer(z)), x, use_reentrant=False) if again else layer(x)
            )
            optimizer.zero_grad()
            (found[0].square().mean() + found[2]).backward()
            optimizer.step()
        return model.state_dict()

    plain, again = train(False), train(True)
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    distributed.barrier()


def test_gradient_checkpointing_teaches_what_a_plain_forward_does(pair):
    pair.run(train_again_in_backward)
