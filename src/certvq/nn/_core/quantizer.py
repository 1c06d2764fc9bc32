"""The one interface of all quantizers.

In: latents of any layout, and a mask. Out: `Quantized`. Each family says what it does with tokens,
one a row; layouts, masks, checks and figures are the same for all and stand here. Must not know of
any family.
"""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch

from certvq._types import Bool, Float, Int64, Integer
from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import Sizes, require_codes, require_integers, require_range
from certvq.nn._core.latents import (
    PADDING,
    LayoutName,
    among_padding,
    find_layout,
    kept_rows,
    require_same_device,
)
from certvq.nn._core.loading import CheckedState
from certvq.nn._core.losses import saturated
from certvq.nn._core.options import checked
from certvq.nn._core.uncompiled import refuse_transforms, refused, register
from certvq.nn._core.usage import Place, split_places, tally, usage_figures
from certvq.nn._torch.constants import Constants
from certvq.nn._torch.distributed import raise_together
from certvq.nn._torch.generators import Drawing
from certvq.nn._torch.modes import beneath, exporting, is_batched, recorded, transforming
from certvq.nn._torch.transaction import all_or_nothing

_Layer = TypeVar("_Layer", bound="BaseQuantizer")


class Passing(dict[str, torch.Tensor]):
    """Figures with one number for each sample of `torch.func.vmap`, which end with it.

    The function that is transformed may return them; copies and pickles are empty.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, torch.Tensor]:
        """Return nothing: such tensors cannot be copied."""
        del memo
        return {}

    def __reduce__(self) -> tuple[type[dict[str, torch.Tensor]], tuple[()]]:
        """Pickle nothing."""
        return dict, ()


def lasting(figures: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return figures as a layer may keep them.

    Args:
        figures: detached scalars by name.

    Returns:
        Ordinary tensors, or under `torch.func.vmap` a `Passing`; none while a graph is exported.
    """
    if recorded():
        return {}
    if not transforming():
        return figures
    if any(map(is_batched, figures.values())):
        return Passing(figures)
    return {name: beneath(value) for name, value in figures.items()}


def lasting_codes(codes: torch.Tensor) -> torch.Tensor | None:
    """Return codes as a layer may keep them: by reference, and none of `torch.func.vmap`."""
    if not transforming():
        return codes
    return None if is_batched(codes) else beneath(codes)


def as_floats(figures: dict[str, torch.Tensor]) -> dict[str, float]:
    """Read figures; those of `torch.func.vmap` are no numbers and are left out."""
    if isinstance(figures, Passing):
        return {}
    return {name: float(value) for name, value in figures.items()}


class Quantized(NamedTuple):
    """What a quantizer's forward pass returns; unpacks like a three-tuple.

    Attributes:
        quantized: the code vectors, of the latents' shape, with `Quantizer.width` features, and the
            codebook's type of number; zero where a mask says padding.
        codes: int64, the latents' shape without the feature axis, followed by the axes of the codes
            of one token if it has several; `PADDING` where a mask says so.
        loss: scalar; what training adds to the reconstruction loss. In eval mode it is finite for
            all finite latents and weights: a mean or a sum beyond the greatest number of its type
            counts as that number. Its gradient for the latents is then finite, as long as latents
            and vectors differ by finite numbers.
    """

    quantized: Float[torch.Tensor, "first ..."]
    codes: Int64[torch.Tensor, "first ..."]
    loss: Float[torch.Tensor, ""]


class Found(NamedTuple):
    """What a family finds for tokens.

    Attributes:
        vectors: (N, D) with their gradients.
        codes: int64 (N, ...).
        loss: scalar.
        figures: detached scalars by name; losses are called ``..._loss`` and have no weight yet.
    """

    vectors: Float[torch.Tensor, "N width"]
    codes: Int64[torch.Tensor, "N ..."]
    loss: Float[torch.Tensor, ""]
    figures: dict[str, torch.Tensor]


