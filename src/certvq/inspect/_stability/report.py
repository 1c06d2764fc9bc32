"""What a stability report says.

In: counts, token numbers and distances. Out: `Spread`, `LayerStability` and `StabilityReport`,
frozen, as text and as JSON. Must not compute but shares and order statistics.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from certvq._types import Float64Array, Int64Array


@dataclass(frozen=True)
class Spread:
    """How distances are spread over tokens; each figure is that of some token, none is averaged.

    Attributes:
        least: the smallest.
        low: that of the first percent.
        median: the lower one, of an even number.
        high: that of 99 percent.
        greatest: the largest; infinite where a codebook has one code vector.
    """

    least: float
    low: float
    median: float
    high: float
    greatest: float

    @classmethod
    def of(cls, distances: Float64Array) -> "Spread | None":
        """Return the spread of distances (N,); None of no tokens.

        Example:
            >>> Spread.of(np.arange(101.0))
            Spread(least=0.0, low=1.0, median=50.0, high=99.0, greatest=100.0)
        """
        if not len(distances):
            return None
        shares = (0.0, 0.01, 0.5, 0.99, 1.0)
        return cls(*map(float, np.quantile(distances, shares, method="inverted_cdf")))

    def to_dict(self) -> dict[str, float | None]:
        """Return what JSON can hold; infinity as None."""
        return {name: each if each < math.inf else None for name, each in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class AgainstCanonical:
    """Which tokens of two runs have another code than the network has over the real numbers.

    Attributes:
        first: int64, tokens with another code in the first run.
        second: int64, in the second run; none where a distance was given.
        open: int64, tokens whose canonical code is not known, which are in neither list.
    """

    first: Int64Array
    second: Int64Array
    open: Int64Array

    def to_dict(self) -> dict[str, list[int]]:
        """Return what JSON can hold."""
        return {each.name: getattr(self, each.name).tolist() for each in fields(self)}


@dataclass(frozen=True, eq=False)
class LayerStability:
    """What one codebook of a model did in both runs.

    Tokens are numbered from 0 in the order in which the first run hands them to the search, through
    all batches.

    Attributes:
        name: of the layer, as in ``named_modules``; with ``[i]`` where it has several codebooks, or
            serves several levels.
        kind: its class.
        tokens: how many there are.
        codebook_size: K.
        dim: D of what is compared.
        noise: how far latents moved, upper bounds; None where a distance was given.
        radius: how far they may move before their nearest code can change, lower bounds.
        could_flip: int64, tokens whose nearest code is not proved to be the same in both runs: they
            moved by no less than their radius.
        flipped: int64, tokens for which the model chose another code in the second run.
        after_flip: int64, tokens of a later level of a residual quantizer for which an earlier
            level chose another code, so that another vector is left over; `noise`, `radius`,
            `could_flip` and `flipped` leave them out.
        flipped_after: how many of `after_flip` have another code at this level, too.
        inexact: how many tokens the model gave, in one run or both, a code that is not the lowest
            nearest one; 0 with certified codes.
        canonical: the codes of both runs against the canonical ones; None where these were not
            asked for.
    """

    name: str
    kind: str
    tokens: int
    codebook_size: int
    dim: int
    noise: Spread | None
    radius: Spread | None
    could_flip: Int64Array
    flipped: Int64Array
    after_flip: Int64Array
    flipped_after: int
    inexact: int
    canonical: AgainstCanonical | None = None

    @property
    def flipped_inexactly(self) -> Int64Array:
        """Tokens whose code changed although their nearest code provably did not.

        The model's own argmin is at fault, not the noise; empty with certified codes.
        """
        return np.setdiff1d(self.flipped, self.could_flip)

    @property
    def share_could_flip(self) -> float:
        """Tokens that could flip, per token that `could_flip` does not leave out."""
        return len(self.could_flip) / max(self.tokens - len(self.after_flip), 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, `flipped_inexactly` and the share included."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["flipped_inexactly"] = self.flipped_inexactly
        values["share_could_flip"] = self.share_could_flip
        return {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class StabilityReport:
    """Which tokens of a model could get another code, and which did.

    Attributes:
        layers: one for each codebook and level that the data reached, in the order of the run.
        perturbation: what differed in the second run, in words; or the distance that was given.
        unreported: names of what looks like a quantizer and is not in the report: its codes are
            found otherwise, or it is not known, or the data did not reach it.
    """

    layers: tuple[LayerStability, ...]
    perturbation: str | float
    unreported: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """How many codes were looked at."""
        return sum(layer.tokens for layer in self.layers)

    @property
    def unstable(self) -> int:
        """How many of them could flip; tokens after a flip at an earlier level left out."""
        return sum(len(layer.could_flip) for layer in self.layers)

    @property
    def flips(self) -> int:
        """How many did flip; likewise."""
        return sum(len(layer.flipped) for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "tokens": self.tokens,
            "unstable": self.unstable,
            "flips": self.flips,
            "perturbation": self.perturbation,
            "unreported": list(self.unreported),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def __str__(self) -> str:
        width = max(len("layer"), *(len(_shown(layer.name)) for layer in self.layers))
        head = (
            f"{'layer':{width}} {'tokens':>8} {'noise: median':>13} {'greatest':>8} "
            f"{'radius: low':>11} {'median':>8} {'could flip':>10} {'flipped':>7} "
            f"{'after flip':>10}"
        )
        rows = [
            f"{_shown(layer.name):{width}} {layer.tokens:>8} "
            f"{_figure(layer.noise, 'median'):>13} {_figure(layer.noise, 'greatest'):>8} "
            f"{_figure(layer.radius, 'low'):>11} {_figure(layer.radius, 'median'):>8} "
            f"{len(layer.could_flip):>10} {len(layer.flipped):>7} {len(layer.after_flip):>10}"
            for layer in self.layers
        ]
        return "\n".join([self._first_line(), head, *rows, *self._last_lines()])

    def _first_line(self) -> str:
        if isinstance(self.perturbation, str):
            return f"second run: {self.perturbation}"
        return f"latents may move by {self.perturbation:g}"

    def _last_lines(self) -> list[str]:
        lines: list[str] = []
        if isinstance(self.perturbation, str):
            after = sum(len(layer.after_flip) for layer in self.layers)
            rest, all_ = self.tokens - after - self.unstable, self.tokens - after
            lines.append(f"proved to keep their nearest code, and did: {rest} of {all_} tokens")
        found = [layer.canonical for layer in self.layers if layer.canonical is not None]
        if found:
            first, second, left = (
                sum(len(getattr(each, name)) for each in found)
                for name in ("first", "second", "open")
            )
            runs = f"{first} tokens of the first run"
            runs += f", {second} of the second" if isinstance(self.perturbation, str) else ""
            lines.append(f"not the canonical code: {runs}; open: {left}")
        inexact = sum(len(layer.flipped_inexactly) for layer in self.layers)
        if inexact:
            lines.append(
                f"flipped all the same: {inexact}, by the model's own argmin, which is not exact; "
                "see certvq.patch_module"
            )
        if self.unreported:
            lines.append(f"not reported: {', '.join(map(_shown, self.unreported))}")
        return lines


def _figure(spread: Spread | None, name: str) -> str:
    return "-" if spread is None else f"{getattr(spread, name):.2g}"


def _plain(value: Any) -> Any:
    if isinstance(value, (Spread, AgainstCanonical)):
        return value.to_dict()
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shown(name: str) -> str:
    """Return the name of a layer, or what to call the module itself."""
    return name or "(itself)"
