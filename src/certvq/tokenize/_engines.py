"""Where parts are made: here, or on a Ray cluster.

In: the parts that are missing, and how to make them. Out: finished parts, one after another; the
caller writes them into the manifest. Must not open the manifest.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from certvq.errors import BackendUnavailableError, CertVQError, OptionError
from certvq.tokenize._columns import Consumed, Making, columns
from certvq.tokenize._plan import InputPart
from certvq.tokens import Job, Part, write_part

MOST_RETRIES: Final = 3


@dataclass(frozen=True)
class Work:
    """What an engine is given.

    Attributes:
        directory: of the token data set.
        job: whose parts these are.
        making: how they are made.
        parts: that are to be made, by their numbers.
    """

    directory: Path
    job: Job
    making: Making
    parts: Mapping[int, InputPart]

    def make(self, number: int, part: InputPart, **options: Any) -> Part:
        """Make one part; options are those of `columns`."""
        batches = columns(part, self.making, **options)
        return write_part(self.directory, self.job, number, batches)


Engine: TypeAlias = Callable[[Work, Consumed], Iterator[Part]]


@dataclass(frozen=True)
class LocalEngine:
    """Threads of this process, each with a batch of its own.

    Attributes:
        concurrency: how many; None takes as many as there are cores for the encoder's threads, and
            one on a GPU.

    Raises:
        OptionError: `concurrency` below 1.
    """

    concurrency: int | None = None

    def __post_init__(self) -> None:
        _require_positive("concurrency", self.concurrency)

    def __call__(self, work: Work, consumed: Consumed) -> Iterator[Part]:
        """Make the missing parts, in order."""
        encoder = work.making.encoder
        count = self.concurrency or _workers(encoder.device, encoder.threads)
        before = torch.get_num_threads()
        executor = ThreadPoolExecutor(count, thread_name_prefix="certvq-tokenize")
        try:
            options = {"executor": executor, "ahead": count + 1, "consumed": consumed}
            for number, part in work.parts.items():
                yield work.make(number, part, **options)
        finally:
            executor.shutdown(cancel_futures=True)
            torch.set_num_threads(before)  # of what libraries keep for the whole process


@dataclass(frozen=True)
class RayEngine:
    """Actors of Ray Data, each of which makes whole parts.

    Sources and the token data set must lie where every node finds them under the same path.

    Attributes:
        address: of a cluster; None starts one here, or takes the one that is connected.
        concurrency: how many actors; None as many as there are cores, or GPUs.
        gpus: that each of them takes; may be a fraction.
        retries: how often a part is begun again whose actor died.

    Raises:
        OptionError: a value is out of its range.
    """

    address: str | None = None
    concurrency: int | None = None
    gpus: float = 0.0
    retries: int = MOST_RETRIES

    def __post_init__(self) -> None:
        _require_positive("concurrency", self.concurrency)
        if self.gpus < 0 or self.retries < 0:
            raise OptionError(
                f"gpus and retries must be at least 0, got {self.gpus} and {self.retries}"
            )

    def __call__(self, work: Work, consumed: Consumed) -> Iterator[Part]:
        """Make the missing parts, in the order in which they get ready."""
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            ray.init(address=self.address, log_to_driver=False, configure_logging=False)
        try:
            yield from self._parts(ray, work, consumed)
        finally:
            if started:
                ray.shutdown()

    def _parts(self, ray: Any, work: Work, consumed: Consumed) -> Iterator[Part]:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        threads = work.making.encoder.threads or 1
        count = self.concurrency or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        retries = {"max_restarts": -1, "max_task_retries": self.retries}
        rows = [{"number": n, "part": pickle.dumps(part)} for n, part in work.parts.items()]
        with warnings.catch_warnings():
            # Ray 2.64 drops this option, by which retries are counted: without it a part whose
            # actors die is begun again without end. So pyproject.toml wants ray < 2.64.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                PartMaker,
                fn_constructor_args=(replace(work, parts={}),),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(count, len(rows))),
                num_cpus=None if self.gpus else threads,
                num_gpus=self.gpus or None,
                ray_remote_args_fn=lambda: retries,
            )
        for row in made.iter_rows():
            part: Part | Exception = pickle.loads(row["part"])  # noqa: S301 (our own actor made it)
            if isinstance(part, Exception):
                raise part
            consumed(part.rows + len(part.failed), len(part.failed), row["bytes"])
            yield part


class PartMaker:
    """What a Ray actor runs: numbers of parts to parts, which it writes.

    Errors of certvq and of the system are results too: Ray would wrap them, and log them at length.

    Args:
        work: without parts, which come one by one.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.is_same = False

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Make one part."""
        number, part = int(batch["number"][0]), pickle.loads(batch["part"][0])  # noqa: S301 (as above)
        try:
            made: Part | Exception = self._make(number, part)
        except (CertVQError, OSError) as error:
            made = error
        return {"part": [pickle.dumps(made)], "bytes": [part.size]}

    def _make(self, number: int, part: InputPart) -> Part:
        if not self.is_same:
            codec = self.work.making.encoder.codec
            self.work.job.require_same(codec.module, codec.codebooks)
            self.is_same = True
        return self.work.make(number, part)


def _workers(device: str, threads: int | None) -> int:
    if not device.startswith("cpu"):
        return 1
    return max(1, len(os.sched_getaffinity(0)) // (threads or torch.get_num_threads()))


def _require_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise OptionError(f"{name} must be at least 1, got {value}")


def _ray() -> Any:
    try:
        import_module("ray.data")
    except ModuleNotFoundError as error:
        text = "the engine ray needs Ray Data: pip install 'certvq[ray]'"
        raise BackendUnavailableError(text) from error
    return import_module("ray")
