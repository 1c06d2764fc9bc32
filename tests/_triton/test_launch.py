"""Blocks of latents: halved where memory is short, and no code depends on them."""

import numpy as np
import pytest
import torch
from triton.runtime.errors import OutOfResources

from certvq._triton import _launch, decide, make_tables
from certvq._triton._plan import MOST, Device, plan
from certvq.errors import BackendUnavailableError, DeviceMemoryError

from ._on import DEVICE, to_device


@pytest.fixture(autouse=True)
def _forget():
    """What was struck out in another test is proposed again."""
    yield
    _launch._scan_proposals.cache_clear()
    _launch._collect_proposals.cache_clear()


@pytest.fixture
def given(rng):
    vectors = rng.standard_normal((30, 4))
    return to_device(rng.standard_normal((300, 4))), make_tables(vectors, np.arange(30), DEVICE)


def lists(found):
    parts = (found.codes, found.ways, found.sqdists)
    return [*(part.tolist() for part in parts), found.left()]


def short_of_memory(monkeypatch, most):
    """Let blocks of more than `most` latents find no memory; return the sizes that were tried."""
    tried, decide_block = [], _launch._decide_block

    def refuse(latents, *others):
        tried.append(len(latents))
        if len(latents) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        decide_block(latents, *others)

    monkeypatch.setattr(_launch, "_decide_block", refuse)
    return tried


def test_blocks_are_halved_until_they_fit(monkeypatch, given):
    whole = lists(decide(*given))
    monkeypatch.setattr(_launch, "FEWEST_ROWS", 16)
    tried = short_of_memory(monkeypatch, 100)
    assert lists(decide(*given)) == whole
    assert tried == [300, 150, 75, 75, 75, 75]


def test_no_memory_at_all_is_named_with_what_is_needed(monkeypatch, given):
    monkeypatch.setattr(_launch, "FEWEST_ROWS", 64)
    tried = short_of_memory(monkeypatch, 0)
    needed = 300 * 17 + 64 * (2 * 16 + 40 + 16 + 4 * MOST)
    match = rf"needs {needed} free bytes.*300 latents of dim 4.*block of 64.*CUDA out of memory"
    with pytest.raises(DeviceMemoryError, match=match):
        decide(*given)
    assert tried == [300, 150, 75, 64]


def test_no_memory_for_the_results_is_named(monkeypatch, given):
    def refuse(*_):
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(_launch, "_results", refuse)
    with pytest.raises(DeviceMemoryError, match=r"free bytes of device memory.*none left"):
        decide(*given)


@pytest.mark.parametrize("block", [1, 7, 20])
def test_codes_do_not_depend_on_the_blocks(monkeypatch, given, block):
    given = given[0][:21], given[1]
    whole = lists(decide(*given))
    monkeypatch.setattr(_launch, "FEWEST_ROWS", 1)
    monkeypatch.setattr(_launch, "MOST_NUMBERS", block * 16)
    assert lists(decide(*given)) == whole


class Limited:
    """A scan that needs more shared memory than there is, for blocks of more than `most` rows."""

    def __init__(self, kernel, most, error=None):
        self._kernel, self._most, self.tried = kernel, most, []
        self._error = error or OutOfResources(99, 48, "shared memory")

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            self.tried.append((options["BLOCK"], options.get("num_stages")))
            if options["BLOCK"] > self._most:
                raise self._error
            self._kernel[grid](*arguments, **options)

        return launch


def test_blocks_shrink_where_shared_memory_is_short(monkeypatch, given):
    whole = lists(decide(*given))
    limited = Limited(_launch.scan_codes, 16)
    monkeypatch.setattr(_launch, "scan_codes", limited)
    assert lists(decide(*given)) == whole
    assert limited.tried == [(64, 3), (64, 2), (64, 1), (32, 1), (16, 1)]
    assert lists(decide(*given)) == whole
    assert limited.tried[5:] == [(16, 1)]  # what did not fit is not tried again


def test_blocks_that_triton_cannot_compile_are_passed_over(monkeypatch, given):
    whole = lists(decide(*given))
    error = RuntimeError("PassManager::run failed")
    limited = Limited(_launch.scan_codes, 32, error)
    monkeypatch.setattr(_launch, "scan_codes", limited)
    assert lists(decide(*given)) == whole
    assert [rows for rows, _ in limited.tried] == [64, 64, 64, 32]


def test_kernels_that_triton_cannot_compile_are_named(monkeypatch, given):
    error = RuntimeError("`ptxas` failed with error code 255")
    monkeypatch.setattr(_launch, "scan_codes", Limited(_launch.scan_codes, 0, error))
    match = r"a Triton that compiles its kernels for this GPU, got \S+ \(`ptxas` failed.*'torch'"
    with pytest.raises(BackendUnavailableError, match=match):
        decide(*given)
    monkeypatch.setattr(_launch, "read_rows", Limited(_launch.read_rows, 0, error))
    with pytest.raises(BackendUnavailableError, match=match):
        decide(*given)


def test_other_errors_of_a_launch_are_not_hidden(monkeypatch, given):
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    limited = Limited(_launch.scan_codes, 0, error)
    monkeypatch.setattr(_launch, "scan_codes", limited)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        decide(*given)
    assert len(limited.tried) == 1


def test_no_shared_memory_for_the_smallest_block_is_named(monkeypatch, given):
    monkeypatch.setattr(_launch, "scan_codes", Limited(_launch.scan_codes, 0))
    match = "more shared memory: 99 for a block of 16 latents, got 48; use backend='torch'"
    with pytest.raises(BackendUnavailableError, match=match):
        decide(*given)


def test_needed_bytes_are_those_that_a_block_allocates(monkeypatch, given):
    """Beside latents, tables and the 17 bytes a row of the results."""
    latents, tables = given
    taken, empty = [], torch.empty

    def counting(*arguments, **options):
        tensor = empty(*arguments, **options)
        taken.append(tensor.nbytes)
        return tensor

    found = _launch._results(len(latents), DEVICE)
    monkeypatch.setattr(torch, "empty", counting)
    _launch._decide_block(latents, tables, found)
    allocated = sum(taken[:5])  # the interpreter may allocate more to copy arguments
    assert allocated == _launch.needed_bytes(len(latents), tables)
    assert plan(4, 30).padded == 16


def test_small_blocks_of_a_small_device_give_the_same(monkeypatch, given):
    """What the launcher chooses follows from the device; no code does."""
    whole = lists(decide(*given))
    for shared, processors in ((1 << 10, 1), (227 << 10, 2)):
        device = Device(shared, processors, warpgroups=True)
        monkeypatch.setattr(_launch, "describe", lambda _, device=device: device)
        assert lists(decide(*given)) == whole


def test_rows_that_are_not_final_are_counted_over_all_blocks(monkeypatch):
    """Ties stay open, squared distances that may have underflowed are not final."""
    vectors = np.array([[-1.0], [1.0], [4.0]])
    latents = to_device(np.array([[0.0], [3.9], [4.0], [2.5], [np.nan], [0.9]]))
    monkeypatch.setattr(_launch, "FEWEST_ROWS", 1)
    monkeypatch.setattr(_launch, "MOST_NUMBERS", 2 * 16)
    found = decide(latents, make_tables(vectors, np.arange(3), DEVICE))
    assert (found.ways > 0).tolist() == [False, True, True, False, False, True]
    assert found.left() == 4
