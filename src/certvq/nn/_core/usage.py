"""How evenly codes are used.

In: codes, and how many values each of their places has. Out: perplexity, usage and dead codes by
place. Counts follow the codes that occur, not the codebook, which may have 2^63. Must not know of
layers.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed

from certvq._types import Int64Array
from certvq.nn._core.codes import Sizes
from certvq.nn._core.latents import PADDING


class Place(NamedTuple):
    """The codes of one codebook, level, group or scale.

    Attributes:
        codes: int64, any shape; `PADDING` is not counted.
        size: K.
    """

    codes: torch.Tensor
    size: int


class Tally(NamedTuple):
    """How often each code occurs that occurs at all.

    Attributes:
        codes: int64 (M,), increasing.
        counts: int64 (M,), each at least 1.
        size: K.
    """

    codes: torch.Tensor
    counts: torch.Tensor
    size: int


def perplexity(counts: Int64Array) -> float:
    """Compute exp of the entropy of a code histogram: ``exp(-sum p log p)``, ``p = n / sum n``.

    Args:
        counts: how often each of the K codes occurs, (K,), at least one above 0.

    Returns:
        From 1 (one code) to K (all codes alike).

    Example:
        >>> perplexity(np.array([5, 5, 0, 0]))
        2.0
    """
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def usage(counts: Int64Array) -> float:
    """Compute the share of the codes that occur.

    Args:
        counts: how often each of the K codes occurs, (K,).

    Returns:
        From 0 to 1.

    Example:
        >>> usage(np.array([5, 5, 0, 0]))
        0.5
    """
    return float((counts > 0).mean())


def split_places(
    codes: torch.Tensor, sizes: Sizes, code_shape: tuple[int, ...], names: tuple[str, ...]
) -> dict[str, Place]:
    """Take codes with several places apart.

    Args:
        codes: int64 (..., *code_shape).
        sizes: K of every place, or of each place of the last axes.
        code_shape: sizes of the last axes.
        names: what a place of each of these axes is called.

    Returns:
        By name, as ``"group0/level1/"``; ``""`` where there is one place.

    Example:
        >>> split_places(torch.zeros(5, 2).long(), (4, 8), (2,), ("level",))["level1/"].size
        8
    """
    if not code_shape:
        assert isinstance(sizes, int)
        return {"": Place(codes, sizes)}
    rank = 0
    inner = sizes
    while isinstance(inner, tuple):
        inner, rank = inner[0], rank + 1
    axis = codes.ndim - len(code_shape)
    places = {}
    for index in range(code_shape[0]):
        own = sizes[index] if isinstance(sizes, tuple) and rank == len(code_shape) else sizes
        each = split_places(codes.select(axis, index), own, code_shape[1:], names[1:])
        places.update({f"{names[0]}{index}/{name}": place for name, place in each.items()})
    return places


def tally(place: Place) -> Tally:
    """Count the codes of a place, on the CPU."""
    flat = place.codes.detach().reshape(-1)
    codes, counts = torch.unique(flat[flat != PADDING], return_counts=True)
    return Tally(codes.cpu(), counts.cpu(), place.size)


def merged(*tallies: Tally) -> Tally:
    """Add tallies of one codebook up."""
    every = torch.cat([each.codes for each in tallies])
    codes, places = torch.unique(every, return_inverse=True)
    counts = torch.cat([each.counts for each in tallies])
    return Tally(codes, torch.zeros_like(codes).index_add(0, places, counts), tallies[0].size)


def over_processes(tallies: dict[str, Tally], process_group: Any) -> dict[str, Tally]:
    """Add the tallies of all processes up, on each of them."""
    every: list[Any] = [None] * distributed.get_world_size(process_group)
    distributed.all_gather_object(every, dict(tallies), group=process_group)
    names = dict.fromkeys(name for each in every for name in each)
    return {name: merged(*(each[name] for each in every if name in each)) for name in names}


def usage_figures(tallies: Mapping[str, Tally], *, shared: bool) -> dict[str, float]:
    """Return perplexity, usage and dead codes, of the whole and of each place.

    Args:
        tallies: by name, as of `split_places`.
        shared: whether all places have one codebook, whose codes are then counted together.

    Returns:
        ``perplexity`` and ``codebook_usage``, means over the places that have codes;
        ``dead_codes``, their sum; of several places also those of each, as ``level0/perplexity``.
        Without any code perplexity is NaN, usage is 0 and all codes are dead.

    Example:
        >>> usage_figures({"": tally(Place(torch.tensor([0, 2, 2, 0]), 8))}, shared=False)
        {'perplexity': 2.0, 'codebook_usage': 0.25, 'dead_codes': 6.0}
    """
    figures = {name: _figures(each) for name, each in tallies.items()}
    if not figures:
        return {}
    filled = {name: each for name, each in tallies.items() if len(each.codes)} or tallies
    if shared and len(filled) > 1:
        whole = _figures(merged(*filled.values()))
    else:
        whole = {
            key: sum(figures[name][key] for name in filled)
            / (1.0 if key == "dead_codes" else len(filled))
            for key in next(iter(figures.values()))
        }
    by_place = {f"{name}{key}": one for name, each in figures.items() for key, one in each.items()}
    return whole | by_place


def _figures(tally: Tally) -> dict[str, float]:
    return {
        "perplexity": perplexity(tally.counts.numpy()) if len(tally.codes) else math.nan,
        "codebook_usage": len(tally.codes) / tally.size,
        "dead_codes": float(tally.size - len(tally.codes)),
    }
