"""Cells: the compiled kernel and torch find the same, and both what counting finds."""

import math

import pytest
import torch

from certvq import _native
from certvq.errors import OptionError
from certvq.nn import FSQ, LatentQuantize
from certvq.nn._scalar import cells
from certvq.nn._scalar.cells import find_cells
from certvq.nn._scalar.radix import join_digits


def problem(rows, levels, dtype, generator):
    """Latents, some of them on a limit, with limits that end in infinities."""
    limits = torch.full((len(levels), max(levels) - 1), math.inf, dtype=dtype)
    for d, count in enumerate(levels):
        limits[d, : count - 1] = torch.randn(count - 1, generator=generator).sort().values
    latents = torch.randn(rows, len(levels), generator=generator).to(dtype)
    for d, count in enumerate(levels):
        on = min(rows, count - 1)
        latents[:on, d] = limits[d, :on]
    if rows:
        latents[-1] = torch.finfo(dtype).max
        latents[0] = -torch.inf
    return latents, limits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", [FSQ((5, 5)), LatentQuantize((5, 5))])
def test_latents_may_be_negated_lazily(layer, dtype, seeded):
    latents = torch.randn(1, 9, 2, generator=seeded()).to(dtype)
    assert torch.equal(layer(torch._neg_view(latents)).codes, layer(-latents).codes)


@pytest.mark.rows("entry", [torch.bfloat16, torch.float32, torch.float64, torch.int64])
@pytest.mark.rows("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [(8, 5, 5), (2,), (1, 1), (64, 3, 25, 26), (4096, 2), (200, 33)])
@pytest.mark.rows("rows", [0, 1, 255, 257, 5000])
def test_kernel_and_torch_agree_with_counting(rows, levels, dtype, entry, seeded):
    latents, limits = problem(rows, levels, dtype, seeded())
    entries = torch.randperm(len(levels) * max(levels), generator=seeded()).to(entry)
    entries = entries.reshape(len(levels), -1)
    found = cells._by_kernel(latents, limits, entries, levels)
    expected = cells._by_torch(latents, limits, entries, levels)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)
    assert found.entries.is_contiguous()
    step = max(1, rows // 50)
    digits = (latents[::step].T.unsqueeze(2) > limits.unsqueeze(1)).sum(2)
    assert torch.equal(found.entries[::step], entries.gather(1, digits).T)
    assert torch.equal(found.codes[::step], join_digits(digits, levels))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_strides_and_threads_play_no_role(threads, monkeypatch, seeded):
    monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
    latents, limits = problem(60_000, (8, 5, 40), torch.float32, seeded())
    entries = torch.arange(120.0).reshape(3, 40)
    expected = cells._by_torch(latents, limits, entries, (8, 5, 40))
    wide = torch.zeros(60_000, 7)
    wide[:, 1::2] = latents
    for view in (latents, latents.T.contiguous().T, wide[:, 1::2]):
        found = cells._by_kernel(view, limits, entries, (8, 5, 40))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    found = cells._by_kernel(latents[:1].expand(9, 3), limits, entries, (8, 5, 40))
    assert torch.equal(found.codes, expected.codes[:1].expand(9))


def test_the_largest_code_does_not_overflow():
    levels = (2,) * 63
    limits = torch.zeros(63, 1)
    entries = torch.tensor([[0.0, 1.0]]).expand(63, 2).contiguous()
    latents = torch.stack([torch.ones(63), -torch.ones(63)])
    for find in (cells._by_kernel, cells._by_torch):
        assert find(latents, limits, entries, levels).codes.tolist() == [2**63 - 1, 0]


def test_the_kernel_is_used_where_it_can_be(monkeypatch):
    latents, limits, entries = torch.zeros(4, 1), torch.zeros(1, 1), torch.zeros(1, 2)
    used = []
    monkeypatch.setattr(cells, "_by_kernel", lambda *_: used.append(1))
    find_cells(latents, limits, entries, (2,))
    assert used == [1]
    monkeypatch.setattr(_native, "AVAILABLE", False)
    assert find_cells(latents, limits, entries, (2,)).codes.tolist() == [0] * 4
    assert used == [1]


def test_layers_are_the_same_without_the_kernel(monkeypatch, seeded):
    layer = FSQ((8, 5, 40))
    latents = torch.randn(1, 3000, 3, generator=seeded())
    found = layer(latents)
    monkeypatch.setattr(_native, "AVAILABLE", False)
    again = layer(latents)
    assert torch.equal(found.quantized, again.quantized)
    assert torch.equal(found.codes, again.codes)


def arguments(**changed):
    latents, limits, entries = torch.zeros(4, 2), torch.zeros(2, 3), torch.zeros(2, 4)
    given = {
        "latents": latents.numpy(),
        "limits": limits.numpy(),
        "entries": entries.numpy(),
        "levels": (4, 4),
        "vectors": torch.empty(4, 2).numpy(),
        "codes": torch.empty(4, dtype=torch.int64).numpy(),
        "threads": 1,
    }
    return given | changed


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("limits", torch.zeros(3, 3)),
        ("entries", torch.zeros(2, 3)),
        ("vectors", torch.zeros(5, 2)),
        ("codes", torch.zeros(3, dtype=torch.int64)),
    ],
)
def test_the_kernel_refuses_other_shapes(name, wrong):
    assert _native._kernel.round_to_grid(**arguments()) == 8
    with pytest.raises(ValueError, match=r"limits \(D, M\).*for latents \(4, 2\)"):
        _native._kernel.round_to_grid(**arguments(**{name: wrong.numpy()}))
    with pytest.raises(ValueError, match="D levels"):
        _native._kernel.round_to_grid(**arguments(levels=(4,)))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("latents", torch.zeros(4, 2, dtype=torch.float64)),
        ("entries", torch.zeros(2, 4, dtype=torch.float64)),
        ("codes", torch.zeros(4)),
    ],
)
def test_the_kernel_refuses_other_types(name, wrong):
    with pytest.raises(TypeError, match="latents and limits of one type"):
        _native._kernel.round_to_grid(**arguments(**{name: wrong.numpy()}))


def test_the_number_of_threads_is_checked(monkeypatch):
    monkeypatch.setenv("CERTVQ_NUM_THREADS", "none")
    with pytest.raises(OptionError, match="positive integer, got 'none'"):
        FSQ((3,))(torch.zeros(1, 1, 1))
