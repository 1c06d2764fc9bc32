"""The original's `EvoLFQ`.

In: data, or a function that says how fit decoded data are. Out: reconstructions; populations of
bits. Must not draw from anything but torch's default generator, as the original.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import checked, require
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch.lookup_free_quantization import LFQ
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.usage import Place

__getattr__ = names_of(__name__)


class Return(NamedTuple):
    """What `EvoLFQ` returns."""

    reconstructed: torch.Tensor
    indices: torch.Tensor
    entropy_aux_loss: torch.Tensor


class Result(NamedTuple):
    """What a generation of the search found."""

    pop_bits: torch.Tensor
    best_gene: torch.Tensor
    best_fitness: float
    best_decoded: torch.Tensor | None


class EvoLFQ(Translated):
    """Search among the bits of an autoencoder; see `certvq.nn.EvoLFQ`.

    Keywords are the original's; `dim`, `codebook_size`, `num_codebooks` and `lfq_kwargs` build an
    `LFQ` where none is given.

    Guarantee: bits are signs of the latents, as of `LFQ`. From the same state of torch's default
    generator the populations are those of the original.
    """

    @checked()
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        lfq: LFQ | None = None,
        *,
        dim: int | None = None,
        codebook_size: int | None = None,
        num_codebooks: int = 1,
        pop_size: int = 64,
        mutation_rate: float = 0.02,
        tournament_size: int = 2,
        elitism_count: int = 1,
        generations: int = 50,
        **lfq_kwargs: Any,
    ) -> None:
        super().__init__()
        if pop_size <= elitism_count:
            text = f"pop_size must exceed elitism_count={elitism_count}, got {pop_size}"
            raise OptionError(text)
        if lfq is None and dim is None and codebook_size is None:
            text = "EvoLFQ needs lfq, dim or codebook_size, got none of them"
            raise OptionError(text)
        self.encoder = encoder
        self.decoder = decoder
        self.lfq = lfq or LFQ(
            dim=dim, codebook_size=codebook_size, num_codebooks=num_codebooks, **lfq_kwargs
        )
        self.pop_size = pop_size
        self.mutation_rate = mutation_rate
        self.tournament_size = tournament_size
        self.elitism_count = elitism_count
        self.generations = generations

    @property
    def device(self) -> torch.device:
        """Where populations live."""
        return next((p.device for p in self.parameters()), self.lfq.quantizer.home)

    @property
    def zero(self) -> torch.Tensor:
        """A zero on that device, as the original has it."""
        return torch.zeros((), device=self.device)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> Return:
        """Return reconstructions, indices and the quantizer's loss; latents may be (b, d)."""
        latents = self.encoder(x)
        flat = latents.ndim == 2
        quantized, indices, loss = self.lfq(latents[:, None] if flat else latents, **kwargs)
        if flat:
            quantized, indices = quantized[:, 0], indices[:, 0]
        return Return(self.decoder(quantized), indices, loss)

    @torch.no_grad()
    def encode(self, x: torch.Tensor, return_signs: bool = False) -> torch.Tensor:
        """Return the bits of data, 0 and 1 or -1 and 1, where the latents have their features."""
        with _eval_mode(self):
            latents = self.encoder(x)
            flat = latents.ndim == 2
            indices = self.lfq(latents[:, None] if flat else latents).indices
            bits = self.lfq.quantizer.bits(indices[:, 0] if flat else indices).float()
            if self.lfq.keep_num_codebooks_dim:
                bits = bits.flatten(-2)
            given = self.lfq.channel_first
            first = latents.ndim >= 4 if given is None else given and not flat
            bits = bits.movedim(-1, 1) if first else bits
            return bits * 2.0 - 1.0 if return_signs else bits

    @torch.no_grad()
    def decode_bits(self, bits: torch.Tensor) -> torch.Tensor:
        """Return the data of bits (..., d), 0 and 1 or -1 and 1."""
        books, width = self.lfq.num_codebooks, self.lfq.codebook_dim
        if bits.shape[-1] != books * width:
            text = f"bits must have {books * width} entries in the last axis, got {bits.shape[-1]}"
            raise ShapeError(text)
        with _eval_mode(self):
            rows = (bits > 0).reshape(-1, books, width)
            worth = 1 << torch.arange(width - 1, -1, -1, device=bits.device)
            indices = (rows * worth).sum(dim=-1)
            keep = self.lfq.keep_num_codebooks_dim
            codes = self.lfq.indices_to_codes(indices if keep else indices[:, 0])
            data: torch.Tensor = self.decoder(codes.reshape(*bits.shape[:-1], codes.shape[-1]))
            return data

    def init_random_population(
        self,
        pop_size: int | None = None,
        shape: tuple[int, ...] = (),
        device: torch.device | None = None,
        is_sign: bool = False,
    ) -> torch.Tensor:
        """Draw fair coins, (pop_size, *shape)."""
        size = (self.pop_size if pop_size is None else pop_size, *shape)
        bits = torch.randint(0, 2, size, device=device or self.device).float()
        return bits * 2.0 - 1.0 if is_sign else bits

    def init_population_from_data(
        self,
        x: torch.Tensor,
        pop_size: int | None = None,
        mutation_rate: float | None = None,
        is_sign: bool = False,
    ) -> torch.Tensor:
        """Return the bits of data, repeated to the size of a population, some of them flipped."""
        size = self.pop_size if pop_size is None else pop_size
        rate = self.mutation_rate if mutation_rate is None else mutation_rate
        bits = self.encode(x, return_signs=is_sign)
        bits = bits.repeat(-(-size // len(bits)), *(1 for _ in bits.shape[1:]))[:size]
        return self.mutate(bits, rate, is_sign) if rate > 0 else bits

    def uniform_crossover(self, parent1: torch.Tensor, parent2: torch.Tensor) -> torch.Tensor:
        """Take each bit from one of two parents."""
        return torch.where(torch.rand_like(parent1.float()) < 0.5, parent1, parent2)

    def mutate(
        self, population: torch.Tensor, mutation_rate: float | None = None, is_sign: bool = False
    ) -> torch.Tensor:
        """Flip some bits."""
        require(mutation_rate=mutation_rate)
        rate = self.mutation_rate if mutation_rate is None else mutation_rate
        flips = torch.rand_like(population.float()) < rate
        return torch.where(flips, -population if is_sign else 1.0 - population, population)

    def tournament_selection(
        self,
        population: torch.Tensor,
        fitnesses: torch.Tensor,
        tournament_size: int | None = None,
    ) -> torch.Tensor:
        """Return the winners of as many tournaments as there are members."""
        size = self.tournament_size if tournament_size is None else tournament_size
        return population[self._winners(fitnesses, (len(population), size))]

    @torch.no_grad()
    def step(
        self,
        pop_bits: torch.Tensor,
        fitness_fn: Callable[[torch.Tensor, torch.Tensor], Any],
        tournament_size: int | None = None,
        mutation_rate: float | None = None,
        elitism_count: int | None = None,
        is_sign: bool = False,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next population and how fit this one is."""
        del kwargs
        require(
            tournament_size=tournament_size,
            mutation_rate=mutation_rate,
            elitism_count=elitism_count,
            batch_size=batch_size,
        )
        size = self.tournament_size if tournament_size is None else tournament_size
        elites = self.elitism_count if elitism_count is None else elitism_count
        parts = pop_bits.split(len(pop_bits) if batch_size is None else batch_size)
        decoded = torch.cat([self.decode_bits(part) for part in parts])
        fitnesses = torch.as_tensor(fitness_fn(decoded, pop_bits), device=self.device)
        best = torch.argsort(fitnesses, descending=True)[:elites]
        parents = self._winners(fitnesses, (len(pop_bits) - elites, 2, size))
        first, second = pop_bits[parents].unbind(1)
        offspring = self.mutate(self.uniform_crossover(first, second), mutation_rate, is_sign)
        return torch.cat([pop_bits[best], offspring]), fitnesses

    @torch.no_grad()
    def evolve(
        self,
        fitness_fn: Callable[[torch.Tensor, torch.Tensor], Any],
        pop_bits: torch.Tensor | None = None,
        pop_size: int | None = None,
        shape: tuple[int, ...] | None = None,
        generations: int | None = None,
        is_sign: bool = False,
        return_best_decoded: bool = False,
        **step_kwargs: Any,
    ) -> Iterator[Result]:
        """Yield one `Result` for each generation."""
        require(pop_size=pop_size, generations=generations)
        if pop_bits is None:
            if shape is None:
                text = "evolve needs pop_bits or shape, got neither"
                raise OptionError(text)
            pop_bits = self.init_random_population(pop_size, shape, is_sign=is_sign)
        best, highest = pop_bits[0], -float("inf")
        for _ in range(self.generations if generations is None else generations):
            now = pop_bits
            pop_bits, fitnesses = self.step(now, fitness_fn, is_sign=is_sign, **step_kwargs)
            place = int(torch.argmax(fitnesses))
            if float(fitnesses[place]) > highest:
                best, highest = now[place].clone(), float(fitnesses[place])
            decoded = self.decode_bits(best[None])[0] if return_best_decoded else None
            yield Result(pop_bits, best, highest, decoded)

    def _places(self, codes: torch.Tensor) -> dict[str, Place]:
        return self.lfq._places(codes)  # noqa: SLF001 (its own kind)

    def _winners(self, fitnesses: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        members = torch.randint(0, len(fitnesses), shape, device=self.device)
        best = fitnesses[members].argmax(dim=-1, keepdim=True)
        return members.gather(-1, best).squeeze(-1)


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
