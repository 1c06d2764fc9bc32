"""Windows in order or shuffled, shared among processes and workers; each once.

In: a `TokenDataset`. Out: an iterable set of PyTorch.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import IterableDataset, get_worker_info

from certvq.errors import OptionError
from certvq.tokens._windows import TokenDataset

_CHUNK = 64  # windows that are read at once


class TokenStream(IterableDataset[torch.Tensor]):
    """The windows of a data set as a stream.

    Args:
        data: the windows.
        shuffle: windows in the shuffle buffer; 0 for the order of the set. The buffer holds places,
            not tokens, so that a large one costs little.
        seed: of the order.
        rank: of this process; None for that of `torch.distributed`, or 0.
        world: number of processes; None for that of `torch.distributed`, or 1.
        even: leave out the last windows, fewer than `world`, so that every process gets as many.

    Raises:
        OptionError: `shuffle` is below 0, or `rank` not in ``range(world)``.

    Guarantee: over all processes and all workers of their `DataLoader`s each window comes once
    (but for what `even` leaves out). The order is a function of seed, epoch, rank and workers.

    Example:
        stream = TokenStream(TokenDataset("tokens", length=1024), shuffle=10_000)
        for epoch in range(3):
            stream.set_epoch(epoch)
            for batch in DataLoader(stream, batch_size=64, num_workers=4):
                ...
    """

    def __init__(
        self,
        data: TokenDataset,
        *,
        shuffle: int = 0,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
        even: bool = False,
    ) -> None:
        there = dist.is_available() and dist.is_initialized()
        self.data, self.shuffle, self.seed, self.even = data, shuffle, seed, even
        self.world = world if world is not None else dist.get_world_size() if there else 1
        self.rank = rank if rank is not None else dist.get_rank() if there else 0
        if shuffle < 0 or not 0 <= self.rank < self.world:
            raise OptionError(
                f"shuffle must be at least 0 and rank in range({self.world}), got {shuffle} and "
                f"{self.rank}"
            )
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Choose another order; also for workers that are running already."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self._places())

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        places = self._places()[worker::workers]
        order = self._shuffled(places, worker) if self.shuffle > 1 else iter(places)
        while chunk := list(islice(order, _CHUNK)):
            yield from self.data.__getitems__(chunk)

    def _places(self) -> range:
        count = len(self.data)
        if self.even:
            count -= count % self.world
        return range(self.rank, count, self.world)

    def _shuffled(self, places: range, worker: int) -> Iterator[int]:
        generator = np.random.default_rng(
            [self.seed, int(self._epoch[0]), self.rank, worker, self.world]
        )
        held = list(places[: self.shuffle])
        for place in places[self.shuffle :]:
            chosen = int(generator.integers(len(held)))
            yield held[chosen]
            held[chosen] = place
        yield from (held[index] for index in generator.permutation(len(held)))
