"""Two processes train one codebook: the same on both, from the data of both."""

import subprocess
import sys
import textwrap

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.nn._core import distributed as _distributed

WORKER = """
    import os, sys, torch
    from torch import distributed
    from certvq.errors import NonFiniteError
    from certvq.nn import EMA, Uniform, VectorQuantize

    rank, store = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    layer = VectorQuantize(2, 16)  # built before the group exists
    mean = VectorQuantize(1, 1, update=EMA(decay=0.0), start=Uniform(), revive=None)
    distributed.init_process_group(
        "gloo", init_method="file://" + store, rank=rank, world_size=2
    )
    for step in range(6):
        layer(torch.randn(1, 30, 2) + 100 * rank)
        mine = torch.cat([t.detach().double().flatten() for t in layer.state_dict().values()])
        first = mine.clone()
        distributed.broadcast(first, src=0)
        assert torch.equal(mine, first), f"step {step}: state differs on rank {rank}"
    assert bool((layer.codebook > 50).any()), "codes saw the data of rank 1"
    for _ in range(2):
        mean(torch.full((1, 3, 1), float(rank)))
    assert abs(float(mean.codebook) - 0.5) < 1e-4, float(mean.codebook)
    before = mean.codebook.clone()
    bad = torch.zeros(1, 3, 1)
    bad[0, 2, 0] = float("nan") if rank == 1 else 0.0
    try:
        mean(bad)
    except NonFiniteError as error:
        print(rank, str(error))
    assert torch.equal(mean.codebook, before)
    distributed.barrier()
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads sometimes abort a process that tears torch down
"""


def test_two_processes_keep_one_codebook(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = [worker.communicate(timeout=100) for worker in workers]
    for worker, (_, errors) in zip(workers, done, strict=True):
        assert worker.returncode == 0, errors
    assert "those of another process are not" in done[0][0]
    assert "got nan at row 2, column 0" in done[1][0]


def test_one_process_decides_alone():
    assert not _distributed.together()
    assert _distributed.is_first()
    tensor = torch.ones(2)
    assert _distributed.add_over_processes(tensor) is tensor
    assert tensor.tolist() == [1.0, 1.0]
    _distributed.copy_from_first([tensor])
    _distributed.raise_together(None, torch.device("cpu"))
    with pytest.raises(NonFiniteError, match="mine"):
        _distributed.raise_together(NonFiniteError("mine"), torch.device("cpu"))
