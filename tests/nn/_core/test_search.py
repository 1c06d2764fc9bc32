"""The search of the families: exact codes whatever autocast says, and how they were decided."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from certvq import Assignment, assign
from certvq.assign._watch import watching
from certvq.errors import (
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    OptionError,
    ShapeError,
)
from certvq.nn._core.search import _ask_kernel, decisions, search, show_exact, watched_searches


def test_autocast_does_not_reach_the_search(seeded):
    tokens = 100.0 + torch.randn(50, 8, generator=seeded())
    codebook = 100.0 + torch.randn(30, 8, generator=seeded(1))
    plain = search(tokens, codebook)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(search(tokens, codebook).codes, plain.codes)


def test_gradients_do_not_reach_the_search(seeded):
    tokens = torch.randn(5, 2, generator=seeded(), requires_grad=True)
    codebook = torch.nn.Parameter(torch.randn(4, 2, generator=seeded(1)))
    assert not search(tokens, codebook).codes.requires_grad


def test_decisions_count_every_row(seeded):
    tokens = torch.cat([torch.randn(20, 2, generator=seeded()), torch.zeros(3, 2)])
    figures = decisions(search(tokens, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 9.0]])))
    assert set(figures) == {"filter_rows", "refined_rows", "exact_rows"}
    assert sum(map(int, figures.values())) == 23


def test_ties_go_to_the_lowest_code():
    book = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    found = search(torch.tensor([[0.0, 3.0], [2.0, 0.0]]).requires_grad_(), book)
    assert found.codes.tolist() == [0, 0]
    assert found.sqdist.tolist() == [10.0, 1.0]


def test_the_same_counts_under_torch_func():
    tokens, book = torch.randn(4, 20, 2), torch.randn(9, 2)

    def counts(part):
        return torch.stack(list(decisions(search(part, book)).values()))

    assert torch.equal(torch.vmap(counts)(tokens), torch.stack([counts(part) for part in tokens]))


def test_searches_are_reported_while_they_are_watched() -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    tokens, codebook = torch.randn(5, 2), torch.randn(3, 2)
    with watched_searches(lambda *pair: seen.append(pair)):
        search(tokens, codebook)
    search(tokens + 1, codebook)
    assert len(seen) == 1
    assert torch.equal(seen[0][0], tokens)
    assert torch.equal(seen[0][1], codebook)


def _strided(rows):
    return rows.repeat_interleave(2, dim=1)[:, ::2]


@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, _strided])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_kernel_is_asked_for_what_assign_finds(dtype, layout, seeded):
    """Also where distances are zero, and where a lazily negated tensor has other bits."""
    book = layout(torch.randn(40, 6, generator=seeded()).to(dtype))
    tokens = layout(torch.cat([torch.randn(90, 6, generator=seeded(1)).to(dtype), book[:9]]))
    flipped = torch.view_as_complex(torch.randn(30, 6, 2, generator=seeded(2))).conj().imag
    for latents in (tokens, tokens[:0], tokens[::3], flipped):
        found = search(latents, book)
        expected = assign(latents, book, backend="reference", exact_sqdist=True)
        assert torch.equal(found.codes, expected.codes)
        assert torch.allclose(found.sqdist, expected.sqdist, rtol=1e-14, atol=0.0)


def test_squared_distances_that_underflow_are_rounded_once(seeded):
    """Beside a feature that sets the code vectors apart, so that the kernel takes the numbers."""
    tokens = torch.randn(20, 4, generator=seeded(), dtype=torch.float64) * 2.0**-535
    book = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64) * 2.0**-535
    book[:, 0] = torch.arange(5.0)
    tokens[:, 0] = torch.arange(20) % 5
    assert _ask_kernel(tokens, book) is not None
    found = search(tokens, book)
    expected = assign(tokens, book, backend="reference", exact_sqdist=True)
    assert torch.equal(found.codes, expected.codes)
    assert torch.equal(found.sqdist, expected.sqdist)


@pytest.mark.parametrize(
    ("tokens", "book", "error", "match"),
    [
        ([[0.0, torch.nan]], [[0.0, 0.0]], NonFiniteError, "latents .* row 0, column 1"),
        ([[0.0, 0.0]], [[0.0, 0.0], [torch.inf, 0.0]], NonFiniteError, "codebook .* row 1"),
        ([[0.0, 0.0]], [[0.0, 0.0, 0.0]], ShapeError, "the same dim"),
        ([[0.0, 0.0]], torch.zeros(0, 2), ShapeError, "at least one row"),
        ([[0, 0]], [[0.0, 0.0]], DTypeError, "got int64"),
    ],
)
def test_what_assign_refuses_is_refused_by_its_names(tokens, book, error, match):
    with pytest.raises(error, match=match):
        search(torch.as_tensor(tokens), torch.as_tensor(book))


def test_an_unknown_instruction_set_is_named(monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", "abacus")
    with pytest.raises(OptionError, match="CERTVQ_ISA='abacus' cannot be used"):
        search(torch.zeros(1, 2), torch.zeros(1, 2))


def test_flushed_numbers_are_refused():
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(FloatEnvironmentError, match="subnormal"):
            search(torch.ones(1, 2), torch.zeros(1, 2))
    finally:
        torch.set_flush_denormal(False)


def test_a_dispatch_mode_sees_the_operator():
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.name())
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    with Seen():
        search(torch.zeros(1, 2), torch.zeros(1, 2))
    assert "certvq::assign" in names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_found_is_shown_once_to_whoever_watches(dtype: torch.dtype) -> None:
    """By the compiled kernel, by `certvq.assign`, which shows its own, and by thresholds."""
    seen: list[Assignment] = []
    tokens, codebook = torch.randn(5, 2).to(dtype), torch.randn(3, 2).to(dtype)
    with watching(lambda found, _: seen.append(found)):
        found = search(tokens, codebook)
        show_exact(found.codes)
    show_exact(found.codes)
    assert [each.codes.tolist() for each in seen] == [found.codes.tolist()] * 2
    assert seen[1].counts() == {"filter": 0, "refined": 0, "exact": 5}
