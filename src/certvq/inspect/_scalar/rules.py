"""How scalar quantizers of other libraries find an index, and where it can be replaced.

In: a layer. Out: the methods that are watched, what they quantize and what they return. Must not
import the libraries: classes are known by name, module path and attributes.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from certvq.inspect._scalar.grid import (
    Grid,
    rounded_grid,
    scaled_tanh_grid,
    sign_grid,
    twice_bound_grid,
)

if TYPE_CHECKING:
    from certvq.inspect._scalar.site import ScalarSite


@dataclass(frozen=True)
class ScalarRule(ABC):
    """One kind of scalar quantizer.

    Attributes:
        library: where it comes from, for messages.
        classes: names of its classes.
        prefixes: beginnings of the path of the module that defines it; none for layers that people
            copy into their own code.
        has: attributes that an instance must have.
        methods: which are watched.
    """

    library: str
    classes: tuple[str, ...]
    prefixes: tuple[str, ...]
    has: tuple[str, ...]
    methods: tuple[str, ...]

    def matches(self, module: nn.Module) -> bool:
        """Say whether a module is a quantizer of this kind, or a subclass of one."""
        kinds = [kind for kind in type(module).__mro__ if kind.__name__ in self.classes]
        ours = any(kind.__module__.startswith("certvq.") for kind in type(module).__mro__)
        known = any(f"{kind.__module__}.".startswith(self.prefixes or "") for kind in kinds)
        return known and not ours and all(hasattr(module, name) for name in self.has)

    @abstractmethod
    def grid(self, module: nn.Module) -> Grid:
        """Return the exact grid of a layer."""

    @abstractmethod
    def places(self, module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Let the layer's own code find the levels (N, D) of latents (N, D)."""

    @abstractmethod
    def call(self, site: "ScalarSite", method: str, *args: Any, **kwargs: Any) -> Any:
        """Run a watched method."""


