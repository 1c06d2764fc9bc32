"""Add up the batches of a stability report.

In: the tokens of each search, batch by batch. Out: one `LayerStability` for each codebook and
level. Must not compare runs.
"""

from typing import NamedTuple

import numpy as np

from certvq._types import BoolArray, Int64Array
from certvq.inspect._stability.canonical import Marks
from certvq.inspect._stability.compare import Tokens
from certvq.inspect._stability.levels import Level
from certvq.inspect._stability.record import Place
from certvq.inspect._stability.report import AgainstCanonical, LayerStability, Spread


class _Batch(NamedTuple):
    tokens: Tokens
    after: BoolArray
    marks: Marks | None


class Tally:
    """Adds up batches.

    Args:
        kinds: the class of each layer, by its name.
        levels: where layers stand in residual quantizers.
        measured: whether there is a second run, so that noise is known.
    """

    def __init__(self, kinds: dict[str, str], levels: dict[str, Level], *, measured: bool) -> None:
        self.kinds, self.levels, self.measured = kinds, levels, measured
        self._batches: dict[Place, list[_Batch]] = {}
        self._sizes: dict[Place, tuple[int, int]] = {}

    @property
    def layers(self) -> set[str]:
        """Names of the layers that were reached."""
        return {place.layer for place in self._batches}

    def add(
        self,
        tokens: dict[Place, Tokens],
        sizes: dict[Place, tuple[int, int]],
        marks: dict[Place, Marks],
    ) -> None:
        """Take one batch in.

        Args:
            tokens: of each search, in the order of the run.
            sizes: K and D of each.
            marks: of each, or none at all.
        """
        before: dict[Place, BoolArray] = {}
        for place, each in tokens.items():
            after = np.zeros(len(each.flipped), dtype=np.bool_)
            for earlier, flipped in before.items():
                if self._follows(place, earlier) and len(flipped) == len(after):
                    after |= flipped
            before[place] = each.flipped
            # Calls that are no levels of anything are one codebook's tokens, one after another.
            kept = place if place.layer in self.levels else place._replace(call=0)
            self._batches.setdefault(kept, []).append(_Batch(each, after, marks.get(place)))
            self._sizes[kept] = sizes[place]

    def results(self) -> tuple[LayerStability, ...]:
        """Return what was added up, in the order in which the codebooks were first searched."""
        return tuple(self._result(place) for place in self._batches)

    def _follows(self, place: Place, earlier: Place) -> bool:
        """Say whether a search is for what an earlier one left over."""
        level, other = self.levels.get(place.layer), self.levels.get(earlier.layer)
        if level is None or other is None or level.owner != other.owner:
            return False
        return (level.number, place.call) != (other.number, earlier.call)

    def _result(self, place: Place) -> LayerStability:
        batches = self._batches[place]
        after = np.concatenate([batch.after for batch in batches])
        noise = np.concatenate([batch.tokens.noise for batch in batches])
        radius = np.concatenate([batch.tokens.radius for batch in batches])
        unsure = np.concatenate([batch.tokens.could_flip for batch in batches])
        flipped = np.concatenate([batch.tokens.flipped for batch in batches])
        size, dim = self._sizes[place]
        return LayerStability(
            name=self._name(place),
            kind=self.kinds[place.layer],
            tokens=len(after),
            codebook_size=size,
            dim=dim,
            noise=Spread.of(noise[~after]) if self.measured else None,
            radius=Spread.of(radius[~after]),
            could_flip=_numbers(unsure & ~after),
            flipped=_numbers(flipped & ~after),
            after_flip=_numbers(after),
            flipped_after=int((flipped & after).sum()),
            inexact=sum(int(batch.tokens.inexact.sum()) for batch in batches),
            canonical=_against([batch.marks for batch in batches if batch.marks is not None]),
        )

    def _name(self, place: Place) -> str:
        places = [each for each in self._batches if each.layer == place.layer]
        return place.layer if len(places) == 1 else f"{place.layer}[{places.index(place)}]"


def _against(marks: list[Marks]) -> AgainstCanonical | None:
    if not marks:
        return None
    names = ("first", "second", "open")
    lists = ([getattr(each, name) for each in marks] for name in names)
    return AgainstCanonical(*(_numbers(np.concatenate(each)) for each in lists))


def _numbers(which: BoolArray) -> Int64Array:
    numbers = np.nonzero(which)[0].astype(np.int64)
    numbers.flags.writeable = False
    return numbers
