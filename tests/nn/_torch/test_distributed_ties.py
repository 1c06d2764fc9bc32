"""What a forward pass writes to a codebook outlives it, also where FSDP holds the codebook."""

import pytest
import torch
from torch import nn

import certvq
from certvq.compat import vector_quantize_pytorch as vq
from certvq.errors import DistributedError
from certvq.nn import (
    EMA,
    Gradient,
    LatentQuantize,
    Neural,
    ResidualVQ,
    Revive,
    SimVQ,
    Uniform,
    VectorQuantize,
)
from certvq.nn._torch.distributed import Ties

FAR = torch.tensor([[10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [40.0, 40.0]])[None]


def shard(how, layer):
    """Wrap a layer behind an identity map."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    model = nn.Sequential(nn.Linear(2, 2, bias=False), layer)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    if how.startswith("fsdp1"):
        original = how.endswith("original")
        return FullyShardedDataParallel(
            model, use_orig_params=original, device_id=torch.device("cpu")
        )
    mesh = init_device_mesh("cpu", (2,))
    if how == "own":
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def train(model, optimizer, x):
    quantized, _, loss = model(x)
    (loss + 0.0 * quantized.sum()).sum().backward()
    optimizer.step()
    return loss.sum().item()


def start_and_revive(rank, how):
    """Return losses of steps of length zero, and where the code vectors are."""
    layer = VectorQuantize(2, 4, update=Gradient())
    model = shard(how, layer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    losses = [train(model, optimizer, FAR) for _ in range(2)]
    layer.statistics.counts[0] = 100.0  # so the others are dead
    losses += [train(model, optimizer, FAR + 100.0) for _ in range(2)]
    return losses, places(model)


def places(model):
    return sorted(model.state_dict()["1.codebook"].full_tensor()[:, 0].tolist())


@pytest.mark.parametrize("how", ["own", "whole"])
def test_starts_and_revived_codes_outlive_the_forward_pass_under_fsdp2(how, pair):
    for losses, (old, *new) in pair.run(start_and_revive, how):
        assert losses[:2] == [0.0, 0.0]
        assert losses[2] == losses[3] > 0.0
        assert old in FAR
        assert {110.0, 120.0, 130.0, 140.0} > set(new)
        assert len(set(new)) == 3


def fail_after_the_start(rank):
    layer = VectorQuantize(2, 4, update=Gradient())
    model = shard("own", layer)
    before = places(model)

    def stop(_tokens):
        assert layer.started
        raise KeyboardInterrupt

    layer.choose_tokens = stop
    with pytest.raises(KeyboardInterrupt):
        model(FAR)
    assert not layer.started
    assert places(model) == before


def test_what_fails_is_put_back_in_the_shards(pair):
    pair.run(fail_after_the_start)


def fail_under_fsdp1(rank, how):
    texts = []
    for options in ({"update": Gradient()}, {}, {"update": Gradient(), "start": Uniform()}):
        layer = VectorQuantize(2, 4, **options, revive=None if len(options) == 2 else Revive())
        model = shard(how, layer)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        try:
            texts.append(train(model, optimizer, FAR) and "trained")
        except DistributedError as error:
            texts.append(str(error))
    return [text or "trained" for text in texts]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["fsdp1", "fsdp1 original"])
def test_fsdp1_is_refused_where_it_would_lose_code_vectors(how, pair):
    for refused, averaged, fixed in pair.run(fail_under_fsdp1, how):
        assert refused.startswith("VectorQuantize(dim=2, codebook_size=4) starts or revives")
        assert "use fully_shard (FSDP2)" in refused
        assert averaged == fixed == "trained"


def share_with_too_few(rank):
    layer = VectorQuantize(2, 4, update=Gradient(), process_group=False)
    model = shard("own", layer)
    with pytest.raises(DistributedError, match="shards of 2 processes.* shares it with 1"):
        model(FAR)


def test_shards_of_more_processes_than_learn_are_refused(pair):
    pair.run(share_with_too_few)


def audit_in_shards(rank):
    """Forward, audit and patch models whose parameters FSDP2 frees after each forward pass."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    learns = {"learnable_codebook": True, "ema_update": False}
    layers = [
        VectorQuantize(2, 32, update=Gradient()),
        ResidualVQ(2, 32, num_quantizers=2, neural=Neural(depth=1)),
        LatentQuantize((5, 5)),
        SimVQ(2, 32),
        vq.VectorQuantize(dim=2, codebook_size=32, **learns),
        vq.VectorQuantize(dim=2, codebook_size=32, orthogonal_reg_weight=1.0),
        vq.SimVQ(dim=2, codebook_size=32),
    ]
    for layer in layers:
        model = shard("own", layer)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        x = torch.randn(2, 300, 2)
        for _ in range(2):
            train(model, optimizer, x)
        model.eval()
        for _ in range(2):
            model(x)
        with torch.no_grad():
            expected = model(x)[1]
        certvq.audit_module(model, [x])
        certvq.patch_module(model)
        with torch.no_grad():
            assert torch.equal(model(x)[1], expected)
    for layer in (layers[0], *layers[2:4]):
        with pytest.raises(DistributedError, match="register_fsdp_forward_method"):
            layer.encode(x)
        with pytest.raises(DistributedError, match="register_fsdp_forward_method"):
            layer.decode(torch.zeros(1, 1).long())
    register_fsdp_forward_method(layers[0], "encode")
    assert layers[0].encode(x).shape == (2, 300)


def test_parameters_can_be_freed_after_a_forward_pass_on_the_cpu(pair):
    pair.run(audit_in_shards)


def test_copies_know_nothing_of_shards():
    ties = Ties(False, "a layer")
    ties.shard = object()
    assert ties.__deepcopy__({}).shard is None
    assert ties.__reduce__() == (Ties, (False, "a layer"))
    assert Ties(None, "a layer").__reduce__() == (Ties, (None, "a layer"))
    assert not VectorQuantize(2, 4, update=EMA()).book.ties.in_shards(torch.zeros(1))
