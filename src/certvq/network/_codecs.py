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
from certvq.network._bounded import Bounded, exact
from certvq.network._cosine import UnitVectors
from certvq.network._decide import CodeVectors
from certvq.network._levels import Affine, Level, Levels
from certvq.network._numbers import Numbers
from certvq.network.rules._normal import WEIGHT_NORM

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


def _affine(conv: Any) -> Affine:
    """Read a convolution of one place as a matrix."""
    bias = None if conv.bias is None else _numbers(conv.bias)
    stored = _stored_weight_norm(conv)
    if stored is None:
        return Affine(exact(torch.from_numpy(_numbers(conv.weight)[:, :, 0])), bias)
    g, v = (exact(torch.from_numpy(_numbers(each))) for each in stored)
    weight = WEIGHT_NORM.bounded({"v": v, "g": g, "dim": 0})

    def exactly(numbers: Numbers) -> np.ndarray:
        arrays = {
            name: numbers.array(each.value.numpy(), np.ones(tuple(each.value.shape), bool))
            for name, each in (("v", v), ("g", g))
        }
        every = np.ones(tuple(v.value.shape), bool)
        return WEIGHT_NORM.exact(numbers, {**arrays, "dim": 0}, every)[:, :, 0]

    return Affine(Bounded(weight.value[:, :, 0], weight.error[:, :, 0], None), bias, exactly)


def _stored_weight_norm(conv: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return g and v of a module with weight norm of either kind, or None for one without.

    Raises:
        CaptureError: its weight is computed in another way, or normed along another axis.
    """
    if hasattr(conv, "weight_g"):
        found = [each for each in conv._forward_pre_hooks.values() if hasattr(each, "dim")]  # noqa: SLF001
        kinds, axes = {"WeightNorm"}, [each.dim for each in found]
        stored = conv.weight_g, conv.weight_v
    elif hasattr(conv, "parametrizations"):
        kept = conv.parametrizations.weight
        kinds, axes = {type(each).__name__ for each in kept}, [getattr(e, "dim", 0) for e in kept]
        stored = (kept.original0, kept.original1) if kinds == {"_WeightNorm"} else None
    else:
        return None
    if stored is None or axes != [0]:
        text = (
            f"a projection of the quantizer is parametrized by {', '.join(sorted(kinds))} along "
            f"{axes}, which has no rule (known: weight norm along 0); take it off first "
            "(torch.nn.utils.parametrize.remove_parametrizations)"
        )
        raise CaptureError(text)
    return stored


def _encodec(model: Any) -> Coder:
    config = model.config
    if config.normalize or config.chunk_length is not None:
        text = (
            "EnCodec that divides chunks by their loudness, as at 48 kHz, has no canonical codes "
            f"here (normalize={config.normalize}, chunk_length={config.chunk_length}); cut and "
            "scale the sounds, and give model.encoder with codebook=..."
        )
        raise CaptureError(text)
    return Coder(
        model,
        lambda model, sounds: model.encoder(sounds),
        lambda model, dim: _chain([each.codebook.embed for each in model.quantizer.layers], dim),
        single=False,
    )


def _mimi(model: Any) -> Coder:
    def halves(model: Any) -> list[Any]:
        quantizer = model.quantizer
        names = ("semantic_residual_vector_quantizer", "acoustic_residual_vector_quantizer")
        return [getattr(quantizer, name) for name in names]

    def latents(model: Any, sounds: torch.Tensor) -> torch.Tensor:
        found = model.encoder(sounds, use_streaming=False).latents
        projections = (each.input_proj for each in halves(model))
        return torch.cat([found if p is None else p(found) for p in projections], 1)

    def chains(model: Any, dim: int) -> Chains:
        found: Chains = []
        for place, half in enumerate(halves(model)):
            books = [_means(layer.codebook) for layer in half.layers]
            found += _chain(books, dim // 2, place * (dim // 2))
        return found

    return Coder(model, latents, chains, single=False)


def _means(codebook: Any) -> torch.Tensor:
    """Return the code vectors of Mimi, quotients that float32 rounds, as the model does."""
    total, usage = (
        each.detach().to("cpu").float() for each in (codebook.embed_sum, codebook.cluster_usage)
    )
    return total / usage.clamp(min=codebook.epsilon)[:, None]


_KNOWN: Final[tuple[tuple[str, str, Callable[[Any], Coder]], ...]] = (
    ("diffusers.models.", "VQModel", _vq_model),
    ("transformers.models.", "ChameleonVQVAE", _vqgan),
    ("transformers.models.", "JanusVQVAE", _vqgan),
    ("transformers.models.", "DacModel", _dac),
    ("transformers.models.", "EncodecModel", _encodec),
    ("transformers.models.", "MimiModel", _mimi),
)
"""Beginning of the path of the module that defines a class, its name, and what is known of it."""
