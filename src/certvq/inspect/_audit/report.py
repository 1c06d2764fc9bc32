"""What an audit of a model says.

In: counts. Out: `LayerAudit`, `Unaudited` and `ModuleAudit`, frozen, as text and as JSON. Must
not compute.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerAudit:
    """What one codebook of a model did with the data.

    Attributes:
        name: of the layer, as in ``named_modules``; with ``[h]`` where it has several codebooks.
        kind: its class.
        tokens: how many latents were audited.
        codebook_size: K.
        dim: D of what is compared, after the model's own projection.
        wrong: codes that name a code vector that is not nearest, by exact arithmetic.
        ties_broken_otherwise: codes that name a nearest code vector which has a lower equal.
        largest_excess: by how much the worst code is farther, in squared distance; 0 if none is.
        unstable: tokens whose proved stability radius is below the perturbation.
        candidates: how many codes each token gets; 1 but in a beam search. Where there are more, a
            token is wrong if one of its codes is farther than a code that it did not get, or the
            first is not nearest; its excess is by how much; and it is unstable if its nearest code
            is.
        equal_vectors: how many code vectors equal one of lower index, so that they are no code.
        zero_vectors: how many have length 0, or one too short to divide by, where the model
            compares directions; it may pass over them, or give them a score of another kind.
    """

    name: str
    kind: str
    tokens: int
    codebook_size: int
    dim: int
    wrong: int
    ties_broken_otherwise: int
    largest_excess: float
    unstable: int
    candidates: int = 1
    equal_vectors: int = 0
    zero_vectors: int = 0

    @property
    def share_wrong(self) -> float:
        """Wrong codes per token, 0 if there are no tokens."""
        return self.wrong / max(self.tokens, 1)

    @property
    def share_unstable(self) -> float:
        """Unstable codes per token, 0 if there are no tokens."""
        return self.unstable / max(self.tokens, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, the shares included."""
        shares = {"share_wrong": self.share_wrong, "share_unstable": self.share_unstable}
        return asdict(self) | shares


@dataclass(frozen=True)
class Unaudited:
    """A layer of certvq that was not audited, or not in all its calls.

    Attributes:
        name: of the layer, as in ``named_modules``.
        kind: its class.
        reason: why not.
    """

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ModuleAudit:
    """What the quantizers of a model did with the data.

    Attributes:
        layers: one for each codebook, in the order of ``named_modules``; a layer that the data
            never reached has no tokens.
        perturbation: the Euclidean distance that a code was asked to withstand; None for the
            rounding of each latent, ``u |z|`` with u the unit roundoff of its own type.
        unknown: names of modules that look like quantizers and could not be audited.
        unaudited: layers of certvq without a codebook to audit, or whose codes came otherwise than
            from a search, each with the reason; `ok` and the counts say nothing of them.
    """

    layers: tuple[LayerAudit, ...]
    perturbation: float | None
    unknown: tuple[str, ...] = ()
    unaudited: tuple[Unaudited, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every audited code is the lowest nearest one."""
        return not any(layer.wrong or layer.ties_broken_otherwise for layer in self.layers)

    @property
    def tokens(self) -> int:
        """How many codes were audited."""
        return sum(layer.tokens for layer in self.layers)

    @property
    def wrong(self) -> int:
        """How many of them name a code vector that is not nearest."""
        return sum(layer.wrong for layer in self.layers)

    @property
    def unstable(self) -> int:
        """How many of them have a proved stability radius below the perturbation."""
        return sum(layer.unstable for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "tokens": self.tokens,
            "wrong": self.wrong,
            "unstable": self.unstable,
            "perturbation": self.perturbation,
            "unknown": list(self.unknown),
            "unaudited": [asdict(each) for each in self.unaudited],
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def __str__(self) -> str:
        width = max(len("layer"), *(len(shown(layer.name)) for layer in self.layers))
        head = (
            f"{'layer':{width}}  {'tokens':>9} {'codes':>7} {'dim':>5} {'wrong':>8} {'ties':>6} "
            f"{'excess':>9} {'unstable':>8}"
        )
        rows = [
            f"{shown(layer.name):{width}}  {layer.tokens:>9} {layer.codebook_size:>7} "
            f"{layer.dim:>5} {layer.share_wrong:>8.2%} {layer.ties_broken_otherwise:>6} "
            f"{layer.largest_excess:>9.2g} {layer.share_unstable:>8.2%}"
            for layer in self.layers
            if layer.tokens
        ]
        unknown = ", ".join(map(shown, self.unknown))
        rest = [f"not audited, not known: {unknown}"] if unknown else []
        rest += [
            f"{shown(layer.name)}: {layer.candidates} codes for each token"
            for layer in self.layers
            if layer.candidates > 1
        ]
        rest += [line for layer in self.layers for line in _about_vectors(layer)]
        idle = [shown(layer.name) for layer in self.layers if not layer.tokens]
        if idle:
            names = idle[0] if len(idle) == 1 else f"{idle[0]} to {idle[-1]}"
            rest.append(f"no tokens reached {len(idle)} layers: {names}")
        rest += [
            f"not audited: {shown(each.name)} ({each.kind}): {each.reason}"
            for each in self.unaudited
        ]
        return "\n".join([head, *rows, *rest])


def _about_vectors(layer: LayerAudit) -> list[str]:
    """Name what is unusual about the code vectors of a layer."""
    vectors, name = f"of {layer.codebook_size} code vectors", shown(layer.name)
    lines: list[str] = []
    if layer.equal_vectors:
        lines.append(f"{name}: {layer.equal_vectors} {vectors} equal one of lower index")
    if layer.zero_vectors:
        lines.append(
            f"{name}: {layer.zero_vectors} {vectors} have length 0 or nearly; a model that "
            "compares directions may pass over them where they are nearest"
        )
    return lines


def shown(name: str) -> str:
    """Return the name of a layer, or what to call the module itself."""
    return name or "(itself)"
