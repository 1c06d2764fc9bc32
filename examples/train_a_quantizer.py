"""Train a small autoencoder on photographs, with any of certvq's quantizers in the middle.

In: the name of a family. Out: after a few seconds of training, how much of the codebook is used and
how well held-out photographs are reconstructed.

    python examples/train_a_quantizer.py --family sim_vq --seconds 20
    python examples/train_a_quantizer.py --list
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import certvq.nn as vq
from certvq.data import BUNDLED_HELDOUT, bundled_photographs, crops, split_by_photograph
from certvq.train import mean_psnr, perplexity, usage

CROP, BATCH, STRIDE, HIDDEN = 32, 16, 4, 32
"""Pixels along a crop, crops in a batch, pixels along a token, channels of the networks."""

Make = Callable[[torch.Generator], vq.Quantizer]

LAYOUT = "b c h w"

FAMILIES: dict[str, Make] = {
    "vector": lambda g: vq.VectorQuantize(32, 256, layout=LAYOUT, generator=g),
    "vector_cosine": lambda g: vq.VectorQuantize(
        32, 256, metric="cosine", layout=LAYOUT, generator=g
    ),
    "vector_gradient": lambda g: vq.VectorQuantize(
        32, 256, update=vq.Gradient(), estimator=vq.RotationTrick(), layout=LAYOUT, generator=g
    ),
    "product": lambda g: vq.ProductQuantize(
        [vq.VectorQuantize(16, 16, generator=g) for _ in range(2)], layout=LAYOUT
    ),
    "residual": lambda g: vq.ResidualVQ(32, 16, num_quantizers=2, layout=LAYOUT, generator=g),
    "grouped_residual": lambda g: vq.GroupedResidualVQ(
        32, 4, groups=2, num_quantizers=2, layout=LAYOUT, generator=g
    ),
    "hierarchical": lambda g: vq.HierarchicalVQ(32, 256, [4, 8, 16], layout=LAYOUT, generator=g),
    "sim_vq": lambda g: vq.SimVQ(32, 256, layout=LAYOUT, generator=g),
    "residual_sim_vq": lambda g: vq.ResidualSimVQ(
        32, 16, num_quantizers=2, layout=LAYOUT, generator=g
    ),
    "fsq": lambda g: vq.FSQ([8, 8, 4], layout=LAYOUT, generator=g),
    "residual_fsq": lambda g: vq.ResidualFSQ([4, 4], 2, layout=LAYOUT, generator=g),
    "grouped_residual_fsq": lambda g: vq.GroupedResidualFSQ(
        [4], 2, groups=2, layout=LAYOUT, generator=g
    ),
    "fsp": lambda g: vq.FSP([8, 8, 4], layout=LAYOUT, generator=g),
    "latent": lambda g: vq.LatentQuantize([8, 8, 4], layout=LAYOUT),  # noqa: ARG005 (draws nothing)
    "lfq": lambda g: vq.LFQ(8, layout=LAYOUT),  # noqa: ARG005 (likewise)
    "lfq_spherical": lambda g: vq.LFQ(8, spherical=True, layout=LAYOUT),  # noqa: ARG005 (likewise)
    "residual_lfq": lambda g: vq.ResidualLFQ(4, 2, layout=LAYOUT, generator=g),
    "grouped_residual_lfq": lambda g: vq.GroupedResidualLFQ(
        4, 2, groups=2, layout=LAYOUT, generator=g
    ),
    "binary_mapper": lambda g: vq.BinaryMapper(8, layout=LAYOUT, generator=g),
}
"""Each spends eight bits on a token of 4 x 4 pixels, or (`hierarchical`) on a cell of a scale."""


class Autoencoder(nn.Module):
    """Two strided convolutions, a quantizer, and the way back.

    Args:
        quantizer: any module from (B, dim, h, w) to vectors (B, width, h, w), codes and a loss.
        dim: features that the quantizer takes.
        width: features that it gives.
    """

    def __init__(self, quantizer: nn.Module, dim: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, HIDDEN, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, dim, 1),
        )
        self.quantizer = quantizer
        self.decoder = nn.Sequential(
            nn.Conv2d(width, HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(HIDDEN, HIDDEN, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(HIDDEN, 3, 4, stride=2, padding=1),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return reconstructions, codes and the quantizer's loss of images in [0, 1]."""
        quantized, codes, loss = self.quantizer(self.encoder(images - 0.5))
        return self.decoder(quantized) + 0.5, codes, loss


