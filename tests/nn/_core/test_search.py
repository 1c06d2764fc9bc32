"""The search of the families: exact codes whatever autocast says, and how they were decided."""

import torch

from certvq.nn._core.search import decisions, search, watched_searches


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
