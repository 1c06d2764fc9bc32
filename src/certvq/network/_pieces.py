"""A batch in pieces, each of which is computed by itself.

In: a network, and perhaps tokens. Out: networks for regions of its output. Strips along the axis
that costs least give each thread a piece of its own; boxes around open tokens leave the rest out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from certvq.network._bounded import Bounded
from certvq.network._float64 import bounded_constants
from certvq.network._graph import Network
from certvq.network._part import NetworkPart, part_of, share_of_source
from certvq.network._region import Region, slices, whole

_MOST_AGAIN = 1.5
"""Numbers of the input that all strips together may read, of all that there are; what strips read
twice is computed twice. Chosen."""

_WORTH_CUTTING = 0.9
"""Part of the numbers of the input that are left where a box is cut in two. Chosen."""

_FEW = 256
"""Tokens up to which boxes are cut in two; each try makes networks. Chosen."""


@dataclass(frozen=True)
class Piece:
    """A region of the output.

    Attributes:
        network: which computes it.
        source: the region of the input that it needs.
        tokens: numbers of its tokens among those of the whole output.
        constants: see `bounded_constants`.
    """

    network: Network
    source: Region
    tokens: np.ndarray
    constants: Mapping[str, Bounded]


def strips_of(network: Network, constants: Mapping[str, Bounded], count: int) -> list[Piece]:
    """Cut the output into strips along one axis; into fewer if these need the same numbers.

    Args:
        network: as captured.
        constants: its `bounded_constants`.
        count: how many at most.
    """
    every = whole(network.output.shape)
    best, least = [(every, NetworkPart(network, whole(network.source.shape)))], _MOST_AGAIN
    for axis, size in enumerate(network.output.shape):
        if axis == 1 or not 1 < count <= size:
            continue
        ends = [size * number // count for number in range(count + 1)]
        regions = [(*every[:axis], pair, *every[axis + 1 :]) for pair in pairwise(ends)]
        parts = [(region, part_of(network, region)) for region in regions]
        cost = sum(share_of_source(network, part) for _, part in parts)
        if cost < least:
            best, least = parts, cost
    if len(best) < count > 2:
        return strips_of(network, constants, count - 1)
    return [_piece(network, constants, *each) for each in best]


def boxes_around(
    network: Network, constants: Mapping[str, Bounded], tokens: np.ndarray
) -> list[Piece]:
    """Return boxes that hold tokens, and what these need of the input.

    Args:
        network: as captured.
        constants: its `bounded_constants`.
        tokens: (N,) numbers of tokens of the output.
    """
    shape = (network.output.shape[0], *network.output.shape[2:])
    places = np.stack(np.unravel_index(tokens, shape), axis=1)
    boxes = _boxes(network, places, _box(network, places))
    return [_piece(network, constants, *each) for each in boxes]


def _box(network: Network, places: np.ndarray) -> tuple[Region, NetworkPart]:
    """Return the least box around places (N, axes), and its part of the network."""
    ends = zip(places.min(0).tolist(), places.max(0).tolist(), strict=True)
    batch, *rest = ((first, last + 1) for first, last in ends)
    region = (batch, (0, network.output.shape[1]), *rest)
    return region, part_of(network, region)


def _boxes(
    network: Network, places: np.ndarray, box: tuple[Region, NetworkPart]
) -> list[tuple[Region, NetworkPart]]:
    """Cut a box at the widest gap of an axis as long as less of the input is needed then."""
    least, best = _WORTH_CUTTING * share_of_source(network, box[1]), None
    for axis in range(places.shape[1] if len(places) <= _FEW else 0):
        row = np.unique(places[:, axis])
        if len(row) == 1:
            continue
        low = places[:, axis] <= row[np.argmax(np.diff(row))]
        halves = [(part, _box(network, part)) for part in (places[low], places[~low])]
        cost = sum(share_of_source(network, half[1]) for _, half in halves)
        if cost < least:
            least, best = cost, halves
    if best is None:
        return [box]
    return [each for half in best for each in _boxes(network, *half)]


def _piece(
    network: Network, constants: Mapping[str, Bounded], region: Region, part: NetworkPart
) -> Piece:
    batch, _, *places = network.output.shape
    numbers = np.arange(math.prod((batch, *places))).reshape(batch, *places)
    tokens = numbers[slices((region[0], *region[2:]))].reshape(-1)
    own = bounded_constants(part.network, known=constants)
    return Piece(part.network, part.source, tokens, own)
