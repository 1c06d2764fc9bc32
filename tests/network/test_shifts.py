"""Products over shifted views are those of windows, one after another."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from certvq.bounds import UNIT_ROUNDOFF, gamma
from certvq.network._bounded import Bounded
from certvq.network._bounds import enlargement
from certvq.network.rules._linear import Norms, error_of_convolution
from certvq.network.rules._products import Rounding
from certvq.network.rules._shifts import additions, multiply_windows, sum_windows
from certvq.network.rules._windows import windows_of

RANDOM = torch.Generator().manual_seed(0)


def integers(*shape):
    """Return small integers, whose sums of products float64 has without rounding."""
    return torch.randint(-9, 10, shape, generator=RANDOM).double()


def by_windows(windows, given, weight, groups):
    """Multiply each window by itself."""
    view = windows.view(windows.pad(given, 0.0).contiguous())
    batch, channels, count = len(given), given.shape[1], view.shape[2 + len(windows.kernel) :]
    flat = view.reshape(batch, groups, channels // groups * windows.taps, -1)
    kernel = weight.reshape(groups, len(weight) // groups, -1)
    return (kernel @ flat).reshape(batch, len(weight), *count)


@pytest.mark.rows(("axes", "groups"), list(itertools.product((1, 2, 3), (1, 2))))
def test_products_are_those_of_windows(axes, groups):
    places = (11, 9, 7)[:axes]
    options = itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1, 3), (1, 2))
    for kernel, stride, padding, dilation in options:
        if dilation * (kernel - 1) >= min(places) + 2 * padding:
            continue
        windows = windows_of((kernel,) * axes, [stride], [padding], [dilation])
        given, weight = (
            integers(2, 4, *places),
            integers(6, 4 // groups, *((kernel,) * axes)),
        )
        found = multiply_windows(windows, given, weight, groups)
        assert torch.equal(found, by_windows(windows, given, weight, groups)), windows


@pytest.mark.rows(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((5, 2), [3, 1], [2, 0], [1, 3]),
        ((5, 2), [1, 1], "same", [1, 3]),
        ((1, 3), [4, 2], [0], [2]),
    ],
)
def test_axes_may_differ(kernel, stride, padding, dilation):
    windows = windows_of(kernel, stride, padding, dilation)
    given, weight = integers(1, 4, 7, 12), integers(3, 4, *kernel)
    found = multiply_windows(windows, given, weight, 1)
    assert torch.equal(found, by_windows(windows, given, weight, 1))


@pytest.mark.rows("threads", [1, 2])
@pytest.mark.rows("inference", [False, True])
def test_more_places_than_a_block_holds(threads, inference):
    windows = windows_of((3, 3), [1], [1], [1])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(inference):
            given, weight = integers(1, 64, 70, 60), integers(64, 64, 3, 3)
            found = multiply_windows(windows, given, weight, 1)
            assert torch.equal(found, by_windows(windows, given, weight, 1))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_sums_are_those_of_windows():
    for kernel, stride, padding, dilation in itertools.product((1, 3), (1, 2), (0, 1), (1, 2)):
        windows = windows_of((kernel, 2), [stride], [padding], [dilation])
        given = integers(2, 3, 11, 9)
        view = windows.view(windows.pad(given, 0.0).contiguous())
        assert torch.equal(sum_windows(windows, given), view.sum((2, 3))), windows


def test_errors_by_a_convolution_are_those_of_windows():
    """Taps one by one, or the window as one, whichever is less."""
    windows = windows_of((3, 2), [2, 1], [1, 1], [1, 2])
    norms = Norms(*torch.rand(3, 7, generator=RANDOM).double())
    maps = torch.rand(2, 2, 1, 8, 9, generator=RANDOM).double()
    lost = Rounding(gamma(14), torch.zeros(()))
    factors = norms.weight + norms.error, norms.error + lost.relative * norms.size
    both = error_of_convolution(norms, windows, Bounded(maps[1], maps[0], 1), lost)
    for found, factor, given in zip(both, factors, maps, strict=True):
        view = windows.view(windows.pad(given, 0.0)).reshape(2, 6, -1)
        slow = torch.minimum(factor[:-1] @ view, factor[-1] * view.norm(dim=1))
        assert (slow.reshape(found.shape) <= found).all()
        assert (found <= slow.reshape(found.shape) * enlargement(60)).all()
    exact = Norms(norms.weight, norms.size, torch.zeros(7).double())
    nothing = Rounding(0.0, torch.zeros(()), UNIT_ROUNDOFF)
    for found, given in ((exact, nothing), (exact, lost)):
        spread, own = error_of_convolution(found, windows, Bounded(maps[1], maps[0], 1), given)
        assert spread.shape == (2, 1, 4, 9)
        assert (own.max() < 2.0**-800) == (given is nothing)


def test_sums_that_are_finished_apart_are_the_same_numbers():
    windows = windows_of((4, 3), [2, 1], [1, 1], [1, 1])
    given, weight = integers(1, 8, 30, 31), integers(6, 4, 4, 3)
    found = multiply_windows(windows, given, weight, 2, apart=True)
    assert torch.equal(found, by_windows(windows, given, weight, 2))


@pytest.mark.rows("stride", [1, 2, 3])
def test_numbers_that_are_added_one_after_another(stride, monkeypatch):
    """No product has more channels, and there are not more products, than are counted."""
    counted = []
    bmm = torch.bmm

    def count(kernel, view, *, out):
        counted.append(kernel.shape[2])
        return bmm(kernel, view, out=out)

    monkeypatch.setattr(torch, "bmm", count)
    windows = windows_of((5, 3), [stride], [1], [1])
    multiply_windows(windows, integers(1, 4, 9, 9), integers(2, 4, 5, 3), 1, apart=True)
    assert max(counted) + len(counted) - 1 <= additions(windows, 4, apart=True)
    assert additions(windows, 4, apart=True) <= additions(windows, 4, apart=False) == 60


def test_threads_that_begin_later_have_as_many_threads_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        multiply_windows(windows_of((3,), [1], [1], [1]), integers(2, 8, 99), integers(8, 8, 3), 1)
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
