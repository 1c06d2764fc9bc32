"""The quantizer of a model: made as its configuration says, and what it tells of a forward pass.

In: a `VQVAEConfig`. Out: a layer of `certvq.nn`, its codebooks, its losses and counts. Must not
know of encoders and decoders.
"""

from collections.abc import Mapping
from typing import Final

import torch

from certvq.models._config import VQVAEConfig
from certvq.nn import EMA, FSQ, Gradient, Quantizer, ResidualVQ, VectorQuantize

WAYS: Final = ("filter", "refined", "exact")

_LAYOUT: Final = "b c h w"


def make_quantizer(config: VQVAEConfig, generator: torch.Generator | None) -> Quantizer:
    """Build the layer for latents (B, D, h, w).

    Args:
        config: the architecture.
        generator: source of every random choice; None is torch's default generator.
    """
    if config.quantizer == "fsq":
        return FSQ(config.levels or (), layout=_LAYOUT, generator=generator)
    update = EMA(decay=config.decay) if config.update == "ema" else Gradient()
    if config.quantizer == "residual":
        return ResidualVQ(
            config.dim,
            config.codebook_size,
            num_quantizers=config.num_quantizers,
            commitment_weight=config.commitment_weight,
            update=update,
            layout=_LAYOUT,
            generator=generator,
        )
    return VectorQuantize(
        config.dim,
        config.codebook_size,
        commitment_weight=config.commitment_weight,
        update=update,
        layout=_LAYOUT,
        generator=generator,
    )


def codebook_names(config: VQVAEConfig) -> list[str]:
    """Name the codebooks among a model's tensors, one for each code of a token; a grid has none."""
    if config.quantizer == "fsq":
        return []
    if config.quantizer == "residual":
        return [f"quantizer.parts.{n}.codebook" for n in range(config.num_quantizers or 0)]
    return ["quantizer.codebook"]


def stored_codebooks(config: VQVAEConfig, state: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the codebooks among a model's tensors: (K, D) each, or the levels (D,) of a grid."""
    if config.quantizer == "fsq":
        return [torch.tensor(config.levels, device="cpu")]
    return [state[name] for name in codebook_names(config)]


def latest_loss(quantizer: Quantizer, name: str) -> torch.Tensor:
    """Return ``codebook_loss`` or ``commitment_loss`` of the latest forward pass, a scalar.

    That of several levels is the sum of theirs, which is what they add to the loss; a grid has
    none, and nothing to learn.
    """
    figures = quantizer.latest
    levels = [value for key, value in figures.items() if key.endswith(f"/{name}")]
    if levels:
        return torch.stack(levels).sum()
    return figures.get(name, torch.zeros(()))


def decided_shares(quantizer: Quantizer, codes: int) -> dict[str, float]:
    """Return the shares of the latest codes that each of `WAYS` decided.

    Args:
        quantizer: after a forward pass in which `codes` codes were found.
        codes: how many, at least 1.
    """
    if isinstance(quantizer, FSQ):  # compares with exact thresholds, always
        return {"filter": 0.0, "refined": 0.0, "exact": 1.0}
    figures = quantizer.metrics()
    return {
        way: sum(v for name, v in figures.items() if name.split("/")[-1] == f"{way}_rows") / codes
        for way in WAYS
    }
