"""Self-supervised learning (BEST-RQ): predict the codes of hidden patches from the visible ones.

In: nothing. Out: how often a small network predicts the code of a hidden patch of held-out
photographs, and how often the most frequent code would have been right. The codes come from a
frozen random projection: only the network learns, `RandomProjectionQuantizer` does not.

    python examples/predict_masked_patches.py --seconds 30
"""

import argparse
import itertools
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from certvq.data import BUNDLED_HELDOUT, bundled_photographs, crops, split_by_photograph
from certvq.nn import PADDING, RandomProjectionQuantizer

PATCH, CROP, BATCH, HIDDEN = 4, 64, 16, 64
"""Pixels along a patch and along a crop, crops in a batch, channels of the network."""

CODES, CODE_DIM, HIDDEN_SHARE, NOISE = 64, 16, 0.25, 0.1
"""Codes, features of a projection, share of hidden patches, and the spread of what hides them."""


class Predictor(nn.Module):
    """Scores of all codes for each patch, from a neighbourhood of 13 x 13 patches.

    Args:
        dim: features of a patch.
        codes: number of codes.
    """

    def __init__(self, dim: int, codes: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(dim + 1, HIDDEN, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(HIDDEN, HIDDEN, 5, padding=2), nn.ReLU(), nn.Conv2d(HIDDEN, HIDDEN, 1)
            )
            for _ in range(3)
        )
        self.leave = nn.Conv2d(HIDDEN, codes, 1)

    def forward(self, patches: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores (B, codes, h, w) of patches (B, dim, h, w); `hidden` is (B, h, w)."""
        features = self.enter(torch.cat([patches, hidden[:, None].float()], dim=1))
        for layer in self.layers:
            features = features + layer(features)
        return self.leave(features)


@dataclass(frozen=True)
class Figures:
    """How well hidden patches are named.

    Attributes:
        accuracy: share of hidden patches whose code has the highest score.
        most_frequent: share of hidden patches whose code is the most frequent one of these patches:
            the most that naming one and the same code could reach.
        patches: number of hidden patches.
    """

    accuracy: float
    most_frequent: float
    patches: int


class Patches:
    """Turns pixels into patches whose features have mean 0 and variance 1 in the training set.

    The paper's input is normalised so, lest few codes be in use (Chiu et al., "Self-Supervised
    Learning with Random-Projection Quantizer for Speech Recognition", 2022, section 3). What the
    quantizer can do by itself, to bring each patch to mean 0, would hide its brightness.

    Args:
        train: the photographs to learn mean and spread from.
    """

    def __init__(self, train: list) -> None:
        every = [_cut(photograph.pixels[None])[0].flatten(1) for photograph in train]
        self.spread, self.mean = torch.std_mean(torch.cat(every, dim=1), dim=1)

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Turn pixels (B, H, W, 3) into patches (B, 48, H // 4, W // 4)."""
        return (_cut(pixels) - self.mean[:, None, None]) / self.spread[:, None, None]


def _cut(pixels: np.ndarray) -> torch.Tensor:
    height, width = (side // PATCH * PATCH for side in pixels.shape[1:3])
    whole = torch.tensor(pixels[:, :height, :width]).permute(0, 3, 1, 2).float() / 255
    return functional.pixel_unshuffle(whole, PATCH)


def hide(patches: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Put noise in the place of some patches; return them all, and which are hidden."""
    places = patches[:, 0]
    hidden = torch.rand(places.shape, generator=generator) < HIDDEN_SHARE
    noise = NOISE * torch.randn(patches.shape, generator=generator)
    return torch.where(hidden[:, None], noise, patches), hidden


def fit(
    network: Predictor,
    quantizer: RandomProjectionQuantizer,
    train: list,
    patches_of: Patches,
    *,
    seed: int,
    seconds: float,
    most_steps: int | None = None,
) -> int:
    """Train for some seconds or steps, whichever ends first; return the number of steps."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    end = time.monotonic() + seconds
    steps = 0
    for step in itertools.islice(itertools.count(), most_steps):
        patches = patches_of(crops(train, size=CROP, count=BATCH, seed=seed, step=step))
        visible, hidden = hide(patches, generator)
        codes = quantizer.encode(patches, hidden)  # PADDING where nothing is hidden
        loss = functional.cross_entropy(network(visible, hidden), codes, ignore_index=PADDING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if time.monotonic() >= end:
            break
    return steps


@torch.no_grad()
def measure(
    network: Predictor,
    quantizer: RandomProjectionQuantizer,
    heldout: list,
    patches_of: Patches,
    *,
    seed: int,
) -> Figures:
    """Hide patches of the held-out photographs, cropped to whole patches, and name them."""
    generator = torch.Generator().manual_seed(seed)
    right, counts = 0, torch.zeros(quantizer.codebook_size, dtype=torch.int64)
    for photograph in heldout:
        patches = patches_of(photograph.pixels[None])
        visible, hidden = hide(patches, generator)
        codes = quantizer.encode(patches, hidden)[hidden]
        named = network(visible, hidden).argmax(dim=1)[hidden]
        right += int((named == codes).sum())
        counts += torch.bincount(codes, minlength=len(counts))
    total = int(counts.sum())
    return Figures(right / total, int(counts.max()) / total, total)


def photographs() -> tuple[list, list]:
    """Return the bundled photographs to train on, and those held out."""
    split = split_by_photograph(bundled_photographs(), heldout=BUNDLED_HELDOUT)
    return split.train, split.validation


def models(seed: int) -> tuple[Predictor, RandomProjectionQuantizer]:
    """Make the network and the quantizer; a seed decides both."""
    torch.manual_seed(seed)
    dim = 3 * PATCH**2
    quantizer = RandomProjectionQuantizer(
        dim,
        CODES,
        CODE_DIM,
        normalize=False,
        layout="b c h w",
        generator=torch.Generator().manual_seed(seed),
    )
    return Predictor(dim, CODES), quantizer


def main() -> None:
    """Train, and print how often the network was right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of training")
    parser.add_argument("--steps", type=int, help="of training at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    network, quantizer = models(options.seed)
    train, heldout = photographs()
    patches_of = Patches(train)
    steps = fit(
        network,
        quantizer,
        train,
        patches_of,
        seed=options.seed,
        seconds=math.inf if options.steps else options.seconds,
        most_steps=options.steps,
    )
    figures = measure(network, quantizer, heldout, patches_of, seed=options.seed)
    print(
        f"{steps} steps: {figures.accuracy:.1%} of {figures.patches} hidden patches of held-out "
        f"photographs named, {figures.most_frequent:.1%} by the most frequent of {CODES} codes"
    )


if __name__ == "__main__":
    main()
