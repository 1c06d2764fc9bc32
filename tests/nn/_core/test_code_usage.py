"""Codes are counted over batches and processes, not averaged."""

import subprocess
import sys
import textwrap

import pytest
import torch

from certvq.errors import DTypeError, ShapeError
from certvq.nn import FSQ, CodeUsage, ResidualVQ


def test_batches_add_up(seeded):
    layer = ResidualVQ(2, [4, 3], num_quantizers=2)
    usage = CodeUsage(layer)
    assert usage.compute() == {}
    codes = [layer(torch.randn(1, 3, 2, generator=seeded(step))).codes for step in range(5)]
    for each in codes:
        usage.update(each)
    layer._codes, layer.latest = torch.cat(codes, dim=1), {}
    assert usage.compute() == layer.metrics()
    usage.reset()
    usage.update(codes[0])
    layer._codes = codes[0]
    assert usage.compute() == layer.metrics()


def test_what_are_no_codes_of_the_layer_is_refused():
    usage = CodeUsage(FSQ((3, 3)))
    with pytest.raises(ShapeError, match=r"codes must have 2 axes, got shape \(2, 3, 4\)"):
        usage.update(torch.zeros(2, 3, 4, dtype=torch.int64))
    with pytest.raises(DTypeError, match="codes must be integers, got float32"):
        usage.update(torch.zeros(2, 3))


WORKER = """
    import sys, torch
    from datetime import timedelta
    from torch import distributed
    from certvq.nn import FSQ, CodeUsage

    rank, path = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group(
        "gloo", f"file://{path}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
    )
    layer = FSQ((2, 2), preserve_symmetry=True)
    usage, alone = CodeUsage(layer), CodeUsage(layer, process_group=False)
    for each in (usage, alone):
        if rank == 1:  # the other one had no batch
            each.update(torch.tensor([[3, 3, 1]]))
    assert usage.compute()["codebook_usage"] == 0.5
    assert alone.compute().get("codebook_usage", 0.0) == 0.5 * rank
    usage.update(torch.tensor([[rank]]))
    assert usage.compute()["dead_codes"] == 1.0
    distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_add_up(tmp_path):
    script = textwrap.dedent(WORKER)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(tmp_path / "store")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
