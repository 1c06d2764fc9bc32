"""An autoencoder on bits, and a genetic search among the bits.

In: data, or a function that says how fit decoded data are. Out: reconstructions; populations of
bits. The quantizer between is `LFQ`. Must not know what the data are.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from certvq.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from certvq.nn._core.latents import require_dense, require_same_device
from certvq.nn._core.options import checked
from certvq.nn._scalar.evolution import Evolution
from certvq.nn._scalar.lfq import LFQ
from certvq.nn._torch.generators import Drawing

_EVOLUTION = Evolution()


class Reconstructed(NamedTuple):
    """What the forward pass of `EvoLFQ` returns.

    Attributes:
        reconstruction: what the decoder made.
        codes: int64, as the quantizer returns them.
        loss: the quantizer's, a scalar.
    """

    reconstruction: torch.Tensor
    codes: torch.Tensor
    loss: torch.Tensor


class Generation(NamedTuple):
    """What a step of the search found.

    Attributes:
        bits: bool (P, ..., D), the next population; its first member is the fittest of the last.
        best: bool (..., D), the fittest member until now.
        fitness: of `best`.
    """

    bits: torch.Tensor
    best: torch.Tensor
    fitness: float


@checked
class EvoLFQ(Drawing):
    """Encode data to bits, decode bits, and search for bits whose data are fit.

    Args:
        encoder: from data to latents of the quantizer's layout.
        decoder: from vectors of that layout to data.
        quantizer: makes bits of latents: one for each feature, 1 where it is above 0.
        evolution: how a population follows another.
        generator: source of every random choice; None is torch's default generator.

    Guarantee: the bits of data are the nearest corner to their latents, as of `LFQ`
    (``sign_isNearestCode``). In `search` the best fitness never falls.

    Example:
        >>> seed = torch.Generator().manual_seed(0)
        >>> model = EvoLFQ(nn.Identity(), nn.Identity(), LFQ(8), generator=seed)
        >>> def ones(data: torch.Tensor) -> torch.Tensor:  # the fittest has all bits 1
        ...     return data.sum(dim=(1, 2))
        >>> *_, last = model.search(ones, shape=(1,), generations=30)
        >>> last.best.all(), last.fitness
        (tensor(True), 8.0)

    References:
        Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", 2023,
        for the bits; `Evolution` for the search.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        quantizer: LFQ,
        *,
        evolution: Evolution = _EVOLUTION,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer
        self.evolution = evolution
        self.draw_from(generator)

    def forward(self, x: torch.Tensor) -> Reconstructed:
        """Reconstruct data; the quantizer's loss is that of its mode.

        Raises:
            NonFiniteError: NaN or infinity in the latents.
        """
        quantized, codes, loss = self.quantizer(self.encoder(x))
        return Reconstructed(self.decoder(quantized), codes, loss)

    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the bits of data, bool, the shape of the codes followed by D."""
        return self.quantizer.bits(self.quantizer.encode(self.encoder(x))).bool()

    @torch.no_grad()
    def decode(self, bits: torch.Tensor) -> torch.Tensor:
        """Return the data of bits.

        Args:
            bits: bool, shaped as `encode` returns them.

        Raises:
            DTypeError: no dense tensor of bool.
            DeviceError: bits on another device than the layer.
            ShapeError: the last axis is not D.
        """
        require_dense(bits, "bits")
        require_same_device(self, bits, "bits")
        if bits.dtype != torch.bool:
            text = f"bits must be bool, got {bits.dtype}; compare, as in bits > 0"
            raise DTypeError(text)
        dim = self.quantizer.dim
        if bits.shape[-1:] != (dim,):
            text = f"bits must have dim={dim} entries in the last axis, got {tuple(bits.shape)}"
            raise ShapeError(text)
        signs = 2.0 * bits.reshape(-1, dim).float() - 1.0
        codes = self.quantizer.encode_tokens(signs).reshape(bits.shape[:-1])
        data: torch.Tensor = self.decoder(self.quantizer.decode(codes))
        return data

    @torch.no_grad()
    def search(
        self,
        fitness: Callable[[torch.Tensor], torch.Tensor],
        *,
        bits: torch.Tensor | None = None,
        shape: tuple[int, ...] | None = None,
        generations: int = 50,
    ) -> Iterator[Generation]:
        """Search for bits whose data are fit.

        Args:
            fitness: says of data (P, ...) how fit each is, (P,), larger being better.
            bits: the population to start from, bool (P, ..., D); or None.
            shape: of one member without D, to start from random bits; or None.
            generations: number of steps; nothing is yielded for 0.

        Yields:
            One `Generation` a step.

        Raises:
            OptionError: neither or both of `bits` and `shape`, no more members than elites, or
                fewer than 0 generations.
            DTypeError: bits or fitness are no dense tensor, or bits are not bool.
            DeviceError: bits on another device than the layer.
            ShapeError: not one number for each member, or the last axis of bits is not D.
            NonFiniteError: a fitness that is NaN or infinite; names the first member.
        """
        if (bits is None) == (shape is None):
            text = "search starts from either bits or shape, got " + (
                "neither" if bits is None else "both"
            )
            raise OptionError(text)
        if shape is not None:
            device = next((p.device for p in self.parameters()), self.quantizer.home)
            whole = (*shape, self.quantizer.dim)
            bits = self.evolution.start(whole, self.generator, device)
        if generations < 0:
            text = f"search must have no fewer than 0 generations, got generations={generations}"
            raise OptionError(text)
        require_dense(bits, "bits")
        assert bits is not None
        if not bits.ndim or len(bits) <= self.evolution.elites:
            text = (
                f"bits must have more than elites={self.evolution.elites} members, "
                f"got shape {tuple(bits.shape)}"
            )
            raise OptionError(text)
        best, highest = bits[0], -float("inf")
        for _ in range(generations):
            fit = _require_fitness(fitness(self.decode(bits)), len(bits))
            place = int(fit.argmax())
            if float(fit[place]) > highest:
                best, highest = bits[place].clone(), float(fit[place])
            bits = self.evolution.follow(bits, fit, self.generator)
            yield Generation(bits, best, highest)


def _require_fitness(fitness: torch.Tensor, members: int) -> torch.Tensor:
    require_dense(fitness, "fitness")
    if tuple(fitness.shape) != (members,):
        text = (
            f"fitness must be one number for each of {members} members, got {tuple(fitness.shape)}"
        )
        raise ShapeError(text)
    bad = torch.nonzero(~torch.isfinite(fitness))
    if len(bad):
        first = int(bad[0])
        text = f"fitness must be finite, got {float(fitness[first])} for member {first}"
        raise NonFiniteError(text)
    return fitness
