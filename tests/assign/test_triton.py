"""`backend="triton"`: the contract, in Triton's interpreter or on a GPU, whichever there is."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import certvq
from certvq import _triton
from certvq.assign import _triton as backend
from certvq.errors import (
    BackendUnavailableError,
    DeviceMemoryError,
    FloatEnvironmentError,
    NonFiniteError,
)
from certvq.testing import contract_cases

DEVICE = torch.device("cpu" if _triton.INTERPRETED else "cuda")


def codes_of(latents, codebook):
    with np.errstate(all="ignore"):
        return certvq.assign(latents, codebook, backend="triton").codes


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if place % 8 else ())
        for place, case in enumerate(contract_cases())
    ],
)
def test_contract(case):
    assert np.array_equal(codes_of(case.latents, case.codebook), case.expected())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.rows("dim", [1, 3, 16, 65, 100, 300])
def test_any_dtype_and_dim_gives_the_codes_of_the_reference(rng, dtype, dim):
    latents = torch.from_numpy(rng.standard_normal((20, dim)) + 0.5).to(dtype)
    codebook = torch.from_numpy(rng.standard_normal((70, dim)) + 0.5).to(dtype)
    codebook[40] = latents[3]
    expected = certvq.assign(latents, codebook, backend="numpy")
    found = certvq.assign(latents.to(DEVICE), codebook.to(DEVICE), backend="triton")
    assert found.codes.device.type == DEVICE.type
    assert (found.codes.dtype, found.decided_by.dtype) == (torch.int64, torch.uint8)
    assert found.codes.tolist() == expected.codes.tolist()
    assert found.codes[3] == 40
    scale = certvq.bounds.gamma(dim + 8) * 2
    assert np.allclose(found.sqdist.cpu(), expected.sqdist, rtol=scale, atol=0.0)


def test_numbers_that_are_negated_lazily_are_read(rng):
    latents = torch._neg_view(torch.from_numpy(rng.standard_normal((20, 3))).to(DEVICE))
    codebook = torch.from_numpy(rng.standard_normal((30, 3))).to(DEVICE)
    expected = certvq.assign(latents.resolve_neg(), codebook, backend="numpy").codes
    found = certvq.assign(latents, codebook, backend="triton").codes
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("codes", [1, 2, 63, 256, 257, 3000])
def test_any_size_of_codebook(rng, codes):
    latents, codebook = rng.standard_normal((30, 6)), rng.standard_normal((codes, 6))
    expected = certvq.assign(latents, codebook, backend="numpy").codes
    assert np.array_equal(codes_of(latents, codebook), expected)


def test_codes_do_not_depend_on_batch_padding_or_neighbours(rng):
    """One set of latents, split, shuffled, and among rows whose scale would not hold it."""
    codebook = certvq.prepare(rng.standard_normal((90, 5)).astype(np.float32))
    latents = rng.standard_normal((60, 5)).astype(np.float32)
    latents[::4] = (codebook.source[:15] + codebook.source[15:30]) / 2
    whole = certvq.assign(latents, codebook, backend="triton")
    for parts in (2, 7, 11):
        split = [codes_of(part, codebook) for part in np.array_split(latents, parts)]
        assert np.array_equal(np.concatenate(split), whole.codes)
    order = rng.permutation(60)
    assert np.array_equal(codes_of(latents[order], codebook), whole.codes[order])
    loud = np.full((7, 5), np.finfo(np.float32).max / 4, np.float32)
    assert np.array_equal(codes_of(np.concatenate([loud, latents]), codebook)[7:], whole.codes)


def test_rows_are_decided_by_all_three_means(rng):
    codebook = rng.integers(-40, 41, (150, 4)).astype(np.float32)
    middles = (codebook[:60] + codebook[60:120]) / 2
    latents = np.concatenate([rng.standard_normal((60, 4)) * 20, middles + 1e-3, middles])
    found = certvq.assign(latents, codebook, backend="triton")
    assert min(found.counts().values()) > 0
    certvq.check.verify(found, latents, codebook)


def test_most_rows_are_decided_by_the_filter(rng):
    """Of ordinary numbers; a radius that was far too wide would send them to the slow paths."""
    latents, codebook = rng.standard_normal((300, 32)), rng.standard_normal((512, 32))
    counts = certvq.assign(latents, codebook, backend="triton").counts()
    assert counts["filter"] >= 280
    assert counts["exact"] == 0


def test_views_and_arrays_of_other_libraries(rng):
    wide = torch.from_numpy(rng.standard_normal((40, 12)).astype(np.float32)).to(DEVICE)
    codebook = torch.from_numpy(rng.standard_normal((50, 6))).bfloat16()
    view = wide[::2, 1::2]
    expected = certvq.assign(view.cpu(), codebook, backend="numpy").codes.tolist()
    assert codes_of(view, codebook).tolist() == expected
    assert codes_of(view.cpu().numpy(), codebook).tolist() == expected
    assert codes_of(view.t().contiguous().t(), codebook).tolist() == expected


def test_gradients_are_left_alone(rng):
    latents = torch.randn(4, 3, requires_grad=True, device=DEVICE)
    found = certvq.assign(latents, torch.randn(5, 3, device=DEVICE), backend="triton")
    assert not found.sqdist.requires_grad


def test_no_latents():
    found = certvq.assign(np.empty((0, 3)), np.ones((2, 3)), backend="triton")
    assert [len(part) for part in (found.codes, found.decided_by, found.sqdist)] == [0, 0, 0]


def test_squared_distances_that_underflow_are_mended():
    tiny = np.array([[3e-160, 0.0], [1.0, 0.0]])
    found = certvq.assign(tiny, np.array([[0.0, 0.0], [1.0, 0.0]]), backend="triton")
    assert found.codes.tolist() == [0, 1]
    assert found.sqdist.tolist() == [9e-320, 0.0]


def test_exact_distances_and_second_codes_on_request(rng):
    latents = torch.from_numpy(rng.standard_normal((9, 30)))
    codebook = torch.from_numpy(rng.standard_normal((4, 30)))
    options = {"exact_sqdist": True, "second": True}
    found = certvq.assign(latents.to(DEVICE), codebook, backend="triton", **options)
    expected = certvq.assign(latents, codebook, backend="numpy", **options)
    assert found.second.device.type == DEVICE.type
    assert torch.equal(found.sqdist.cpu(), expected.sqdist)
    assert torch.equal(found.second.cpu(), expected.second)


@pytest.mark.parametrize("scale", [1.0, 1e250])
def test_numbers_that_are_not_finite_are_named(scale):
    """Also where the codebook is beyond what the kernels read."""
    latents = np.full((40, 3), scale)
    latents[31, 2], latents[33, 0] = np.nan, np.inf
    match = r"latents must be finite, got nan at row 31, column 2 \(2 bad entries"
    with pytest.raises(NonFiniteError, match=match):
        codes_of(latents, np.eye(3) * scale)


def test_cuda_asked_for_and_absent_is_named(monkeypatch):
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    match = r"needs a CUDA device, and torch finds none; use .*TRITON_INTERPRET=1"
    with pytest.raises(BackendUnavailableError, match=match):
        codes_of(np.eye(2), np.eye(2))


@pytest.mark.parametrize("module", ["torch", "triton"])
def test_missing_packages_are_named(monkeypatch, module):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == module else object()
    )
    match = rf"needs {module}; install it with: pip install 'certvq\[triton\]'"
    with pytest.raises(BackendUnavailableError, match=match):
        backend.require_installed()


def test_memory_that_runs_out_elsewhere_is_named(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(_triton, "make_tables", refuse)
    match = r"with 2 latents of 48 bytes and 3 codes of dim 3; free some.*CUDA out of memory"
    with pytest.raises(DeviceMemoryError, match=match):
        codes_of(np.eye(3)[:2], np.eye(3))


def test_devices_that_flush_are_refused(monkeypatch):
    def refuse(_):
        raise FloatEnvironmentError("flushed")

    monkeypatch.setattr(_triton, "require_device", refuse)
    with pytest.raises(FloatEnvironmentError, match="flushed"):
        codes_of(np.eye(2), np.eye(2))


def test_importing_certvq_loads_no_triton():
    code = "import sys, certvq; certvq.backends(); print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.gpu
@pytest.mark.skipif(_triton.INTERPRETED, reason="needs the compiled kernels: make gpu-test")
def test_latents_and_codebook_on_unlike_devices(rng):
    latents, codebook = torch.randn(9, 3), torch.randn(70, 3)
    expected = certvq.assign(latents, codebook, backend="numpy").codes
    for z, c in ((latents.cuda(), codebook), (latents, codebook.cuda())):
        found = certvq.assign(z, c, backend="triton").codes
        assert found.device == z.device
        assert torch.equal(found.cpu(), expected)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(_triton.INTERPRETED, reason="needs the compiled kernels: make gpu-test")
@pytest.mark.parametrize(
    ("rows", "codes", "dim", "dtype"),
    [
        (65536, 1024, 64, torch.bfloat16),
        (20000, 8192, 8, torch.float32),
        (4096, 1_000_000, 16, torch.float32),
        (20000, 1000, 257, torch.float16),
        (3_000_000, 100, 4, torch.float32),
    ],
)
def test_large_calls_give_the_codes_of_the_torch_backend(rows, codes, dim, dtype):
    generator = torch.Generator("cuda").manual_seed(1)
    options = {"generator": generator, "device": "cuda"}
    latents = torch.randn(rows, dim, **options).to(dtype)
    codebook = certvq.prepare(torch.randn(codes, dim, **options).to(dtype))
    found = certvq.assign(latents, codebook, backend="triton")
    assert torch.equal(found.codes, certvq.assign(latents, codebook, backend="torch").codes)
    assert found.counts()["filter"] > rows / 2
