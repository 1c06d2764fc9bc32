"""Every family in two processes: who asks whom, and DDP and FSDP2 learn the same numbers."""

import copy
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from certvq.errors import NonFiniteError
from certvq.nn import VectorQuantize
from certvq.nn._torch.distributed import peers_of

pytestmark = pytest.mark.slow

CONTRACT = str(Path(__file__).parent / "test_contract.py")


def models(path):
    """Build a model of each family, the same in both processes."""
    from pair import load

    for name, make, _ in load(path).ALL:
        torch.manual_seed(0)
        layer = make(layout="b n d", generator=torch.Generator().manual_seed(0))
        yield name, nn.Sequential(nn.Linear(4, 4), layer)


def forward_alone(rank, path):
    """The first process makes forwards that the other one does not make; return who shares."""
    from pair import agree

    shared = []
    for name, model in models(path):
        layer, x = model[1], torch.randn(2, 8, 4)
        shares = any(isinstance(part, VectorQuantize) for part in layer.modules())
        assert bool(peers_of(layer)) == shares, name
        layer(x)
        if rank == 0:
            layer.eval()
            assert not peers_of(layer)
            layer.decode(layer(x).codes)
            layer.encode(x)
            with pytest.raises(NonFiniteError):
                layer(x * torch.nan)
            layer.train()
            if not shares:
                layer(x)
        layer(x)
        if shares:
            shared.append(name)
            agree(layer.state_dict(), name)
    distributed.barrier()
    return shared


def test_eval_mode_and_what_shares_nothing_ask_nobody(pair):
    shared, _ = pair.run(forward_alone, CONTRACT)
    assert {"vector", "residual-neural", "product", "project-heads"} <= set(shared)
    assert not {"fsq", "lfq", "sim", "residual-fsq", "latent", "mapper"} & set(shared)


def train(model, rank, steps=3):
    """Train on batches of each process's own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seed = torch.Generator().manual_seed(rank)
    for _ in range(steps):
        quantized, _, loss = model(torch.randn(2, 8, 4, generator=seed) + rank)
        (quantized.square().mean() + loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def train_parallel(rank, path):
    """Train each family under DDP and under FSDP2; return where the results differ."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from pair import agree

    mesh, unlike = init_device_mesh("cpu", (2,)), []
    for name, model in models(path):
        sharded = copy.deepcopy(model)
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
        expected = train(wrapped, rank).module.state_dict()
        if peers_of(model.train()):
            agree(expected, name)
        if list(sharded[1].parameters()):
            fully_shard(sharded[1], mesh=mesh)
        found = train(fully_shard(sharded, mesh=mesh), rank).state_dict()
        for key, value in expected.items():
            other = found[key]
            if isinstance(value, torch.Tensor):
                whole = other.full_tensor() if hasattr(other, "full_tensor") else other
                if not torch.allclose(value.double(), whole.double(), atol=1e-5):
                    unlike.append(f"{name}: {key}")
    return unlike


def test_fsdp2_learns_what_ddp_does(pair):
    assert pair.run(train_parallel, CONTRACT, limit=300.0) == [[], []]


def train_narrow(rank, path):
    """Train each family under FSDP2 with parameters that it narrows to bfloat16."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh, failed = init_device_mesh("cpu", (2,)), {}
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    for name, model in models(path):
        if list(model[1].parameters()):
            fully_shard(model[1], mesh=mesh, mp_policy=policy)
        sharded = fully_shard(model, mesh=mesh, mp_policy=policy)
        try:
            train(sharded, rank)
            quantized, codes, _ = sharded(torch.ones(2, 8, 4))
        except Exception as error:  # noqa: BLE001 (reported)
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        assert quantized.isfinite().all(), name
        assert codes.shape[:2] == (2, 8), name
    return failed


def test_fsdp2_may_narrow_the_parameters(pair):
    assert pair.run(train_narrow, CONTRACT, limit=300.0) == [{}, {}]
