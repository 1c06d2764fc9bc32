"""Codebooks as users reach for them: ``layer._codebook``, code vectors that are set, state dicts.

In: layers; tensors by the original's names. Out: their tensors under the original's names; what
certvq's layers load. Must not search for codes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from certvq.errors import DTypeError, FileFormatError, ShapeError
from certvq.nn._core.latents import finite_error, require_dense

BUFFERS = ("embed", "embed_avg", "cluster_size", "initted")
"""What every codebook of the original has."""

MOMENTS = ("batch_mean", "batch_variance", "codebook_mean", "codebook_variance")
"""What it has beside with `affine_param`."""


class CodebookView:
    """The original's buffers, (h, K, ...); one codebook is a view that can be written to.

    Args:
        layers: each a `Layer`.
    """

    __slots__ = ("_layers",)

    def __init__(self, layers: Sequence[Any]) -> None:
        object.__setattr__(self, "_layers", layers)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "embed":
            like = _stacked([layer.codebook for layer in self._layers])
            given = code_vectors_given(value, like, "_codebook.embed")
            for layer, own in zip(self._layers, given, strict=True):
                layer.give(own)
            return
        text = (
            f"_codebook is a view of the layer's tensors, on which {name} cannot be set: a new one "
            "is made whenever it is asked for; set `codebook` of the layer, or build another layer "
            "and load the state dict of this one"
        )
        raise AttributeError(text)

    def __getattr__(self, name: str) -> NoReturn:
        text = (
            f"_codebook is a view of the layer's tensors, without {name}; it has embed, embed_avg, "
            "cluster_size, initted and update_ema(), and options are attributes of the layer"
        )
        if name == "embed_avg":
            text = "_codebook has no embed_avg: it learns by gradient, and no tokens are averaged"
        raise AttributeError(text)

    @property
    def embed(self) -> torch.Tensor:
        """Code vectors as stored, (h, K, d); when set, the layer goes on from them."""
        return _stacked([layer.codebook for layer in self._read()])

    @property
    def cluster_size(self) -> torch.Tensor:
        """Running counts, (h, K)."""
        return _stacked([layer.statistics.counts for layer in self._read()])

    @property
    def embed_avg(self) -> torch.Tensor:
        """Running sums, (h, K, d); an AttributeError where the codebook is a parameter."""
        if not self._layers[0].statistics.width:
            raise AttributeError  # for which `__getattr__` has words
        return _stacked([layer.statistics.sums for layer in self._read()])

    @property
    def initted(self) -> torch.Tensor:
        """Whether the codebook has been started."""
        return self._layers[0].started.bool()

    def update_ema(self) -> None:
        """Take in what waits and make code vectors of the averages."""
        for layer in self._layers:
            layer.settle()
            layer.write()

    def _read(self) -> Sequence[Any]:
        for layer in self._layers:
            layer.settle_for_readers()
        return self._layers


def _stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def code_vectors_given(given: object, like: torch.Tensor, name: str) -> torch.Tensor:
    """Read what a user sets as code vectors.

    Args:
        given: what was set.
        like: the code vectors that there are.
        name: of the attribute that was set.

    Returns:
        The same numbers, of the type and on the device of `like`.
    """
    require_dense(given, name)
    assert isinstance(given, torch.Tensor)
    if not given.is_floating_point():
        got = str(given.dtype).removeprefix("torch.")
        text = f"{name} must hold floats, got {got}; convert them"
        raise DTypeError(text)
    if given.shape != like.shape:
        text = f"{name} must have shape {tuple(like.shape)}, got {tuple(given.shape)}"
        raise ShapeError(text)
    numbers = given.detach().to(like)
    error = finite_error(numbers.reshape(-1, like.shape[-1]), name)
    if error is not None:
        raise error
    return numbers


def layer_state(
    state: Mapping[str, torch.Tensor], prefix: str, *, head: int = 0
) -> dict[str, torch.Tensor]:
    """Translate the state of one codebook of the original.

    Args:
        state: has ``{prefix}_codebook.embed`` and its kin, each with a first axis for the head.
        prefix: where the original's `VectorQuantize` stood, ``""`` or something with a dot at its
            end.
        head: which of its codebooks.

    Returns:
        What a `certvq.nn.VectorQuantize` with `EMA` calls these tensors: the averages as they are,
        not to be divided by ``1 - decay^t``, and nothing that waits. Affine moments only where the
        original had seen a batch.

    Example:
        >>> old = {"_codebook.embed": torch.zeros(1, 3, 2), "_codebook.initted": torch.tensor(True)}
        >>> old |= {"_codebook.cluster_size": torch.ones(1, 3)}
        >>> old |= {"_codebook.embed_avg": torch.zeros(1, 3, 2)}
        >>> layer_state(old, "")["statistics.counts"]
        tensor([1., 1., 1.])
    """
    old = {name: state.get(f"{prefix}_codebook.{name}") for name in (*BUFFERS, *MOMENTS)}
    missing = next((name for name in BUFFERS if old[name] is None), None)
    if missing is not None:
        text = (
            f"the state of an original layer has the tensors {', '.join(BUFFERS)}, but "
            f"'{prefix}_codebook.{missing}' is missing; save the whole state dict again"
        )
        raise FileFormatError(text)
    found = {name: value for name, value in old.items() if value is not None}
    for name, axes in (("embed", 3), ("embed_avg", 3), ("cluster_size", 2)):
        if found[name].ndim != axes:
            text = (
                f"'{prefix}_codebook.{name}' must have {axes} axes, the first for codebooks, got "
                f"shape {tuple(found[name].shape)}; if an older version has saved it, give it that "
                "axis: value[None]"
            )
            raise FileFormatError(text)
    counts, sums = found["cluster_size"][head].float(), found["embed_avg"][head].float()
    new = {
        "codebook": found["embed"][head],
        "started": found["initted"].reshape(()),
        "statistics.weight": counts.new_ones(()),
        "statistics.counts": counts,
        "statistics.sums": sums,
        "statistics.pending_counts": torch.zeros_like(counts),
        "statistics.pending_sums": torch.zeros_like(sums),
    }
    if all(name in found for name in MOMENTS):
        new["affine.begun"] = torch.tensor(True)
        new |= {f"affine.{name}": found[name][head].reshape(-1) for name in MOMENTS}
    return new


def take_layer_state(state: dict[str, Any], old: str, layers: Mapping[str, Any]) -> None:
    """Replace, in place, the original's entries of one layer by certvq's, if they are there.

    Args:
        state: a state dict.
        old: where the original keeps the layer, up to the dot before ``_codebook``.
        layers: what shall load each of its codebooks, by where certvq keeps it, up to the dot. One
            that sums no tokens gets no sums, and what the original does not have stays as it is.
    """
    if f"{old}_codebook.embed" not in state:
        return
    for head, (new, layer) in enumerate(layers.items()):
        found: dict[str, Any] = dict(layer_state(state, old, head=head))
        for name, value in layer.state_dict().items():
            state[f"{new}{name}"] = found.get(name, value)
    start = f"{old}_codebook."
    for name in [name for name in state if name.startswith(start)]:
        if name.removeprefix(start).removesuffix("_needs_init") in (*BUFFERS, *MOMENTS):
            del state[name]
