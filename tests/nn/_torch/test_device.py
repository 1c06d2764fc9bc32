"""Layers and what they are given must be on one device; that of numbers nowhere stands for others.

Where there is one device with numbers only, `meta` is the other one; fake tensors say that they are
on a GPU.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from certvq.errors import DeviceError
from certvq.nn import PADDING, HierarchicalVQ, VectorQuantize
from certvq.nn._core.latents import kept_rows, require_same_device
from certvq.nn._torch.device import default_device


def test_the_same_device_and_layers_without_numbers_pass():
    meta = torch.zeros(2, device="meta")
    assert require_same_device(nn.Linear(2, 2), torch.zeros(2), "latents") is None
    assert require_same_device(nn.Linear(2, 2, device="meta"), meta, "latents") is None
    assert require_same_device(nn.Identity(), meta, "latents") is None


def test_a_layer_without_numbers_is_named():
    layer = nn.BatchNorm1d(2, affine=False, device="meta")  # buffers only
    match = (
        r"^codes and the layer must be on one device, got codes on cpu and BatchNorm1d on meta; "
        "give the layer numbers with .to_empty and load_state_dict$"
    )
    with pytest.raises(DeviceError, match=match):
        require_same_device(layer, torch.zeros(2), "codes")


def test_tensors_without_numbers_are_named():
    match = "got images on meta and Linear on cpu; make images elsewhere, for the meta device has"
    with pytest.raises(DeviceError, match=match):
        require_same_device(nn.Linear(2, 2), torch.zeros(2, device="meta"), "images")


@pytest.mark.parametrize("layer", [VectorQuantize(4, 5), HierarchicalVQ(4, 5, scales=[1, 4])])
def test_tensors_of_a_gpu_are_refused_by_layers_of_the_cpu(layer):
    with FakeTensorMode():
        latents = torch.zeros(2, 4, 4, device="cuda")
        codes = torch.zeros(2, 4, dtype=torch.int64, device="cuda")
    for mode in (True, False):
        layer.train(mode)
        for method in (layer, layer.encode):
            with pytest.raises(DeviceError, match=r"latents on cuda:0 and \w+VQ|VectorQ.* on cpu"):
                method(latents)
        with pytest.raises(DeviceError, match=r"codes on cuda:0 .* on cpu; move one of them with"):
            layer.decode(codes)


def test_the_rows_that_a_mask_keeps_are_where_the_latents_are():
    mask = torch.tensor([True, False, True])
    assert kept_rows(mask, (3,), torch.device("meta")).device.type == "meta"
    assert VectorQuantize(4, 5).encode(torch.zeros(1, 3, 4), mask[None])[0, 1] == PADDING


def test_the_default_device_is_where_torch_makes_tensors():
    assert default_device().type == "cpu"
    with torch.device("meta"):
        assert default_device().type == "meta"
    torch.set_default_device("meta")
    try:
        assert default_device().type == "meta"
    finally:
        torch.set_default_device(None)
