"""Search the bits of an autoencoder for those that decode to the closest picture.

In: nothing. Out: how well an LFQ autoencoder reconstructs a piece of a held-out photograph from its
encoder's bits, and from the bits that a genetic search finds for the same decoder. The encoder's
bits are the nearest to its latents, but other bits may decode to a closer picture.

    python examples/search_the_bits.py --seconds 10 --generations 200
"""

import argparse
import math
from dataclasses import dataclass

import torch
import train_a_quantizer as example

from certvq.nn import LFQ, EvoLFQ, Evolution

BITS, SIDE = 8, 32
"""Bits of a token of 4 x 4 pixels, and pixels along the piece of a photograph."""

EVOLUTION = Evolution(population=64, mutation_rate=0.004, tournament=3, elites=4)
"""About two of the 512 bits of a child flip."""


@dataclass(frozen=True)
class Figures:
    """What the search found.

    Attributes:
        encoded: PSNR from the encoder's bits, in dB.
        found: PSNR from the best bits that the search has seen, in dB.
        changed: how many bits differ.
        bits: of the whole piece.
    """

    encoded: float
    found: float
    changed: int
    bits: int


def train_model(*, seed: int, seconds: float, most_steps: int | None = None) -> EvoLFQ:
    """Train an autoencoder with signs in the middle on the bundled photographs."""
    torch.manual_seed(seed)
    autoencoder = example.Autoencoder(LFQ(BITS, layout="b c h w"), BITS, BITS)
    train, _ = example.photographs()
    example.fit(autoencoder, train, seed=seed, seconds=seconds, most_steps=most_steps)
    autoencoder.eval()
    return EvoLFQ(
        autoencoder.encoder,
        autoencoder.decoder,
        autoencoder.quantizer,
        evolution=EVOLUTION,
        generator=torch.Generator().manual_seed(seed),
    ).eval()


def piece() -> torch.Tensor:
    """Cut the middle of the first held-out photograph, (1, 3, SIDE, SIDE) in [-0.5, 0.5]."""
    _, heldout = example.photographs()
    pixels = heldout[0].pixels
    top, left = ((length - SIDE) // 2 for length in pixels.shape[:2])
    cut = torch.tensor(pixels[top : top + SIDE, left : left + SIDE])
    return cut.permute(2, 0, 1)[None].float() / 255 - 0.5


def decibels(errors: torch.Tensor) -> torch.Tensor:
    """Return the PSNR of mean squared errors of pixels in [0, 1]."""
    return -10.0 * torch.log10(errors)


def search(model: EvoLFQ, picture: torch.Tensor, *, generations: int) -> Figures:
    """Start from the encoder's bits, and look for others that decode to a closer picture."""

    def closeness(pictures: torch.Tensor) -> torch.Tensor:
        return decibels((pictures.clamp(-0.5, 0.5) - picture).square().mean(dim=(1, 2, 3)))

    encoded = model.encode(picture)
    start = encoded.expand(EVOLUTION.population, *encoded.shape[1:])
    best, highest = encoded[0], float(closeness(model.decode(encoded)))
    first = highest
    for generation in model.search(closeness, bits=start, generations=generations):
        best, highest = generation.best, generation.fitness
    return Figures(first, highest, int((best != encoded[0]).sum()), best.numel())


def main() -> None:
    """Train, search, and print how close both pictures are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of training")
    parser.add_argument("--steps", type=int, help="of training at most")
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seconds = math.inf if options.steps else options.seconds
    model = train_model(seed=options.seed, seconds=seconds, most_steps=options.steps)
    figures = search(model, piece(), generations=options.generations)
    print(
        f"the encoder's bits: {figures.encoded:.2f} dB; after {options.generations} generations: "
        f"{figures.found:.2f} dB, {figures.changed} of {figures.bits} bits changed"
    )


if __name__ == "__main__":
    main()
