"""One input part to the columns of its token part: what every engine runs.

In: an input part and a `TokenEncoder`. Out: batches of columns, in the order of the items, whatever
the number of threads or the size of a batch. Memory holds a few batches. Must not write files.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from certvq.data import require_key
from certvq.errors import DataError, OptionError
from certvq.tokenize._encoder import Columns, TokenEncoder
from certvq.tokenize._items import Item, SoundWindow, items
from certvq.tokenize._plan import InputPart
from certvq.tokenize._windows import windows

Consumed: TypeAlias = Callable[[int, int, int], None]
"""Called after each batch with its inputs, those of them that failed, and the bytes they had."""

BATCH_SIZE: Final = 16


@dataclass(frozen=True)
class Making:
    """How parts are made; the same for every engine.

    Attributes:
        encoder: makes the columns of a batch.
        column: of Parquet files, WebDatasets or `.npz` files; None finds it.
        batch_size: inputs that are handed over at once, rounded up to whole groups of the encoder.
            It changes memory and speed, never a byte.
        strict: whether the first input that cannot be used ends the job.

    Raises:
        OptionError: `batch_size` below 1.
    """

    encoder: TokenEncoder
    column: str | None = None
    batch_size: int = BATCH_SIZE
    strict: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def step(self) -> int:
        """Inputs of a batch: a multiple of the group."""
        return -(-self.batch_size // self.encoder.group) * self.encoder.group


def columns(
    part: InputPart,
    making: Making,
    *,
    executor: Executor | None = None,
    ahead: int = 1,
    consumed: Consumed | None = None,
) -> Iterator[Columns]:
    """Make the columns of a part, batch after batch.

    Args:
        part: from `plan`.
        making: the encoder and its options.
        executor: runs batches side by side; None runs them here, one after another.
        ahead: how many batches an executor works on at a time.
        consumed: called after each batch.

    Raises:
        DataError: an input cannot be used, and `making.strict` is set.
        OptionError: a column is missing, or a sound has another rate than the model's.
    """
    share = part.size / max(1, len(part.names))
    step = making.step if executor is None else _shared(making, len(part.names), ahead)
    batches = _batches(_guarded(part, making), step)
    for batch, found in _mapped(making.encoder, batches, executor, ahead):
        merged = _with_problems(batch, found)
        failed = [place for place, reason in enumerate(merged["reason"]) if reason is not None]
        if failed and making.strict:
            raise DataError(f"{batch[failed[0]].origin}: {merged['reason'][failed[0]]}")
        yield merged
        if consumed is not None:
            consumed(len(batch), len(failed), round(sum(_bytes(item, share) for item in batch)))


def guarded_batches(part: InputPart, making: Making) -> Iterator[list[Item]]:
    """Go through a part in batches of whole groups; what is wrong with an item is noted on it."""
    return _batches(_guarded(part, making), making.step)


def inputs_of(batch: Sequence[Item]) -> dict[str, list[Any]]:
    """Return what a `TokenEncoder` takes."""
    return {
        "key": [item.key for item in batch],
        "data": [b"" if item.problem else item.data for item in batch],
    }


def _guarded(part: InputPart, making: Making) -> Iterator[Item]:
    """Go through items; keys that cannot be used, and a shard that breaks off, are problems."""
    place = 0
    try:
        for item in items(part, column=making.column):
            yield from windows(_with_usable_key(item), making.encoder.reading.seconds)
            place += 1
    except DataError as error:
        yield Item(f"{part.keys[0]}/{place:09d}", part.source, problem=str(error))


def _shared(making: Making, files: int, ahead: int) -> int:
    """Return a step that gives each thread something to do, where a part is known to be small."""
    group = making.encoder.group
    most = max(1, files // (2 * ahead * group)) if files else making.step // group
    return min(making.step, most * group)


def _with_usable_key(item: Item) -> Item:
    try:
        require_key(item.key)
    except DataError as error:
        safe = item.key.encode("utf-8", "backslashreplace").decode()
        return Item(safe, item.origin, problem=str(error))
    return item


def _batches(source: Iterable[Item], step: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in source:
        batch.append(item)
        if len(batch) == step:
            yield batch
            batch = []
    if batch:
        yield batch


def _mapped(
    encoder: TokenEncoder, batches: Iterable[list[Item]], executor: Executor | None, ahead: int
) -> Iterator[tuple[list[Item], Columns]]:
    """Map in order, with so many batches under way."""
    if executor is None:
        for batch in batches:
            yield batch, encoder(inputs_of(batch))
        return
    waiting: deque[tuple[list[Item], Future[Columns]]] = deque()
    for batch in batches:
        waiting.append((batch, executor.submit(encoder, inputs_of(batch))))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _with_problems(batch: Sequence[Item], found: Columns) -> Columns:
    """Say of the inputs that were not even read why not."""
    for place, item in enumerate(batch):
        if item.problem is not None:
            for name in found:
                found[name][place] = None
            found["key"][place], found["reason"][place] = item.key, item.problem
    return found


def _bytes(item: Item, share: float) -> float:
    """Return the bytes that an item took of its part; of a file, its share of all files."""
    data = item.data
    if isinstance(data, SoundWindow):
        whole = len(data.sound) if isinstance(data.sound, bytes) else share
        return whole * data.share
    return len(data) if isinstance(data, bytes) else getattr(data, "nbytes", share)