@checked
class BaseQuantizer(CheckedState, Drawing, Constants, abc.ABC):
    """A layer that replaces latents by code vectors, whatever the tokens know of each other.

    Most families quantize token by token and derive from `Quantizer`. `load_state_dict` raises
    `NonFiniteError` for NaN or infinity, and then nothing has been loaded.

    Args:
        dim: D, size of the feature axis, >= 1.
        layout: names of the axes of latents, one of `LayoutName`.

    Attributes:
        dim: D.
        latest: figures of the latest forward pass, detached scalars; those of one under
            `torch.func.vmap` can be read within the function that it transforms only.

    Raises:
        OptionError: an option out of its range.
    """

    def __init__(self, dim: int, *, layout: LayoutName = "b n d") -> None:
        super().__init__()
        if dim < 1:
            text = f"dim must be at least 1, got {dim}"
            raise OptionError(text)
        self.dim = dim
        self.latest: dict[str, torch.Tensor] = {}
        self._codes: torch.Tensor | None = None
        self._layout = find_layout(layout)

    @property
    @abc.abstractmethod
    def codebook_size(self) -> Sizes:
        """K, how many values a code has; a tuple where the places of the last axis differ."""

    @property
    def width(self) -> int:
        """Number of features of the vectors: D, unless the family documents another."""
        return self.dim

    @property
    def shares_codebook(self) -> bool:
        """Whether all places of a code look up one codebook."""
        return False

    @abc.abstractmethod
    def code_places(self, codes: torch.Tensor) -> dict[str, Place]:
        """Take codes apart by the codebook that they look up.

        Args:
            codes: integers, shaped as `forward` returns them.

        Returns:
            By name, as ``"level0/"``; ``""`` where there is one codebook.

        Raises:
            DTypeError: codes that are no dense tensor of integers.
            ShapeError: another number of axes.
        """

    @abc.abstractmethod
    def forward(
        self, x: Float[torch.Tensor, "first ..."], mask: Bool[torch.Tensor, "..."] | None = None
    ) -> Quantized:
        """Quantize latents; in train mode, learn from them."""

    @abc.abstractmethod
    def encode(
        self, x: Float[torch.Tensor, "first ..."], mask: Bool[torch.Tensor, "..."] | None = None
    ) -> Int64[torch.Tensor, "first ..."]:
        """Return the codes of latents that eval mode gives; change nothing."""

    @abc.abstractmethod
    def decode(
        self,
        codes: Integer[torch.Tensor, "first ..."],
        mask: Bool[torch.Tensor, "..."] | None = None,
    ) -> Float[torch.Tensor, "first ..."]:
        """Return the vectors of codes."""

    def freeze(self: _Layer, frozen: bool = True) -> _Layer:  # noqa: FBT001, FBT002, PYI019 (as `requires_grad_`)
        """Keep the quantizer as it is in train mode, too, or let it learn again.

        `train` and `eval` leave that as it is, and copies are frozen, too; a state dict does not
        say so, as it does not say of parameters whether they learn. Parameters no longer ask for
        gradients, codebooks neither start, move nor revive codes; the loss still teaches encoders.

        Args:
            frozen: whether to freeze or to let learn.

        Returns:
            The quantizer itself.
        """
        self.requires_grad_(not frozen)
        for part in self.modules():
            if hasattr(type(part), "at_rest"):
                cast("Any", part).frozen = frozen
        return self

    def metrics(self) -> dict[str, float]:
        """Return figures of the latest forward pass; empty before the first one, and after vmap.

        Codes are counted when this is called and not before. For more than a batch see `CodeUsage`.

        Returns:
            The terms of the loss as ``..._loss``, without their weights, whatever else the family
            counts, and of the codes: ``perplexity``, exp of their entropy, from 1 to K;
            ``codebook_usage``, the share of the K codes that occur; ``dead_codes``, how many do
            not. Of several levels, groups, heads or scales there are those of each, as
            ``level0/perplexity``, and those of the whole: means of the first two, the sum of the
            third; of one shared codebook, those of all its codes together.

        Cost: sorting the codes.
        """
        figures = as_floats(self.latest)
        if self._codes is not None:
            places = self.code_places(self._codes).items()
            tallies = {name: tally(place) for name, place in places}
            figures |= usage_figures(tallies, shared=self.shares_codebook)
        return figures

    def _remember(self, figures: dict[str, torch.Tensor], codes: torch.Tensor | None) -> None:
        """Keep what `metrics` reports of a forward pass."""
        if torch.compiler.is_compiling():
            self.latest, self._codes = figures, codes
        else:  # `__setattr__` of modules takes as long as an operation on a few hundred tokens
            vars(self).update(latest=figures, _codes=codes)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the latest codes behind: a copy has made none, and a file need not hold them."""
        return {**self.__dict__, "_codes": None}


@checked
class Quantizer(BaseQuantizer):
    """A layer that replaces each token by a code vector of its own.

    A family implements `quantize_tokens`, `encode_tokens`, `decode_tokens` and, where it learns
    from the batch, `token_error`. Quantizers that are made of others call the same four methods of
    their parts.

    Args:
        dim: D, size of the feature axis, >= 1.
        layout: names of the axes of latents, one of `LayoutName`.
        code_shape: sizes of the axes that the codes of one token have; () where it has one code.

    Attributes:
        dim: D.
        code_shape: as given.
        latest: figures of the latest forward pass, detached scalars.
        handle: the number by which compiled programs know this very layer; copies have their own.

    Raises:
        OptionError: an option out of its range.
    """

    def __init__(
        self, dim: int, *, layout: LayoutName = "b n d", code_shape: tuple[int, ...] = ()
    ) -> None:
        super().__init__(dim, layout=layout)
        self.code_shape = code_shape
        self.handle = register(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.handle = register(self)

    @abc.abstractmethod
    def quantize_tokens(self, tokens: Float[torch.Tensor, "N {self.dim}"]) -> Found:
        """Quantize one token a row; in train mode, learn.

        Args:
            tokens: (N, D) floats; in train mode `token_error` has found nothing wrong with them.

        Raises:
            NonFiniteError: NaN or infinity, in eval mode.
        """

    @abc.abstractmethod
    def encode_tokens(
        self, tokens: Float[torch.Tensor, "N {self.dim}"]
    ) -> Int64[torch.Tensor, "N ..."]:
        """Return the codes, int64 (N, *code_shape), that eval mode gives; change nothing.

        Args:
            tokens: (N, D) floats.

        Raises:
            NonFiniteError: NaN or infinity.
        """

    @abc.abstractmethod
    def decode_tokens(
        self, codes: Int64[torch.Tensor, "N ..."]
    ) -> Float[torch.Tensor, "N ... {self.width}"]:
        """Return the vectors (N, D) of codes.

        Args:
            codes: int64 (N, *code_shape), in range.
        """

    def token_error(self, tokens: Float[torch.Tensor, "N {self.dim}"]) -> NonFiniteError | None:
        """Look for whatever would stop `quantize_tokens` halfway; change nothing.

        Args:
            tokens: (N, D), detached.

        Returns:
            The error, or None.
        """
        del tokens
        return None

    def reach(self, largest: float) -> float:
        """Bound the vectors of tokens that are at most `largest` in magnitude, in train mode.

        Where the bound is far from overflow, residual quantizers need not ask `token_error` of what
        they give to later levels.

        Args:
            largest: a bound on the magnitudes of the tokens, at least 0.

        Returns:
            A bound on those of the vectors; infinity where there is none, or where `token_error`
            has to be asked.
        """
        del largest
        return math.inf

    def learn_tokens(
        self,
        tokens: Float[torch.Tensor, "N {self.dim}"],
        *,
        candidates: Callable[[], Float[torch.Tensor, "M {self.dim}"]] | None = None,
    ) -> None:
        """Do all that `quantize_tokens` does in train mode before it chooses codes.

        Quantizers that use one part several times in a forward pass let it learn once.

        Args:
            tokens: (N, D), detached; `token_error` has found nothing wrong with them.
            candidates: returns the tokens (M, D) that new code vectors may be picked from; None
                is `tokens`.
        """
        del tokens, candidates

    def choose_tokens(self, tokens: Float[torch.Tensor, "N {self.dim}"]) -> Found:
        """Do the rest of `quantize_tokens`; what it observes in train mode adds up.

        Families that learn from the batch override this together with `learn_tokens`.
        """
        return self.quantize_tokens(tokens)

    def complete_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Return codes with all places of `code_shape`, where some may be left out.

        Args:
            codes: integers, as a caller of `decode` gives them; their shape is not yet checked.
        """
        return codes

    @property
    def steady(self) -> bool:
        """Whether a training step draws nothing and changes nothing but figures."""
        return False

    @property
    def code_axes(self) -> tuple[str, ...]:
        """What a place of each axis of `code_shape` is called in `metrics`."""
        return ("place",) * len(self.code_shape)

    def code_places(self, codes: torch.Tensor) -> dict[str, Place]:
        """Take codes apart along the axes of `code_shape`; see `BaseQuantizer`."""
        wide = require_codes(codes, self._layout.rank - 1, code_shape=self.code_shape)
        return split_places(wide, self.codebook_size, self.code_shape, self.code_axes)

    def require_coded(self, codes: Int64[torch.Tensor, "*codes"]) -> Int64[torch.Tensor, "*codes"]:
        """Return the codes; refuse them if any has no vector.

        Args:
            codes: int64 (..., *code_shape).

        Raises:
            CodeRangeError: a code outside ``range(K)``; names the first place.
        """
        return require_range(codes, self.codebook_size)

    def forward(
        self, x: Float[torch.Tensor, "first ..."], mask: Bool[torch.Tensor, "..."] | None = None
    ) -> Quantized:
        """Quantize latents; in train mode, learn from them.

        Args:
            x: finite latents of the layer's layout, any float type.
            mask: bool, of the shape of the latents without the feature axis, True where there is a
                latent; padding is not looked at, teaches nothing and costs no loss. None is True
                everywhere.

        Returns:
            `Quantized`. A batch without latents has loss 0 and teaches nothing.

        Raises:
            ShapeError: wrong rank, feature size or shape of the mask.
            DTypeError: latents that are no dense tensor of floats, or a mask that is none of bool.
            DeviceError: latents on another device than the layer.
            NonFiniteError: NaN or infinity in the latents or the codebook, here or on another
                process; in train mode also latents so large that sums over the batch could
                overflow. No state has changed then, nor after any other exception: see
                `certvq.nn._torch.transaction.all_or_nothing`.
            TransformError: under `torch.func`, a layer that learns is in train mode, or the mask
                differs between samples of `vmap`.
        """
        tokens = self._layout.tokens(x, self.dim)
        require_same_device(self, x, "latents")
        grid = self._layout.grid(x)
        kept = kept_rows(mask, grid, x.device)
        count = tokens.shape[0]
        if kept is not None:
            tokens = tokens[kept]
        if self.training:
            tokens = self.refuse(tokens)

        def step() -> Quantized:
            found = self.quantize_tokens(tokens)
            vectors = among_padding(found.vectors, kept, count, 0)
            codes = among_padding(found.codes, kept, count, PADDING)
            codes = codes.reshape(*grid, *self.code_shape)
            result = Quantized(
                self._layout.restore(vectors, grid),
                codes,
                found.loss if self.training else saturated(found.loss),
            )
            self._remember(lasting(found.figures), lasting_codes(codes))
            return result

        return all_or_nothing(self, tokens, step)

    def refuse(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens; raise what would stop a training step, here or on another process.

        Args:
            tokens: (N, D).

        Raises:
            NonFiniteError: what `token_error` returns.
            TransformError: see `refuse_transforms`.
        """
        if torch.compiler.is_compiling() or exporting():
            return refused(self, tokens)
        if transforming():
            refuse_transforms(self)
        raise_together(self, self.token_error(tokens.detach()), tokens.device)
        return tokens

    @torch.no_grad()
    def encode(
        self, x: Float[torch.Tensor, "first ..."], mask: Bool[torch.Tensor, "..."] | None = None
    ) -> Int64[torch.Tensor, "first ..."]:
        """Return the codes of latents; changes nothing, also in train mode.

        Args:
            x: finite latents of the layer's layout, any float type.
            mask: as for `forward`.

        Returns:
            int64, as the codes of `forward`.

        Raises:
            ShapeError: wrong rank, feature size or shape of the mask.
            DTypeError: latents that are no dense tensor of floats, or a mask that is none of bool.
            DeviceError: latents on another device than the layer.
            NonFiniteError: NaN or infinity in the latents or the codebook.
        """
        tokens = self._layout.tokens(x, self.dim)
        require_same_device(self, x, "latents")
        grid = self._layout.grid(x)
        kept = kept_rows(mask, grid, x.device)
        codes = self.encode_tokens(tokens if kept is None else tokens[kept])
        return among_padding(codes, kept, tokens.shape[0], PADDING).reshape(*grid, *self.code_shape)

    def decode(
        self,
        codes: Integer[torch.Tensor, "first ..."],
        mask: Bool[torch.Tensor, "..."] | None = None,
    ) -> Float[torch.Tensor, "first ..."]:
        """Return the vectors of codes.

        Args:
            codes: integers, shaped as `forward` returns them, each in ``range(K)``.
            mask: the one that the codes were made with; codes of padding are not looked at, and
                their vectors are zero.

        Returns:
            Vectors in the layer's layout; bit for bit those that `forward` returned.

        Raises:
            DTypeError: codes that are no dense tensor of integers, or a mask that is none of bool.
            DeviceError: codes on another device than the layer.
            ShapeError: wrong number of axes, or shape of the mask.
            CodeRangeError: a code outside ``range(K)``; names the first place.
        """
        rank = self._layout.rank - 1
        require_integers(codes)
        require_same_device(self, codes, "codes")
        wide = require_codes(self.complete_codes(codes), rank, code_shape=self.code_shape)
        grid = tuple(wide.shape[:rank])
        kept = kept_rows(mask, grid, codes.device)
        if mask is not None:
            hidden = ~mask.to(codes.device).reshape(*grid, *(1 for _ in self.code_shape))
            wide = wide.masked_fill(hidden, 0)
        wide = self.require_coded(wide)
        rows = wide.reshape(-1, *self.code_shape)
        vectors = self.decode_tokens(rows if kept is None else rows[kept])
        return self._layout.restore(among_padding(vectors, kept, rows.shape[0], 0), grid)


def require_distinct(parts: Sequence[Quantizer]) -> None:
    """Refuse one quantizer in two places, which would learn twice in a forward pass.

    Raises:
        OptionError: the same object twice; the text names the places.
    """
    for place, part in enumerate(parts):
        first = next(at for at, other in enumerate(parts) if other is part)
        if first != place:
            text = (
                f"parts must be different quantizers, but part {place} is part {first}; share a "
                "codebook between levels with Residual([part], num_quantizers=...)"
            )
            raise OptionError(text)
