"""One step of a genetic search over bits.

In: a population and how fit each member is. Out: the next population. Must not know what the bits
stand for.
"""

import math
from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random


@checked
@dataclass(frozen=True)
class Evolution:
    """Keep the fittest; let the winners of small tournaments have children, some bits flipped.

    Attributes:
        population: number of members, > `elites`.
        mutation_rate: probability that a bit of a child flips, in [0, 1].
        tournament: how many members compete to become a parent, >= 1.
        elites: how many of the fittest go on unchanged, >= 1.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the best fitness of a population is never below that of the one before, where the
    fitness is a function of the bits.

    References:
        Goldberg and Deb, "A Comparative Analysis of Selection Schemes Used in Genetic Algorithms",
        1991 (tournaments); Syswerda, "Uniform Crossover in Genetic Algorithms", 1989.
    """

    population: int = 64
    mutation_rate: float = 0.02
    tournament: int = 2
    elites: int = 1

    def __post_init__(self) -> None:
        for name in ("elites", "tournament"):
            if getattr(self, name) < 1:
                text = f"Evolution {name} must be at least 1, got {getattr(self, name)}"
                raise OptionError(text)
        if self.population <= self.elites:
            text = (
                f"Evolution population must exceed elites={self.elites}, got {self.population}; "
                "there would be no children"
            )
            raise OptionError(text)
        if not 0.0 <= self.mutation_rate <= 1.0:
            text = f"Evolution mutation_rate must lie in [0, 1], got {self.mutation_rate}"
            raise OptionError(text)

    def start(
        self, shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
    ) -> torch.Tensor:
        """Draw a population of fair coins, bool (population, *shape)."""
        count = self.population * math.prod(shape)
        return (_random.uniform(count, generator, device) < 0.5).reshape(self.population, *shape)

    def follow(
        self, bits: torch.Tensor, fitness: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Return the next population, the elites first, the fittest of them first.

        Args:
            bits: bool (P, ...), P > `elites`.
            fitness: (P,), finite; larger is better. Among equals the first member wins.
            generator: source of every random choice.

        Returns:
            bool (P, ...).
        """
        order = torch.argsort(fitness, descending=True, stable=True)
        children = len(bits) - self.elites
        parents = self._winners(fitness, 2 * children, generator)
        left, right = bits[parents].unflatten(0, (2, children))
        choice = _random.uniform(left.numel(), generator, bits.device).reshape(left.shape)
        flips = _random.uniform(left.numel(), generator, bits.device).reshape(left.shape)
        offspring = torch.where(choice < 0.5, left, right) ^ (flips < self.mutation_rate)
        return torch.cat([bits[order[: self.elites]], offspring])

    def _winners(
        self, fitness: torch.Tensor, count: int, generator: torch.Generator | None
    ) -> torch.Tensor:
        members = _random.integers(
            len(fitness), count * self.tournament, generator, fitness.device
        ).reshape(count, self.tournament)
        best = fitness[members].argmax(dim=1, keepdim=True)
        return members.gather(1, best).squeeze(1)
