"""Record what the quantizers of a model compare while it runs.

In: a torch module, and a function that runs it. Out: for each search, in the order in which they
happen, its latents, code vectors and codes as host arrays. Must not leave a trace in the module.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from certvq._types import Float64Array, Int64Array
from certvq.errors import UnknownQuantizerError
from certvq.inspect import _own, _running
from certvq.inspect._libraries.adapter import Comparison
from certvq.inspect._libraries.find import known_layers, none_found, unknown_names
from certvq.inspect._own import other_layers, outermost, own_layers
from certvq.inspect._scalar.grid import Grid
from certvq.inspect._scalar.site import ScalarObserver, scalar_layers, scalar_watched


class Place(NamedTuple):
    """One codebook of a model, in one of the calls of its layer within a run.

    Attributes:
        layer: the layer's name, as in ``named_modules``.
        call: how often the layer was called before in this run.
        part: which of the searches, and which of the codebooks side by side, of that call.
    """

    layer: str
    call: int
    part: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Search:
    """What one search compared.

    Attributes:
        latents: (N, D), exactly the numbers that were compared.
        codebook: (K, D), likewise; or the exact thresholds of a scalar quantizer.
        codes: (N,) as the model chose them.
    """

    latents: Float64Array
    codebook: Float64Array | Grid
    codes: Int64Array


Run = dict[Place, Search]
"""The searches of a run, in the order in which they happened."""


class Recorder:
    """Watches the quantizers of a module, one run at a time.

    Args:
        module: any module.

    Attributes:
        kinds: the class of each layer, by its name.

    Raises:
        UnknownQuantizerError: the module has no quantizer that is known.
    """

    def __init__(self, module: nn.Module) -> None:
        self._theirs, self._ours = known_layers(module), own_layers(module)
        self._scalars = scalar_layers(module)
        if not (self._theirs or self._ours or self._scalars):
            raise UnknownQuantizerError(_nothing_known(module))
        self.kinds = {name: type(each).__qualname__ for name, each in self.layers()}
        self._run: Run = {}
        self._codebooks: dict[tuple[str, tuple[int, int]], Float64Array] = {}

    def record(self, run: Callable[[], object]) -> Run:
        """Run, and return what was searched meanwhile."""
        self._run = {}
        with ExitStack() as stack:
            for layer in self._theirs:
                observe = _observer(self, layer.name)
                stack.enter_context(_running.watched(layer, observe))
            for name, each in self._ours.items():
                scalar = _scalar_observer(self, name)
                stack.enter_context(_own.watched(name, each, _observer(self, name), scalar=scalar))
            for name, (each, rule) in self._scalars.items():
                scalar = _scalar_observer(self, name)
                stack.enter_context(scalar_watched(name, each, rule, scalar))
            run()
        return self._run

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the quantizers with their names."""
        yield from ((layer.name, layer.module) for layer in self._theirs)
        yield from self._ours.items()
        yield from ((name, each) for name, (each, _) in self._scalars.items())

    def add(
        self,
        layer: str,
        part: tuple[int, int],
        latents: torch.Tensor,
        codebook: torch.Tensor | Grid,
        codes: torch.Tensor,
    ) -> None:
        """Take one search in."""
        call = sum(place.layer == layer and place.part == part for place in self._run)
        self._run[Place(layer, call, part)] = Search(
            _numbers(latents),
            codebook if isinstance(codebook, Grid) else self._kept(layer, part, _numbers(codebook)),
            codes.detach().cpu().long().numpy().copy(),
        )

    def _kept(self, layer: str, part: tuple[int, int], codebook: Float64Array) -> Float64Array:
        """Return the array that holds these code vectors already, so that calls share one."""
        kept = self._codebooks.get((layer, part))
        if kept is None or not np.array_equal(kept, codebook):
            self._codebooks[layer, part] = kept = codebook
        return kept


def unreported(module: nn.Module) -> tuple[str, ...]:
    """Name what looks like a quantizer, but whose codes are not those of a search that is known."""
    known = {layer.name for layer in known_layers(module)}
    known |= {*own_layers(module), *scalar_layers(module)}
    others = other_layers(module, own_layers(module))
    return (*others, *unknown_names(module, {*known, *others}))


@contextmanager
def recording(module: nn.Module) -> Iterator[Recorder]:
    """Put a module into eval mode, record runs of it, and put it back as it was.

    Raises:
        UnknownQuantizerError: it has no quantizer that is known.
    """
    recorder = Recorder(module)
    with ExitStack() as stack:
        stack.enter_context(_running.evaluating(module))
        theirs = (layer.module for layer in known_layers(module))
        scalars = (layer for layer, _ in scalar_layers(module).values())
        for layer in (*theirs, *scalars, *outermost(module)):
            stack.enter_context(_running.unchanged(layer))
        yield recorder


def _nothing_known(module: nn.Module) -> str:
    others = other_layers(module, ())
    if not others:
        return none_found(module)
    names = ", ".join(repr(name) for name in others)
    return (
        "a stability report needs layers whose code is the nearest one of a codebook or of fixed "
        f"levels, as VectorQuantize and FSQ have it, but {names} find codes otherwise (FSP, "
        "BinaryMapper, networks, a Beam); use another layer, or a beam of width 1"
    )


def _observer(
    recorder: Recorder, name: str
) -> Callable[[int, Comparison, torch.Tensor, torch.dtype], None]:
    def observe(
        ordinal: int, comparison: Comparison, codes: torch.Tensor, held: torch.dtype
    ) -> None:
        del held
        if comparison.own or codes.ndim == 3:
            what = "code vectors of its own" if comparison.own else f"{codes.shape[2]} codes"
            text = (
                f"layer {name!r} gives each token {what}; a stability report needs one nearest "
                "code of one codebook; use a layer with a codebook, or a beam of width 1"
            )
            raise UnknownQuantizerError(text)
        parts = zip(comparison.latents, comparison.codebook, codes, strict=True)
        for head, (latents, codebook, chosen) in enumerate(parts):
            recorder.add(name, (ordinal, head), latents, codebook, chosen)

    return observe


def _scalar_observer(recorder: Recorder, name: str) -> ScalarObserver:
    def observe(latents: torch.Tensor, codes: torch.Tensor, grid: Grid) -> None:
        recorder.add(name, (0, 0), latents, grid, codes)

    return observe


def _numbers(tensor: torch.Tensor) -> Float64Array:
    """Copy floats to the host as float64, which holds each of them exactly."""
    return tensor.detach().cpu().double().numpy().copy()
