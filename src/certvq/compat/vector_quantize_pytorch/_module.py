"""What all of the original's classes have here: states, attributes, figures of codes.

In: state dicts with the original's names or ours. Out: a module that loads them, or refuses as a
whole what no quantizer can work with. Must not know of quantizers.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._tensors import (
    all_indices,
    grid_of_indices,
    narrow,
)
from certvq.errors import ShapeError
from certvq.nn import BaseQuantizer
from certvq.nn._core.codes import require_range
from certvq.nn._core.latents import require_dense
from certvq.nn._core.loading import require_finite_state
from certvq.nn._core.quantizer import lasting_codes
from certvq.nn._core.usage import Place, split_places, tally, usage_figures
from certvq.nn._levels.rotated import Rotated, multiply
from certvq.nn._torch.modes import transforming
from certvq.nn._torch.transaction import all_or_nothing

_BOOKS = frozenset({"codebook", "codebooks", "implicit_codebook"})

_WHERE = {
    "VectorQuantize": "set codebook",
    "ResidualVQ": "set codebooks, the code vectors of each level",
    "GroupedResidualVQ": "set codebooks, those of each level of each group",
    "HierarchicalVQ": "set get_vq(level)._codebook.embed",
    "SimVQ": "set frozen_codebook, which code_transform maps",
    "ResidualSimVQ": "set layers[level].frozen_codebook, which code_transform maps",
    "LatentQuantize": "write to values_per_latent",
    "RandomProjectionQuantizer": "set codebooks",
}
"""Where the code vectors of a class can be set."""


class Translated(nn.Module):
    """A class of the original, translated.

    Keywords, arguments and results are those of vector-quantize-pytorch 1.32. Methods raise
    `ShapeError` for tensors of another shape, `DTypeError` for what is no dense tensor of the right
    numbers, `CodeRangeError` for an index that has no code vector, `NonFiniteError` for NaN and
    infinity, `OptionError` for arguments that are out of range or contradict each other, and
    `TransformError` under `torch.func` where the module would change; nothing has changed then.

    Attributes:
        fixed: attributes that say what the module was built with. Others do the work, so that to
            set one of these would change nothing, and is refused.
        renames: beginnings of the original's names in state dicts, each with what stands for it
            here, or None for what has no counterpart.
        code_axes: what the places of the last axes of the codes are, in `metrics`.
        learns: whether a forward pass changes the module; then it ends by `_whole`.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()
    renames: ClassVar[dict[str, str | None]] = {}
    code_axes: tuple[str, ...] = ()
    learns: ClassVar[bool] = False
    _codes: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BOOKS and name not in self._buffers and name not in self._parameters:
            self._set_books(name, value)
            return
        if name in self.fixed and self._is_built_with(name):
            kind = type(self).__name__
            text = (
                f"{name} of {kind} is fixed when it is built, but {value!r} was assigned to it; "
                f"build another {kind} with it, and load the state dict of this one"
            )
            raise AttributeError(text)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the latest codes behind: a copy has made none."""
        return {**self.__dict__, "_codes": None}

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; what waits of the latest training batch is taken in before eval mode."""
        if not mode:
            self._change_books(lambda book: book.settle())
        return super().train(mode)

    def freeze(self, frozen: bool = True) -> Any:
        """Keep the module as it is in train mode, too; see `certvq.nn.BaseQuantizer.freeze`."""
        return BaseQuantizer.freeze(cast("Any", self), frozen)

    def unfreeze(self) -> Any:
        """Let the module learn again."""
        return self.freeze(frozen=False)

    def metrics(self) -> dict[str, float]:
        """Return how the codes of the latest forward pass use the codebooks; empty before it.

        Returns:
            ``perplexity``, ``codebook_usage`` and ``dead_codes``; of several levels, groups, heads,
            codebooks or scales also those of each, as ``level0/perplexity``; see
            `certvq.nn.BaseQuantizer.metrics`.
        """
        places = {} if self._codes is None else self._places(self._codes)
        wide = {name: Place(codes.long(), size) for name, (codes, size) in places.items()}
        tallies = {name: tally(place) for name, place in wide.items()}
        return usage_figures(tallies, shared=self._shares())

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours, by `renames`.

        Args:
            state_dict: is changed.
            prefix: where the module stands in it.
        """
        for old, new in self.renames.items():
            rename(state_dict, prefix + old, None if new is None else prefix + new)

    def _books(self) -> Sequence[Any]:
        """Return the layers that learn from batches, one for each codebook or level."""
        return ()

    def _change_books(self, step: Callable[[Any], None]) -> None:
        """Do something with all of these, or with none of them."""
        books = dict.fromkeys(self._books())

        def steps() -> None:
            for book in books:
                step(book)

        for book in [*books][:1]:
            all_or_nothing(self, book.codebook, steps, learns=True)

    def _whole(self, tokens: torch.Tensor, step: Callable[[], Any]) -> Any:
        """Do all of a forward pass or nothing, and keep its codes; see `all_or_nothing`."""

        def steps() -> Any:
            result = step()
            keep_codes(self, (), result)
            return result

        return all_or_nothing(self, tokens, steps)

    def _places(self, codes: Any) -> dict[str, Place]:
        """Take the codes of a forward pass apart by what they look up."""
        own: Any = self
        shape = tuple(codes.shape[codes.ndim - len(self.code_axes) :])
        sizes = getattr(own, "codebook_sizes", None) or own.codebook_size
        return split_places(codes, sizes, shape, self.code_axes)

    def _shares(self) -> bool:
        """Say whether all places look up one codebook."""
        return False

    def _is_built_with(self, name: str) -> bool:
        return name in vars(self)

    def _set_books(self, name: str, value: Any) -> None:
        """Set code vectors where that is possible; `nn.Module` would keep a name of no meaning."""
        known = getattr(type(self), name, None)
        if isinstance(known, property) and known.fset is not None:
            known.fset(self, value)
            return
        kind = type(self).__name__
        where = _WHERE.get(kind, "its code vectors follow from what it was built with")
        text = f"{name} of {kind} cannot be set; {where}"
        raise AttributeError(text)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = {
            name: value
            for name, value in state_dict.items()
            if name.startswith(prefix) and not _is_unset(name, state_dict)
        }
        require_finite_state(own)
        self.translate(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class Codebooks(Translated):
    """A class of one grid for several codebooks, whose codes have an axis for them if it says so.

    Attributes:
        orthogonal_rotation: whether the grid is a rotated one, by `orthogonal_rot`.
    """

    num_codebooks: int
    keep_num_codebooks_dim: bool
    codebook_dim: int
    codebook_size: int
    quantizer: Any
    orthogonal_rotation: bool = False
    orthogonal_rot: torch.Tensor

    def rotate(self, wanted: bool) -> None:
        """Draw a rotation, if one is wanted."""
        self.orthogonal_rotation = wanted
        if wanted:
            self.register_buffer("orthogonal_rot", Rotated(self.quantizer).rotation)

    def turned(self, rows: torch.Tensor) -> torch.Tensor:
        """Return latents (N, codebook_dim) in the coordinates of the grid."""
        if not self.orthogonal_rotation:
            return rows
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        return multiply(wide, self.orthogonal_rot)

    def turned_back(self, codes: torch.Tensor) -> torch.Tensor:
        """Return codes (N, codebook_dim) in the coordinates of the latents."""
        return multiply(codes, self.orthogonal_rot.T) if self.orthogonal_rotation else codes

    def every_index(self) -> torch.Tensor:
        """Return the indices of all codes, where the parameters are."""
        device = next((p.device for p in self.parameters()), self.quantizer.home)
        return all_indices(self.codebook_size, device)

    def read_points(self, zhat: torch.Tensor) -> torch.Tensor:
        """Read points (..., codebook_dim) of the grid as (N, codebook_dim)."""
        require_dense(zhat, "codes")
        if zhat.shape[-1] != self.codebook_dim:
            text = f"codes must have {self.codebook_dim} features, got shape {tuple(zhat.shape)}"
            raise ShapeError(text)
        return zhat.reshape(-1, self.codebook_dim)

    def shaped(
        self, codes: torch.Tensor, shape: tuple[int, ...], *, kind: torch.dtype | None = None
    ) -> torch.Tensor:
        """Return codes (N codebooks,) of tokens of a shape as `forward` does."""
        codes = narrow(codes, self.codebook_size) if kind is None else codes.to(kind)
        extra = (self.num_codebooks,) if self.keep_num_codebooks_dim else ()
        return codes.reshape(*shape, *extra)

    def read_indices(self, indices: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Read indices as codes (N codebooks,); return the shape of the tokens, too."""
        count = self.num_codebooks if self.keep_num_codebooks_dim else None
        shape = grid_of_indices(indices, count)
        return require_range(indices, self.codebook_size).reshape(-1), shape

    def _places(self, codes: torch.Tensor) -> dict[str, Place]:
        if not self.keep_num_codebooks_dim:
            return {"": Place(codes, self.codebook_size)}
        return split_places(codes, self.codebook_size, (self.num_codebooks,), ("codebook",))

    def _shares(self) -> bool:
        return True


def rename(state: dict[str, Any], old: str, new: str | None) -> None:
    """Let names that begin with `old` begin with `new`; None throws them away."""
    for name in [name for name in state if name.startswith(old)]:
        value = state.pop(name)
        if new is not None:
            state[new + name.removeprefix(old)] = value


def keep_codes(module: nn.Module, given: tuple[object, ...], result: Any) -> None:
    """Keep the codes of a forward pass, its second result, for `metrics`: a hook."""
    del given
    codes = result
    if isinstance(result, tuple):
        codes = (result[0] if isinstance(result[0], tuple) else result)[1]  # before a breakdown
    if isinstance(codes, torch.Tensor) and codes.is_floating_point():
        return  # a loss alone
    every = codes if isinstance(codes, tuple) else (codes,)
    if transforming():
        every = tuple(lasting_codes(each) for each in every)
    kept = None if any(each is None for each in every) else every
    vars(module)["_codes"] = kept if kept is None or isinstance(codes, tuple) else kept[0]


def _is_unset(name: str, state: dict[str, Any]) -> bool:
    """Say whether the original has not yet written to a moment: it is what memory held before."""
    waits = state.get(f"{name}_needs_init")
    return isinstance(waits, torch.Tensor) and bool(waits)
