"""What canonical codes know of models: where their latents are, and the codebooks of these.

In: a model, or an encoder and its codebooks. Out: a `Coder`. Models of other libraries are known by
the names of their classes; these libraries are not imported. Must not compute codes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from certvq.errors import CaptureError, NonFiniteError, OptionError, ShapeError
from certvq.models import VQVAE
from certvq.network._cosine import UnitVectors
from certvq.network._decide import CodeVectors
from certvq.network._levels import Affine, Level, Levels

Chains = list[tuple[slice, list[Level]]]


class Coder(nn.Module):
    """A model up to its quantizer, channels at axis 1; in eval mode where the model is.

    Args:
        model: whose parts must be in eval mode.
        latents: maps the model and a batch to latents (B, D, *places).
        chains: makes levels of the model and the number of channels, as they are now.
        single: whether a token has one code, and no axis of levels.
    """

    def __init__(
        self,
        model: Any,
        latents: Callable[[Any, torch.Tensor], torch.Tensor],
        chains: Callable[[Any, int], Chains],
        *,
        single: bool,
    ) -> None:
        super().__init__()
        self.model, self.single = model, single
        self._latents, self._chains = latents, chains
        self.training = False

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the latents."""
        return self._latents(self.model, batch)

    @property
    def encoder(self) -> nn.Module:
        """What is captured: this module, or the model itself where that returns latents."""
        return self.model if self._latents is _called else self

    def levels(self, shape: tuple[int, ...]) -> Levels:
        """Return the codebooks for latents of a shape.

        Raises:
            ShapeError: they do not fit.
        """
        if len(shape) < 2:
            text = f"the model must return latents (B, D, ...), got shape {shape}"
            raise ShapeError(text)
        return Levels(self._chains(self.model, shape[1]))


def coder_of(model: Any, codebook: torch.Tensor | Sequence[torch.Tensor] | None) -> Coder:
    """Find out what a model is.

    Args:
        model: see `certvq.canonical_codes`.
        codebook: likewise.

    Raises:
        OptionError: a model that is not known, without codebook.
        CaptureError: a model that is known not to work.
    """
    if codebook is not None:
        one = isinstance(codebook, torch.Tensor)
        kept = [each.detach().clone() for each in ([codebook] if one else codebook)]
        return Coder(model, _called, lambda _, dim: _chain(kept, dim), single=one)
    if isinstance(model, VQVAE):
        return _own(model)
    for kind in type(model).__mro__:
        for prefix, name, make in _KNOWN:
            if kind.__name__ == name and f"{kind.__module__}.".startswith(prefix):
                return make(model)
        if kind.__name__ in _NO_RULE and f"{kind.__module__}.".startswith("transformers.models."):
            text = f"{kind.__name__} has no canonical codes here: {_NO_RULE[kind.__name__]}"
            raise CaptureError(text)
    known = ", ".join(name for _, name, _ in _KNOWN)
    text = (
        f"model must be a certvq.models.VQVAE, one of {known}, or an encoder with codebook=..., "
        f"got {type(model).__name__} without a codebook; give its code vectors, (K, D)"
    )
    raise OptionError(text)


def _called(model: Any, batch: torch.Tensor) -> torch.Tensor:
    return model(batch)


def _own(model: VQVAE) -> Coder:
    if model.config.quantizer not in {"vq", "residual"}:
        model.only_codebook("canonical_codes")  # says what it takes
    return Coder(
        model,
        lambda model, images: model.latents(images).movedim(-1, 1),
        lambda model, dim: _chain(model.codebooks, dim),
        single=model.config.quantizer == "vq",
    )


def _chain(codebooks: Sequence[torch.Tensor], dim: int, start: int = 0) -> Chains:
    """Return levels of one Euclidean codebook each, for some of the channels."""
    levels: list[Level] = []
    for each in codebooks:
        if each.ndim != 2 or each.shape[1] != dim:
            text = (
                f"codebook must be (K, {dim}) for latents of {dim} channels at axis 1, got "
                f"{tuple(each.shape)}"
            )
            raise ShapeError(text)
        levels.append(Level(CodeVectors(_numbers(each))))
    return [(slice(start, start + dim), levels)]


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    values = tensor.detach().to("cpu", torch.float64)
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        index = tuple(bad[0].tolist())
        text = (
            f"codebooks and projections must be finite, got {float(values[index])} at index "
            f"{index} of one of shape {tuple(values.shape)}; load another checkpoint"
        )
        raise NonFiniteError(text)
    return values.numpy()


# ---- models of diffusers and transformers -------------------------------------------------------


def _vq_model(model: Any) -> Coder:
    return Coder(
        model,
        lambda model, images: model.encode(images).latents,
        lambda model, dim: _chain([model.quantize.embedding.weight], dim),
        single=True,
    )


def _vqgan(model: Any) -> Coder:
    return Coder(
        model,
        lambda model, images: model.quant_conv(model.encoder(images)),
        lambda model, dim: _chain([model.quantize.embedding.weight], dim),
        single=True,
    )


def _dac(model: Any) -> Coder:
    def chains(model: Any, dim: int) -> Chains:
        levels = [
            Level(UnitVectors(_numbers(q.codebook.weight)), _affine(q.in_proj), _affine(q.out_proj))
            for q in model.quantizer.quantizers
        ]
        return [(slice(0, dim), levels)]

    return Coder(model, lambda model, sounds: model.encoder(sounds), chains, single=False)


def _affine(conv: nn.Conv1d) -> Affine:
    """Read a convolution of one place as a matrix."""
    if hasattr(conv, "parametrizations"):
        text = (
            "a projection of the quantizer with weight norm has no rule; remove the weight norm "
            "(model.remove_weight_norm())"
        )
        raise CaptureError(text)
    bias = None if conv.bias is None else _numbers(conv.bias)
    return Affine(_numbers(conv.weight)[:, :, 0], bias)


_KNOWN: Final[tuple[tuple[str, str, Callable[[Any], Coder]], ...]] = (
    ("diffusers.models.", "VQModel", _vq_model),
    ("transformers.models.", "ChameleonVQVAE", _vqgan),
    ("transformers.models.", "JanusVQVAE", _vqgan),
    ("transformers.models.", "DacModel", _dac),
)
"""Beginning of the path of the module that defines a class, its name, and what is known of it."""

_PADDINGS = "its convolutions compute paddings with tensors, which a graph cannot hold"
_NO_RULE: Final = {
    "EncodecModel": f"its LSTM has no rule, and {_PADDINGS}",
    "MimiModel": f"its masks of attention have no rule, and {_PADDINGS}",
}
"""Models of transformers that are known not to work, and why."""
