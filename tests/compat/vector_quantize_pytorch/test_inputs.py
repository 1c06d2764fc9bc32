"""What is no batch of latents is named by every class, and a batch without latents is none."""

import pytest
import torch

import certvq.compat.vector_quantize_pytorch as vq
from certvq.errors import DeviceError, DTypeError, ShapeError

DIM = 16
GRID = {"dim": DIM, "levels": [8, 5, 5]}
BITS = {"dim": DIM, "codebook_size": 16, "num_quantizers": 2}
BOOK = {"dim": DIM, "codebook_size": 32}
LEVELS = {**BOOK, "num_quantizers": 2}


def inner(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


LAYERS = {
    "VectorQuantize": lambda: vq.VectorQuantize(**BOOK),
    "cross entropy": lambda: vq.VectorQuantize(**BOOK, commitment_use_cross_entropy_loss=True),
    "heads": lambda: vq.VectorQuantize(**BOOK, codebook_dim=4, heads=2),
    "ResidualVQ": lambda: vq.ResidualVQ(**LEVELS),
    "GroupedResidualVQ": lambda: vq.GroupedResidualVQ(**LEVELS, groups=2),
    "SimVQ": lambda: vq.SimVQ(**BOOK),
    "ResidualSimVQ": lambda: vq.ResidualSimVQ(**LEVELS),
    "FSQ": lambda: vq.FSQ([8, 5, 5], dim=DIM),
    "FSP": lambda: vq.FSP(levels=[8, 5, 5], dim=DIM),
    "ResidualFSQ": lambda: vq.ResidualFSQ(**GRID, num_quantizers=2),
    "GroupedResidualFSQ": lambda: vq.GroupedResidualFSQ(**GRID, num_quantizers=2, groups=2),
    "LFQ": lambda: vq.LFQ(dim=DIM, codebook_size=2**DIM),
    "ResidualLFQ": lambda: vq.ResidualLFQ(**BITS),
    "GroupedResidualLFQ": lambda: vq.GroupedResidualLFQ(**BITS, groups=2),
    "LatentQuantize": lambda: vq.LatentQuantize([5, 5], 50, in_place_codebook_optimizer=inner),
    "HierarchicalVQ": lambda: vq.HierarchicalVQ(
        dim=DIM, codebook_size=32, scales=(1, 2, 4), channel_first=False
    ),
    "BinaryMapper": lambda: vq.BinaryMapper(DIM),
    "RandomProjectionQuantizer": lambda: vq.RandomProjectionQuantizer(
        **BOOK, codebook_dim=8, num_codebooks=2
    ),
}
every = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def latents():
    return torch.randn(2, 50, DIM, generator=torch.Generator().manual_seed(0))


@every
@pytest.mark.rows("mode", [True, False])
@pytest.mark.rows(
    ("change", "text"),
    [
        (torch.Tensor.long, "must be float64, float32, bfloat16 or float16, got int64"),
        (torch.Tensor.tolist, "must be a torch.Tensor, got list"),
        (torch.Tensor.numpy, "must be a torch.Tensor, got ndarray"),
        (lambda x: None, "must be a torch.Tensor, got NoneType"),
        (lambda x: x.to("meta"), "must hold numbers, got a tensor"),
        (lambda x: x.to(torch.complex64), "got complex64"),
    ],
)
def test_what_is_no_tensor_of_floats_is_named(make, mode, change, text):
    layer = make().train(mode)
    layer(latents())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(DTypeError, match=text):
        layer(change(latents()))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@every
@pytest.mark.rows("mode", [True, False])
def test_latents_on_another_device_than_the_layer_are_named(make, mode):
    layer = make().train(mode).to("meta")
    if not [*layer.parameters(), *layer.buffers()]:  # nothing of it is anywhere
        assert layer(latents())[0].device.type == "cpu"
        return
    match = rf"got latents on cpu and {type(layer).__name__} on meta; give the layer numbers"
    with pytest.raises(DeviceError, match=match):
        layer(latents())


@every
def test_a_number_is_no_batch(make):
    with pytest.raises(ShapeError):
        make()(torch.tensor(1.0))


@pytest.mark.rows("mode", [True, False])
@pytest.mark.parametrize("name", [name for name in LAYERS if name[:6] != "Random"])
def test_an_empty_batch_teaches_nothing(name, mode):
    layer = LAYERS[name]().train(mode)
    layer(latents())
    layer(latents()[:0])  # what waits of the batch before is taken in
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    found = layer(latents()[:0])
    assert found[0].shape[:2] == (0, 50)
    losses = [part for part in found[1:] if torch.is_tensor(part) and part.is_floating_point()]
    assert all(bool(torch.isfinite(loss).all()) for loss in losses)
    for part, value in layer.state_dict().items():
        assert torch.equal(value, before[part]), part


def test_no_latents_have_no_labels():
    layer = LAYERS["RandomProjectionQuantizer"]()
    assert layer(latents()[:0]).shape == (0, 50, 2)


def test_a_batch_of_padding_has_no_cross_entropy():
    layer = LAYERS["cross entropy"]()
    layer(latents())
    layer(latents(), mask=torch.zeros(2, 50, dtype=torch.bool))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    loss = layer(latents(), mask=torch.zeros(2, 50, dtype=torch.bool))[2]
    assert loss == 0.0
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_fsp_keeps_the_type_of_its_latents(dtype):
    assert vq.FSP(levels=[8, 5]).eval()(torch.randn(1, 3, 2).to(dtype))[0].dtype == dtype
