"""The search for nearest codes, with autocast off, and what a family reports of it.

In: tokens and code vectors. Out: an `Assignment`; counts of how its codes were decided. Must not
know where the code vectors come from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch

from certvq.assign import Assignment, DecidedBy
from certvq.nn._torch.modes import exporting, holds_numbers, transforming, unwatched
from certvq.nn._torch.operators import assign_operator, assign_tensors
from certvq.nn._torch.tracing import search_in_graph

_WAYS = tuple((f"{way.name.lower()}_rows", int(way)) for way in DecidedBy)
"""What `metrics` calls the rows that were decided by each means."""

Report: TypeAlias = Callable[[torch.Tensor, torch.Tensor], None]
"""Called with the tokens (N, D) and the code vectors (K, D) of a search."""

_REPORTS: list[Report] = []


@contextmanager
def watched_searches(report: Report) -> Iterator[None]:
    """Report each search of this process meanwhile, such as `certvq.inspect` asks for.

    Within a graph that a compiler made nothing is reported.
    """
    _REPORTS.append(report)
    try:
        yield
    finally:
        _REPORTS.remove(report)


def search(tokens: torch.Tensor, codebook: torch.Tensor) -> Assignment:
    """Find the nearest codes of tokens by `certvq.assign`.

    Args:
        tokens: (N, D), finite.
        codebook: (K, D).

    Raises:
        NonFiniteError: NaN or infinity in either.

    Guarantee: that of `certvq.assign`, also under autocast.
    """
    latents, vectors = tokens.detach(), codebook.detach()
    if exporting():
        find = search_in_graph
    else:
        find = assign_tensors if unwatched(latents, vectors) else assign_operator
    found = Assignment(*find(latents, vectors))
    for report in _REPORTS:
        report(latents, vectors)
    return found


def decisions(assignment: Assignment) -> dict[str, torch.Tensor]:
    """Return how many codes the filter, the refinement and exact arithmetic decided."""
    decided_by = assignment.decided_by
    if not holds_numbers(decided_by) or transforming():  # these cannot follow `torch.bincount`
        return {name: torch.eq(decided_by, way).sum() for name, way in _WAYS}
    tally = torch.bincount(decided_by, minlength=len(_WAYS) + 1)
    return {name: tally[way] for name, way in _WAYS}
