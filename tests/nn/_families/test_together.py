"""Two processes train quantizers made of others: one state, one depth."""

import subprocess
import sys
import textwrap

WORKER = """
    import os, sys, torch
    from torch import distributed
    from torch.utils.checkpoint import checkpoint
    from certvq.nn import Beam, GroupedResidualVQ, HierarchicalVQ, LevelDropout, Neural, ResidualVQ

    rank, store = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
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
    distributed.init_process_group(
        "gloo", init_method="file://" + store, rank=rank, world_size=2
    )
    for layer in layers:
        depths = set()
        for step in range(6):
            mask = torch.full((3, 6), step % 3 != rank)  # a process may have padding alone
            layer(torch.randn(3, 6, 4) + 10 * rank, mask)
            depth = layer.metrics()["depth"] if "depth" in layer.latest else 0.0
            depth = layer.metrics().get("group0/depth", depth)
            depths.add(depth)
            state = [t.detach().double().flatten() for t in layer.state_dict().values()]
            mine = torch.cat([*state, torch.tensor([depth])])
            first = mine.clone()
            distributed.broadcast(first, src=0)
            assert torch.equal(mine, first), f"{layer}: step {step}: differs on rank {rank}"
        assert len(depths) > 1 or not getattr(layer, "dropout", None), depths

    def train(again):
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        layer = ResidualVQ(4, 8, num_quantizers=2, generator=generator)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
        wrapped = torch.nn.parallel.DistributedDataParallel(model[0])
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
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads sometimes abort a process that tears torch down
"""


def test_two_processes_keep_one_state_and_one_depth(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(rank), str(tmp_path / "store")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = [worker.communicate(timeout=100) for worker in workers]
    for worker, (_, errors) in zip(workers, done, strict=True):
        assert worker.returncode == 0, errors
