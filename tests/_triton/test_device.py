"""Devices that cannot run the kernels, or compute otherwise than the bounds assume, are refused."""

import pytest
import torch

from certvq._triton import INTERPRETED, _device, require_device
from certvq.errors import BackendUnavailableError, FloatEnvironmentError

from ._on import DEVICE

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _forget():
    known = ("_require_capability", "_require_subnormals", "_require_accumulation")
    for name in known:
        getattr(_device, name).cache_clear()
    yield
    for name in known:
        getattr(_device, name).cache_clear()


def test_device_at_hand_is_accepted():
    assert require_device(DEVICE) is None


def test_other_kinds_of_devices_are_refused():
    with pytest.raises(BackendUnavailableError, match="needs a CUDA device, got xpu:0; use"):
        require_device(torch.device("xpu", 0))


def test_old_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(BackendUnavailableError, match=r"capability 8\.0, got 7\.5 \(Tesla T4\)"):
        require_device(CUDA)


def test_gpus_of_other_makers_are_refused(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(BackendUnavailableError, match=r"needs a GPU of NVIDIA.*got ROCm 6\.4"):
        require_device(CUDA)


@pytest.mark.parametrize("flushed", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_devices_that_flush_subnormal_numbers_are_refused(monkeypatch, flushed):
    class Flushing:
        def __getitem__(self, grid):
            def launch(narrow, widened, count, **_):
                widened.copy_(torch.zeros(2) if narrow.dtype == flushed else narrow)

            return launch

    monkeypatch.setattr(_device, "widen", Flushing())
    match = rf"\(IEEE 754\), but \w+(:0)? reads the {flushed} number \S+ as 0\.0; use"
    with pytest.raises(FloatEnvironmentError, match=match):
        require_device(DEVICE)


class CuttingOff:
    """Tensor cores that cut addends off some bits below 1, eight at a time."""

    def __init__(self, bits):
        self.bits = bits

    def __getitem__(self, grid):
        def launch(left, right, start, sums, **_):
            products = left.double()[:, None, :] * right.double()[None]
            kept = torch.trunc(products * 2.0**self.bits) * 2.0**-self.bits
            for step in kept.split(8, dim=2):
                start = torch.trunc((start.double() + step.sum(2)) * 2.0**23) * 2.0**-23
            sums.copy_(start)

        return launch


@pytest.mark.parametrize(("bits", "share"), [(24, None), (23, None), (22, "1.88"), (20, "7.53")])
def test_devices_whose_tensor_cores_keep_too_few_bits_are_refused(monkeypatch, bits, share):
    monkeypatch.setattr(_device, "accumulate", CuttingOff(bits))
    if share is None:
        assert require_device(DEVICE) is None
        return
    match = rf"at most 17 \* 2\*\*-23 of a sum .* err by {share} times as much; use backend"
    with pytest.raises(FloatEnvironmentError, match=match):
        require_device(DEVICE)


def test_half_the_bound_refuses_devices_that_err_as_the_models_of_an_a100_do(monkeypatch):
    monkeypatch.setattr(_device, "accumulate", CuttingOff(24))
    monkeypatch.setattr(_device.bounds, "TENSOR_ROUNDOFF", 2.0**-24)
    with pytest.raises(FloatEnvironmentError, match=r"err by 1\.06 times"):
        require_device(DEVICE)


@pytest.mark.skipif(not INTERPRETED, reason="nothing is interpreted")
@pytest.mark.parametrize(
    ("of_triton", "of_numpy", "refused"),
    [("3.6.0", "2.4.6", True), ("3.6.0", "2.3.9", False), ("3.7.1", "2.4.0rc1", False)],
)
def test_interpreters_that_numpy_is_too_new_for_are_named(
    monkeypatch, of_triton, of_numpy, refused
):
    monkeypatch.setattr(_device.triton, "__version__", of_triton)
    monkeypatch.setattr(_device.np, "__version__", of_numpy)
    if not refused:
        assert require_device(DEVICE) is None
        return
    match = rf"interpreter of Triton {of_triton} needs NumPy below 2\.4, got {of_numpy}; install"
    with pytest.raises(BackendUnavailableError, match=match):
        require_device(DEVICE)
