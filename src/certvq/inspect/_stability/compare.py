"""Compare two runs, token by token.

In: the searches of two runs. Out: for each token how far its latent moved at most, how far it may
move before its code can change, and whether it did. What the theorem says must hold of the codes is
checked. Must not know how the runs were made.
"""

from dataclasses import dataclass

import numpy as np
import torch

from certvq import bounds
from certvq._types import BoolArray, Float64Array, Int64Array
from certvq.assign import assign, stability_radius
from certvq.errors import CertificateError, NonFiniteError, OptionError, ShapeError
from certvq.inspect._scalar.grid import Grid
from certvq.inspect._stability.record import Place, Run, Search


@dataclass(frozen=True, eq=False)
class Tokens:
    """What two runs, or one run and a distance, say of the tokens of one search.

    Attributes:
        noise: (N,) upper bounds of how far each latent moved.
        radius: (N,) lower bounds of how far it may move before its nearest code can change.
        flipped: (N,) whether the model chose another code in the second run.
        inexact: (N,) whether a code of the model, in either run, is not the lowest nearest one.
    """

    noise: Float64Array
    radius: Float64Array
    flipped: BoolArray
    inexact: BoolArray

    @property
    def could_flip(self) -> BoolArray:
        """Whether the nearest code is not proved to be the same in both runs."""
        return could_flip(self.noise, self.radius)


def could_flip(noise: Float64Array, radius: Float64Array) -> BoolArray:
    """Say which tokens moved, and by no less than their radius."""
    return (noise > 0.0) & (noise >= radius)


def distance_upper(left: Float64Array, right: Float64Array) -> Float64Array:
    """Bound the Euclidean distance of rows from above; 0 for equal rows.

    Args:
        left: (N, D), finite.
        right: (N, D), finite.

    Returns:
        (N,) upper bounds, by `certvq.bounds.norm_upper`: above the true distance by at most
        ``gamma(2 D + 24)`` of it and ``2**-530 sqrt(D)``; infinite where squares overflow.

    Example:
        >>> bool(5.0 <= distance_upper(np.array([[3.0, 4.0]]), np.zeros((1, 2)))[0] < 5.0 + 1e-14)
        True
    """
    with np.errstate(over="ignore", under="ignore"):
        step = left - right
        squares = np.einsum("nd,nd->n", step, step)
        upper = bounds.norm_upper(squares, left.shape[1])
    return np.where(step.any(axis=1), upper, 0.0)


def moved_by(distance: float, first: Search, name: str) -> Tokens:
    """Compare one run with a distance that each latent may move.

    Raises:
        NonFiniteError: NaN or infinity; names the layer, row and column.
    """
    nearest, radius = _nearest_with_radius(first, f"layer {name!r}")
    noise = np.full(len(radius), distance)
    return Tokens(noise, radius, np.zeros(len(radius), dtype=np.bool_), nearest != first.codes)


def compare(first: Search, second: Search, name: str) -> Tokens:
    """Compare the tokens of one search in two runs.

    Args:
        first: the search of the first run.
        second: that of the second, of the same shapes and code vectors.
        name: of the layer, for messages.

    Raises:
        NonFiniteError: NaN or infinity; names the layer, the run, row and column.
        CertificateError: the nearest code changed though the latent moved by less than its radius.
    """
    before, radius = _nearest_with_radius(first, f"layer {name!r}, first run")
    after = _nearest(second, f"layer {name!r}, second run")
    tokens = Tokens(
        distance_upper(first.latents, second.latents),
        radius,
        first.codes != second.codes,
        (before != first.codes) | (after != second.codes),
    )
    _require_proved(tokens, before, after, name)
    return tokens


