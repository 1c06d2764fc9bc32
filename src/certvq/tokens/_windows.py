"""Sequences of tokens for language models, read at random from memory that is mapped.

In: a data set and a pattern. Out: tensors of whole numbers. A window is copied out of the flat
codes; `Pattern.apply` says what it must hold.
"""

import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from certvq._types import Progress, no_progress
from certvq.errors import OptionError
from certvq.tokens._flat import FlatCodes, flat_codes
from certvq.tokens._pattern import Pattern, PatternName


class TokenDataset(Dataset[torch.Tensor]):
    """Fixed-length windows of a token data set, or its rows; a map-style set of PyTorch.

    Args:
        path: a data set, as for `open_tokens`, or its export to "npy".
        length: steps of a window; None for whole rows.
        pattern: the order of codes, by name or as a `Pattern`.
        pack: False cuts each row into windows, the last of which is padded; True lays rows one
            after another and cuts through them, so that only the last window of all is padded.
        cache: the folder that receives the flat codes; None for `.flat` in that of the set.
        progress: while the codes are laid out, which happens once.

    Raises:
        OptionError: `length` is below 1, `pack` without it, or the pattern is not possible.
        FileFormatError: the set is damaged.

    Attributes:
        pattern: with vocabulary, offsets and pad; `pattern.undo` gives codes back.

    Items are int64 (length,) for the flat pattern, (length, codebooks) for the others. Each step of
    each row is in one window. Workers that are started by pickling map the same memory.

    Example:
        data = TokenDataset("tokens", length=1024)
        loader = DataLoader(data, batch_size=64, shuffle=True, num_workers=4)
        batches = BatchSampler(RandomSampler(data), 64, drop_last=True)
        faster = DataLoader(data, sampler=batches, batch_size=None, num_workers=4)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        length: int | None = None,
        pattern: PatternName | Pattern = "flat",
        pack: bool = False,
        cache: str | Path | None = None,
        progress: Progress = no_progress,
    ) -> None:
        if (length is not None and length < 1) or (pack and length is None):
            raise OptionError(f"length must be at least 1, and given to pack rows, got {length}")
        self._source = Path(path), None if cache is None else Path(cache)
        self.length, self.pack = length, pack
        flat = flat_codes(*self._source, progress=progress)
        chosen = pattern if isinstance(pattern, Pattern) else Pattern(pattern, flat.codebook_sizes)
        if chosen.codebook_sizes != flat.codebook_sizes:
            raise OptionError(
                f"the pattern is of codebooks of {chosen.codebook_sizes} codes, the set of "
                f"{flat.codebook_sizes}"
            )
        self.pattern = chosen
        self._map(flat)

    def _map(self, flat: FlatCodes) -> None:
        self._flat = flat
        steps = self.pattern.steps(np.diff(flat.offsets))
        self._ends = np.concatenate([[0], np.cumsum(steps)])  # of rows, in steps
        if self.length is None or self.pack:
            self._windows = np.zeros(0, np.int64)
        else:
            self._windows = np.concatenate([[0], np.cumsum(-(-steps // self.length))])
        stream = flat.codes.reshape(-1) if self.pattern.name == "flat" else flat.codes
        self._stream = stream
        self._added = self._offsets()

    def _offsets(self) -> np.ndarray | None:
        """What is added to the codes of a window, by the codebook that it begins with."""
        starts = np.array(self.pattern.starts, np.int64)
        if self.length is None or not starts.any():
            return None
        if self.pattern.width is not None:
            return np.broadcast_to(starts, (1, self.length, len(starts)))
        repeated = np.resize(starts, self.length + len(starts) - 1)
        return np.lib.stride_tricks.sliding_window_view(repeated, self.length)

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("_source", "length", "pack", "pattern")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map(flat_codes(*self._source))

    def __len__(self) -> int:
        if self.length is None:
            return len(self._ends) - 1
        if self.pack:
            return math.ceil(int(self._ends[-1]) / self.length)
        return int(self._windows[-1])

    def __getitem__(self, index: int | Sequence[int]) -> torch.Tensor:
        if isinstance(index, list):
            return self.batch(index)
        number = operator.index(index)  # pyright: ignore[reportArgumentType]
        if not -len(self) <= number < len(self):
            raise IndexError(f"the set has {len(self)} items, got {number}")
        number %= len(self)
        if self.length is None:
            begin, end = self._flat.offsets[number : number + 2]
            return torch.from_numpy(self.pattern.apply(self._flat.codes[begin:end]))
        return self.batch([number])[0]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[torch.Tensor]:
        if self.length is None:
            return [self[index] for index in indices]
        return self.batch(indices).unbind()

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Read several windows at once, the fastest way.

        Args:
            indices: whole numbers in ``range(len(self))``.

        Returns:
            int64 (B, length), or (B, length, codebooks).

        Raises:
            OptionError: the set is of rows.
            IndexError: an index is out of range.
        """
        if self.length is None:
            raise OptionError("batch needs windows; give length")
        numbers = np.asarray(indices, dtype=np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(
                f"the set has {len(self)} items, got {numbers.min()} to {numbers.max()}"
            )
        width = self.pattern.width
        shape = (len(numbers), self.length) if width is None else (len(numbers), self.length, width)
        out = np.empty(shape, np.int64)
        if self.pattern.name == "delayed":
            self._delayed(numbers, out)
        else:
            self._straight(numbers, out)
        return torch.from_numpy(out)

    def _straight(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Copy pieces of the stream; in "flat" and "parallel" steps lie as codes do."""
        begins, ends = self._spans(numbers)
        stream, added, pad = self._stream, self._added, self.pattern.filler
        for window, begin, end in zip(out, begins.tolist(), ends.tolist(), strict=True):
            count = end - begin
            window[:count] = stream[begin:end]
            if added is not None:
                window[:count] += added[begin % len(added), :count]
            if count < len(window):
                window[count:] = pad

    def _spans(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where windows begin and end, in steps of the stream."""
        length = self.length or 1
        if self.pack:
            begins = numbers * length
            return begins, np.minimum(begins + length, self._ends[-1])
        rows = np.searchsorted(self._windows, numbers, side="right") - 1
        begins = self._ends[rows] + (numbers - self._windows[rows]) * length
        return begins, np.minimum(begins + length, self._ends[rows + 1])

    def _delayed(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Copy each codebook of each row that a window meets, moved by its delay."""
        out[:] = self.pattern.filler
        offsets, codes, starts = self._flat.offsets, self._flat.codes, self.pattern.starts
        begins, ends = self._spans(numbers)
        for window, begin, end in zip(out, begins.tolist(), ends.tolist(), strict=True):
            first = int(np.searchsorted(self._ends, begin, side="right")) - 1
            last = int(np.searchsorted(self._ends, end, side="left"))
            for row in range(first, last):
                place, upto = int(offsets[row]), int(offsets[row + 1])
                for codebook, start in enumerate(starts):
                    zero = int(self._ends[row]) + codebook  # the step of the row's first code
                    low, high = max(begin, zero), min(end, zero + upto - place)
                    if low < high:
                        piece = codes[place + low - zero : place + high - zero, codebook]
                        window[low - begin : high - begin, codebook] = piece
                        if start:
                            window[low - begin : high - begin, codebook] += start