@dataclass(frozen=True)
class RoundedRule(ScalarRule):
    """FSQ with a method `quantize`, whose result `codes_to_indices` turns into an index."""

    def grid(self, module: nn.Module) -> Grid:
        """Return the grid of the layer's bound."""
        layer: Any = module
        return rounded_grid(
            tuple(map(int, layer._levels.tolist())),  # noqa: SLF001 (the layer has no other)
            preserve_symmetry=bool(getattr(layer, "preserve_symmetry", False)),
            hard_clamp=bool(getattr(layer, "bound_hard_clamp", False)),
        )

    def places(self, module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Quantize, and scale the result to integers."""
        layer: Any = module
        values = layer.quantize(latents[None, :, None])[0, :, 0]
        return layer._scale_and_shift(values).round().long()  # noqa: SLF001

    def call(self, site: "ScalarSite", method: str, *args: Any, **kwargs: Any) -> Any:
        """Correct the levels, and then the index of these very levels."""
        layer: Any = site.module
        original = site.original(method)
        given: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
        result = original(*args, **kwargs)
        if method == "quantize":
            flat = site.require(given.reshape(-1, given.shape[-1]))
            if site.certify:
                digits = site.grid.digits(flat).view(given.shape)
                shown = layer._scale_and_shift(result.detach().double()).round()  # noqa: SLF001
                points = layer._scale_and_shift_inverse(digits)  # noqa: SLF001
                result = _corrected(result, points, shown != digits)
            site.pending = (result, flat)
            return result
        known, flat = site.take_pending()
        return site.settle(flat, result) if known is given else result


@dataclass(frozen=True)
class BoundRule(ScalarRule):
    """FSQ of transformers: `forward` returns values and indices; a caller may bound before it."""

    def grid(self, module: nn.Module) -> Grid:
        """Return the grid of one bound."""
        return rounded_grid(self._levels(module))

    def places(self, module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Quantize, and scale the values to integers."""
        layer: Any = module
        half = layer.levels // 2
        return (layer.forward(latents)[0] * half + half).round().long()

    def call(self, site: "ScalarSite", method: str, *args: Any, **kwargs: Any) -> Any:
        """Remember what was bounded by a caller; correct values and indices of the rest."""
        given: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
        original = site.original(method)
        if method == "bound":
            result = original(*args, **kwargs)
            if not site.busy:
                site.pending = (result, given)
            return result
        bounded, before = site.take_pending()
        twice = bounded is given
        grid = twice_bound_grid(self._levels(site.module)) if twice else site.grid
        latents = before if twice else given
        flat = site.require(latents.reshape(-1, latents.shape[-1]))
        site.busy = True
        try:
            values, codes = original(*args, **kwargs)
        finally:
            site.busy = False
        if site.certify:
            layer: Any = site.module
            half = (layer.levels // 2).to(values.device)
            digits = grid.digits(flat).view(values.shape)
            shown = (values.detach().double() * half + half).round()
            points = (digits - half) / half
            values = _corrected(values, points, shown != digits)
        return values, site.settle(flat, codes, grid)

    @staticmethod
    def _levels(module: nn.Module) -> tuple[int, ...]:
        layer: Any = module
        return tuple(layer.quantization_levels)


@dataclass(frozen=True)
class SignRule(ScalarRule):
    """LFQ of vector-quantize-pytorch: `forward` takes signs after `maybe_l2norm`."""

    def grid(self, module: nn.Module) -> Grid:
        """Return the grid of signs."""
        layer: Any = module
        return sign_grid(layer.codebook_dim)

    def places(self, module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Run the layer without its projections and rotation."""
        layer: Any = _shim(module, project_in=nn.Identity(), project_out=nn.Identity())
        count = layer.num_codebooks
        layer.dim, layer.orthogonal_rotation = layer.codebook_dim * count, False
        layer.training, layer.soft_clamp_input_value = False, None
        codes = layer.forward(latents[None].repeat(1, 1, count))[1]
        return self.grid(module).split(codes.reshape(-1, count)[:, 0])

    def call(self, site: "ScalarSite", method: str, *args: Any, **kwargs: Any) -> Any:
        """Keep the signs that a soft clamp or a normalisation loses by underflow."""
        original = site.original(method)
        if method == "maybe_l2norm":
            return self._normalised(site, original, args[0])
        layer: Any = site.module
        seen: list[Any] = []
        handle = layer.project_in.register_forward_hook(lambda _, __, made: seen.append(made))
        site.pending = (None, seen)
        try:
            result = original(*args, **kwargs)
        finally:
            handle.remove()
            known, _ = site.take_pending()
        found, breakdown = result if isinstance(result[0], tuple) else (result, None)
        codes = site.settle(site.require(known.reshape(-1, known.shape[-1])), found.indices)
        found = found._replace(indices=codes)
        return found if breakdown is None else (found, breakdown)

    @staticmethod
    def _normalised(site: "ScalarSite", original: Any, given: torch.Tensor) -> torch.Tensor:
        """Normalise; the first time in a call, what is given has the signs of the latents."""
        layer: Any = site.module
        known, seen = site.pending
        result = original(given)
        if known is not None or seen is None:  # not the latents: code vectors
            return result
        known = given if layer.orthogonal_rotation else seen[0].reshape(given.shape)
        site.pending = (known, seen)
        if not site.certify:
            return result
        lost = (known > 0) & ~(result > 0)
        return torch.where(lost, torch.finfo(result.dtype).tiny, result)


@dataclass(frozen=True)
class ScaledTanhRule(ScalarRule):
    """`FSQCodebook` of S3Tokenizer: ``round(0.999 tanh(z)) + 1`` of eight features."""

    def matches(self, module: nn.Module) -> bool:
        """Say likewise, for three levels."""
        return super().matches(module) and getattr(module, "level", None) == 3

    def grid(self, module: nn.Module) -> Grid:
        """Return the grid of the layer's bound, whose scale is a float32."""
        del module
        scale = torch.tensor(0.9990000128746033, dtype=torch.float32).item()
        return scaled_tanh_grid(8, Fraction(scale))

    def places(self, module: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Run the layer without its projection."""
        layer: Any = _shim(module, project_down=nn.Identity())
        return self.grid(module).split(layer.encode(latents[None])[0])

    def call(self, site: "ScalarSite", method: str, *args: Any, **kwargs: Any) -> Any:
        """Read the projection, and correct the index."""
        seen: list[Any] = []
        projection = site.module.get_submodule("project_down")
        handle = projection.register_forward_hook(lambda _, __, made: seen.append(made))
        try:
            codes = site.original(method)(*args, **kwargs)
        finally:
            handle.remove()
        return site.settle(site.require(seen[-1].reshape(-1, 8)), codes)


def _corrected(values: torch.Tensor, points: torch.Tensor, differ: torch.Tensor) -> torch.Tensor:
    """Put points in the place of some values; the gradient stays that of the values."""
    if not bool(differ.any()):
        return values
    through = points.to(values.dtype) + (values - values.detach())
    return torch.where(differ, through, values)


def _shim(module: nn.Module, **parts: nn.Module) -> nn.Module:
    """Return a copy of a layer that shares all but some parts with it, unwatched."""
    shim = copy.copy(module)
    shim._modules = {**module._modules, **parts}  # noqa: SLF001 (torch has no other way)
    return shim


_FSQ = ("_levels", "_basis", "quantize", "codes_to_indices", "_scale_and_shift")

RULES: tuple[ScalarRule, ...] = (
    RoundedRule(
        "vector-quantize-pytorch, Cosmos tokenizers and copies of these",
        ("FSQ", "FSQuantizer"),
        (),
        (*_FSQ, "_scale_and_shift_inverse", "bound"),
        ("quantize", "codes_to_indices"),
    ),
    BoundRule(
        "transformers",
        ("NeuCodecFiniteScalarQuantization", "Xcodec2FiniteScalarQuantization"),
        ("transformers.models.",),
        ("quantization_levels", "levels", "bound"),
        ("bound", "forward"),
    ),
    SignRule(
        "vector-quantize-pytorch",
        ("LFQ",),
        ("vector_quantize_pytorch.",),
        ("maybe_l2norm", "codebook_dim", "mask"),
        ("maybe_l2norm", "forward"),
    ),
    ScaledTanhRule(
        "s3tokenizer",
        ("FSQCodebook",),
        ("s3tokenizer.",),
        ("project_down", "encode"),
        ("encode",),
    ),
)