def pair(first: Run, second: Run) -> dict[Place, Search]:
    """Bring the searches of a second run into the order of the first one.

    A second run may call each layer several times as often, with a part of the tokens each time;
    the parts are put together in the order in which they came.

    Args:
        first: searches of the first run.
        second: those of the second.

    Returns:
        For each search of the first run, the one of the second run with the same tokens.

    Raises:
        ShapeError: other numbers of calls or tokens, or latents of another dim.
        OptionError: other code vectors.
    """
    calls = {place._replace(call=0): _calls(first, place) for place in first}
    for place in second:
        calls.setdefault(place._replace(call=0), 0)
    paired: dict[Place, Search] = {}
    for place, count in calls.items():
        again = [second[place._replace(call=at)] for at in range(_calls(second, place))]
        if not count or not again or len(again) % count:
            text = (
                f"layer {place.layer!r}: the second run must call it as often as the first, or a "
                f"multiple of that where it runs in pieces, got {len(again)} calls for {count}; "
                "both runs must be of the same model on the same batch"
            )
            raise ShapeError(text)
        for call in range(count):
            here = place._replace(call=call)
            paired[here] = _joined(first[here], again[call::count], place.layer)
    return {place: paired[place] for place in first}


def _calls(run: Run, place: Place) -> int:
    return sum(each.layer == place.layer and each.part == place.part for each in run)


def _joined(first: Search, pieces: list[Search], layer: str) -> Search:
    shapes = [piece.latents.shape for piece in pieces]
    rows, dim = first.latents.shape
    if {shape[1] for shape in shapes} != {dim} or sum(shape[0] for shape in shapes) != rows:
        got = " and ".join(str(shape) for shape in dict.fromkeys(shapes))
        text = (
            f"layer {layer!r}: the second run must hand the same tokens to the search, latents "
            f"of shape {(rows, dim)} in all, got {got}; it must not crop, pad or leave out what "
            "the first one sees"
        )
        raise ShapeError(text)
    for piece in pieces:
        _require_same_codebook(first.codebook, piece.codebook, layer)
    return Search(
        np.concatenate([piece.latents for piece in pieces]),
        first.codebook,
        np.concatenate([piece.codes for piece in pieces]),
    )


def _require_same_codebook(
    first: Float64Array | Grid, second: Float64Array | Grid, layer: str
) -> None:
    if first is second:
        return
    if isinstance(first, Grid) or isinstance(second, Grid):
        if isinstance(first, Grid) and isinstance(second, Grid) and first.same(second):
            return
        text = (
            f"layer {layer!r}: both runs must compare with the same thresholds, got those of other "
            "levels or of another bound; both runs must be of the same model"
        )
        raise OptionError(text)
    if np.array_equal(first, second, equal_nan=True):
        return
    if first.shape != second.shape:
        what = f"got shapes {first.shape} and {second.shape}"
    else:
        bad = np.nonzero((first != second).any(axis=1))[0]
        with np.errstate(over="ignore", invalid="ignore"):
            gap = np.abs(first - second).max()
        what = f"got {len(bad)} other ones, the first is row {bad[0]}, by up to {gap:.3g}"
    text = (
        f"layer {layer!r}: both runs must search the same code vectors, {what}; code vectors that "
        "are computed (mapped, normalised, started from the data) round otherwise in another "
        "precision: take perturbation='batch' or 'bfloat16', or a model whose codebook has started"
    )
    raise OptionError(text)


def _nearest_with_radius(search: Search, who: str) -> tuple[Int64Array, Float64Array]:
    codes, latents = _nearest(search, who), search.latents
    if isinstance(search.codebook, Grid):
        return codes, search.codebook.distances(torch.from_numpy(latents)).numpy()
    return codes, np.asarray(stability_radius(latents, search.codebook, codes))


def _nearest(search: Search, who: str) -> Int64Array:
    if isinstance(search.codebook, Grid):
        grid, latents = search.codebook, torch.from_numpy(search.latents)
        return grid.join(grid.digits(latents)).numpy()
    try:
        return np.asarray(assign(search.latents, search.codebook).codes)
    except NonFiniteError as error:
        text = f"{who}: {error}"
        raise NonFiniteError(text) from None


def _require_proved(tokens: Tokens, before: Int64Array, after: Int64Array, name: str) -> None:
    """Require what ``isNearestCode_of_small_perturbation`` says."""
    broken = np.nonzero((before != after) & ~tokens.could_flip)[0]
    if len(broken):
        row = int(broken[0])
        text = (
            f"layer {name!r}: a latent that moves by less than its radius must keep its nearest "
            f"code, but row {row} moved by at most {tokens.noise[row]:.17g}, has the radius "
            f"{tokens.radius[row]:.17g} and went from code {before[row]} to {after[row]} "
            f"({len(broken)} rows in all); this is an error of certvq, please report it"
        )
        raise CertificateError(text)
