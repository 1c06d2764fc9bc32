"""The methods of one scalar quantizer, watched or replaced on that instance.

In: a layer and its rule. Out: `ScalarSite`, and the instance attributes that take the place of its
methods. Must not know any particular library.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from certvq.errors import UnknownQuantizerError
from certvq.inspect._scalar.grid import Grid
from certvq.inspect._scalar.rules import RULES, ScalarRule
from certvq.inspect._scalar.tally import require_finite

ScalarObserver: TypeAlias = Callable[[torch.Tensor, torch.Tensor, Grid], None]
"""Called with latents (N, D), the indices (N,) that the layer returns, and its grid."""


@dataclass(eq=False)
class ScalarSite:
    """One scalar quantizer.

    Attributes:
        name: of the layer in its model, for messages.
        module: the layer.
        rule: what is known of its kind.
        certify: whether certified indices take the place of the layer's.
        observe: what to call with each call's latents and indices.
        inner: instance attributes that were in the way before.
        pending: what an earlier method of this call returned, and the latents that it was given.
        busy: whether a watched method runs.
    """

    name: str
    module: nn.Module
    rule: ScalarRule
    certify: bool = True
    observe: ScalarObserver | None = None
    inner: dict[str, Any] = field(default_factory=dict[str, Any])
    pending: tuple[Any, Any] = (None, None)
    busy: bool = False

    @property
    def grid(self) -> Grid:
        """The layer's grid, by its levels as they are now."""
        return self.rule.grid(self.module)

    def original(self, method: str) -> Callable[..., Any]:
        """Return what the site is in the way of."""
        own = self.inner.get(method)
        return own or getattr(type(self.module), method).__get__(self.module)

    def take_pending(self) -> tuple[Any, Any]:
        """Return what is pending, and forget it."""
        pending, self.pending = self.pending, (None, None)
        return pending

    def require(self, latents: torch.Tensor) -> torch.Tensor:
        """Return finite latents (N, D).

        Raises:
            NonFiniteError: naming the layer, row and column.
        """
        require_finite(latents.detach(), self.name)
        return latents.detach()

    def settle(
        self, latents: torch.Tensor, codes: torch.Tensor, grid: Grid | None = None
    ) -> torch.Tensor:
        """Report the indices (...) of latents (N, D); return certified ones if that is asked."""
        grid = self.grid if grid is None else grid
        if self.certify:
            right = grid.join(grid.digits(latents)).reshape(codes.shape)
            fits = grid.shape[0] - 1 <= torch.iinfo(codes.dtype).max
            codes = right.to(codes.dtype) if fits else right
        if self.observe is not None:
            self.observe(latents, codes.reshape(-1), grid)
        return codes


@dataclass(eq=False)
class Watched:
    """An instance attribute in the place of a method."""

    site: ScalarSite
    method: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # exact integers are found outside of the graph
            return torch.compiler.disable(self.run)(*args, **kwargs)
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the method, watched."""
        return self.site.rule.call(self.site, self.method, *args, **kwargs)


def scalar_layers(module: nn.Module) -> dict[str, tuple[nn.Module, ScalarRule]]:
    """Return the scalar quantizers of other libraries in a model, by name, each with its rule."""
    return {
        name: (each, rule)
        for name, each in module.named_modules()
        for rule in RULES
        if rule.matches(each)
    }


def scalar_site_of(module: nn.Module) -> ScalarSite | None:
    """Return the site that is installed on a module, or None."""
    watched = (each for each in vars(module).values() if isinstance(each, Watched))
    return next((each.site for each in watched), None)


def install_scalar(site: ScalarSite) -> None:
    """Put a site in the place of its methods; one that is there gives way.

    Raises:
        UnknownQuantizerError: the layer finds other levels than its kind does.
    """
    before = scalar_site_of(site.module)
    if before is not None:
        uninstall_scalar(before)
    _require_known(site)
    own = vars(site.module)
    site.inner = {method: own[method] for method in site.rule.methods if method in own}
    own.update({method: Watched(site, method) for method in site.rule.methods})


def uninstall_scalar(site: ScalarSite) -> None:
    """Undo `install_scalar`."""
    own = vars(site.module)
    for method in site.rule.methods:
        own.pop(method, None)
    own.update(site.inner)


@contextmanager
def scalar_watched(
    name: str, module: nn.Module, rule: ScalarRule, observe: ScalarObserver
) -> Iterator[None]:
    """Watch a layer as it is, patched or not, and take the watch off again."""
    before = scalar_site_of(module)
    site = ScalarSite(name, module, rule, certify=before is not None, observe=observe)
    install_scalar(site)
    try:
        yield
    finally:
        uninstall_scalar(site)
        if before is not None:
            install_scalar(before)


def _require_known(site: ScalarSite) -> None:
    """Ask the layer for levels in the middle of cells and near their borders."""
    grid = site.grid
    tensors = (*site.module.buffers(), *site.module.parameters())
    device = next((each.device for each in tensors), torch.device("cpu"))
    probes = grid.probes().to(device, torch.float32)
    with torch.no_grad():
        found = site.rule.places(site.module, probes)
    bad = (found != grid.digits(probes)).nonzero()
    if len(bad):
        row, feature = (int(each) for each in bad[0])
        kind = type(site.module)
        text = (
            f"layer {site.name!r} ({kind.__module__}.{kind.__qualname__}) must find levels as its "
            f"kind does ({site.rule.library}), but gives {float(probes[row, feature]):.6g} in "
            f"feature {feature} the level {int(found[row, feature])} rather than "
            f"{int(grid.digits(probes)[row, feature])}; this version or subclass computes "
            "something else, and was neither audited nor patched"
        )
        raise UnknownQuantizerError(text)
