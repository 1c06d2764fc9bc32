"""Two processes train the original's classes: one state, to the bit."""

import subprocess
import sys
import textwrap

WORKER = """
    import functools, inspect, os, sys, torch
    from torch import distributed
    from certvq.compat.vector_quantize_pytorch import GroupedResidualVQ, ResidualVQ, VectorQuantize
    from certvq.compat.vector_quantize_pytorch import lookup_free_quantization

    rank, store = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inner = functools.partial(torch.optim.SGD, lr=0.5, momentum=0.5)
    learns = {"learnable_codebook": True, "ema_update": False}
    vq = {"dim": 4, "codebook_size": 8}
    layers = {
        "ema": VectorQuantize(**vq),
        "kmeans and dead codes": VectorQuantize(
            **vq, kmeans_init=True, threshold_ema_dead_code=2
        ),
        "cosine": VectorQuantize(**vq, use_cosine_sim=True),
        "separate": VectorQuantize(
            **vq, heads=2, codebook_dim=2, separate_codebook_per_head=True, kmeans_init=True
        ),
        "affine": VectorQuantize(**vq, affine_param=True),
        "inner optimiser": VectorQuantize(**vq, **learns, in_place_codebook_optimizer=inner),
        "residual": ResidualVQ(**vq, num_quantizers=3, kmeans_init=True, quantize_dropout=True),
        "residual, dead codes": ResidualVQ(**vq, num_quantizers=2, threshold_ema_dead_code=2),
        "residual, shared": ResidualVQ(**vq, num_quantizers=3, shared_codebook=True),
        "groups": GroupedResidualVQ(**vq, groups=2, num_quantizers=2, kmeans_init=True),
    }
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), VectorQuantize(**vq))

    def tensors(layer):  # an inner optimiser's state is a dictionary
        found = []
        def collect(value):
            if isinstance(value, torch.Tensor):
                found.append(value)
            elif isinstance(value, dict):
                [collect(value[key]) for key in value]
            elif isinstance(value, (list, tuple)):
                [collect(each) for each in value]
        collect(dict(layer.state_dict()))
        return found

    torch.manual_seed(1 + rank)  # the layers were made before there were processes
    distributed.init_process_group(
        "gloo", init_method="file://" + store, rank=rank, world_size=2
    )
    for name, layer in layers.items():
        start = [t.detach().clone() for t in tensors(layer)]
        for step in range(4):
            indices = layer(torch.randn(3, 6, 4) + 10 * rank)[1]
            if rank == 0:
                layer.state_dict()  # looking on one process asks nobody
            state = [t.detach().double().flatten() for t in tensors(layer)]
            depth = (indices[..., 0, :] >= 0).sum() if name == "residual" else torch.tensor(0)
            mine = torch.cat([*state, depth.double().reshape(1)])
            first = mine.clone()
            distributed.broadcast(first, src=0)
            assert torch.equal(mine, first), f"{name}, step {step}: differs on rank {rank}"
        layer.eval()
        changed = [not torch.equal(a, b) for a, b in zip(start, tensors(layer))]
        assert any(changed), f"{name}: nothing was learned"
        book = layer._codebook.embed if isinstance(layer, VectorQuantize) else layer.codebooks
        mine, first = book.detach().clone(), book.detach().clone()
        distributed.broadcast(first, src=0)
        assert torch.equal(mine, first), f"{name}: codebooks differ on rank {rank}"
        if name == "ema":  # codes of both processes' tokens: one near 0, one near 10
            far = mine.flatten(0, -2).mean(1).max()
            assert far > 5.0, f"{name}: rank {rank} did not learn from the other, {far}"

    value = torch.tensor([1.0 + 2 * rank], requires_grad=True)
    mean = lookup_free_quantization.maybe_distributed_mean(value)
    mean.sum().backward()
    assert (mean.item(), value.grad.item()) == (2.0, 1.0)

    parallel = torch.nn.parallel.DistributedDataParallel
    new = "forward_sync_buffers" in inspect.signature(parallel).parameters
    # nothing but the layer itself keeps its buffers equal
    unsynchronised = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    wrapped = parallel(model, **unsynchronised)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        quantized, _, loss = wrapped(torch.randn(3, 6, 4) + rank)
        (quantized.square().mean() + loss).backward()
        optimizer.step()
        state = [t.detach().double().flatten() for t in wrapped.state_dict().values()]
        mine = torch.cat(state)
        first = mine.clone()
        distributed.broadcast(first, src=0)
        assert torch.equal(mine, first), f"DistributedDataParallel, step {step}"
    del wrapped  # its reducer has threads, and must go before the group
    distributed.barrier()
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads sometimes abort a process that tears torch down
"""


def test_two_processes_keep_one_state(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), str(rank), str(tmp_path / "store")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = [worker.communicate(timeout=200) for worker in workers]
    texts = "\n".join(errors for _, errors in done)
    assert [worker.returncode for worker in workers] == [0, 0], texts