@dataclass(frozen=True)
class Figures:
    """What a trained autoencoder does to the held-out photographs.

    Attributes:
        psnr: of all of them together, in dB.
        usage: share of the codes that occur; the mean over the places of a token's codes.
        perplexity: exp of the entropy of the codes, likewise.
        steps: of the optimiser, until then.
    """

    psnr: float
    usage: float
    perplexity: float
    steps: int


def photographs() -> tuple[list, list]:
    """Return the bundled photographs to train on, and those held out."""
    split = split_by_photograph(bundled_photographs(), heldout=BUNDLED_HELDOUT)
    return split.train, split.validation


def batches(train: list, seed: int) -> Iterator[torch.Tensor]:
    """Cut crops without end, (BATCH, 3, CROP, CROP) in [0, 1]; a seed decides all of them."""
    for step in itertools.count():
        pixels = crops(train, size=CROP, count=BATCH, seed=seed, step=step)
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def fit(
    model: Autoencoder, train: list, *, seed: int, seconds: float, most_steps: int | None = None
) -> int:
    """Train for some seconds or steps, whichever ends first; return the number of steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    pixels = np.concatenate([photograph.pixels.reshape(-1) for photograph in train])
    variance = float((pixels / 255).var())
    end = time.monotonic() + seconds
    steps = 0
    model.train()
    for images in itertools.islice(batches(train, seed), most_steps):
        reconstruction, _, penalty = model(images)
        loss = (reconstruction - images).square().mean() / variance + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if time.monotonic() >= end:
            break
    return steps


@torch.no_grad()
def measure(
    model: Autoencoder, heldout: list, codebook_size: int | tuple[int, ...], steps: int
) -> Figures:
    """Encode and decode the held-out photographs, cropped to whole tokens."""
    model.eval()
    pairs, seen = [], []
    for photograph in heldout:
        height, width = (side // STRIDE * STRIDE for side in photograph.pixels.shape[:2])
        pixels = np.array(photograph.pixels[:height, :width])
        images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        reconstruction, codes, _ = model(images)
        levels = (reconstruction.clamp(0, 1) * 255).round().to(torch.uint8)
        pairs.append((pixels, levels[0].permute(1, 2, 0).numpy()))
        seen.append(codes.reshape(-1, math.prod(codes.shape[3:])))
    places = torch.cat(seen).unbind(1)
    sizes = codebook_size if isinstance(codebook_size, tuple) else (codebook_size,) * len(places)
    counts = [
        torch.bincount(place, minlength=size).numpy()
        for place, size in zip(places, sizes, strict=True)
    ]
    return Figures(
        mean_psnr(pairs),
        float(np.mean([usage(count) for count in counts])),
        float(np.mean([perplexity(count) for count in counts])),
        steps,
    )


def main() -> None:
    """Train one family and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", choices=FAMILIES, default="vector")
    parser.add_argument("--seconds", type=float, default=5.0, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="name the families and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(FAMILIES))
        return
    torch.manual_seed(options.seed)
    quantizer = FAMILIES[options.family](torch.Generator().manual_seed(options.seed))
    model = Autoencoder(quantizer, quantizer.dim, quantizer.width)
    train, heldout = photographs()
    steps = fit(model, train, seed=options.seed, seconds=options.seconds)
    figures = measure(model, heldout, quantizer.codebook_size, steps)
    print(
        f"{options.family}: {figures.steps} steps, held-out PSNR {figures.psnr:.2f} dB, "
        f"usage {figures.usage:.1%}, perplexity {figures.perplexity:.1f} "
        f"of {quantizer.codebook_size} codes"
    )


if __name__ == "__main__":
    main()
