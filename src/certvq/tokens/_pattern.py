"""How codes become the sequence that a language model reads, and back.

In: codes (places, codebooks). Out: whole numbers of one vocabulary, or of one for each codebook.
Must not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from certvq._types import Int64Array
from certvq.errors import CodeRangeError, OptionError, ShapeError

PatternName = Literal["flat", "parallel", "delayed"]


@dataclass(frozen=True)
class Pattern:
    """An order of codes.

    - "flat": one code a step, (T C,): all codebooks of a token, then the next token.
    - "parallel": one token a step, (T, C).
    - "delayed": codebook c is c steps late, (T + C - 1, C), `pad` where it has no code, so that a
      model that guesses a step has seen the coarser codes of each token (MusicGen).

    Args:
        name: of the pattern.
        codebook_sizes: K of each codebook.
        offsets: added to the codes of each codebook. None for vocabularies one after another in
            "flat", where all codes share one sequence, and for zeros otherwise.
        pad: fills what has no code. None for the first number that no code has.

    Raises:
        OptionError: an unknown name, an offset below 0 or not one for each codebook, a pad that is
            a code, or numbers beyond 2^63.

    Example:
        >>> pattern = Pattern("delayed", (4, 8))
        >>> pattern.apply(np.array([[1, 7], [2, 6]])).tolist()
        [[1, 8], [2, 7], [8, 6]]
        >>> Pattern("flat", (4, 8)).apply(np.array([[1, 7], [2, 6]])).tolist()
        [1, 11, 2, 10]
    """

    name: PatternName
    codebook_sizes: tuple[int, ...]
    offsets: tuple[int, ...] | None = None
    pad: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ("flat", "parallel", "delayed"):
            raise OptionError(f"pattern must be flat, parallel or delayed, got {self.name!r}")
        sizes = self.codebook_sizes
        usual = (*np.cumsum((0, *sizes[:-1]), dtype=object).tolist(),)
        if self.offsets is None:
            offsets = usual if self.name == "flat" else (0,) * len(sizes)
            object.__setattr__(self, "offsets", offsets)
        if len(self.starts) != len(sizes) or min(self.starts) < 0:
            raise OptionError(
                f"offsets must be {len(sizes)} numbers from 0 on, one for each codebook, got "
                f"{self.starts}"
            )
        top = max(start + size for start, size in zip(self.starts, sizes, strict=True))
        if self.pad is None:
            object.__setattr__(self, "pad", top)
        spans = [range(a, a + size) for a, size in zip(self.starts, sizes, strict=True)]
        if self.filler < 0 or any(self.filler in span for span in spans):
            raise OptionError(f"pad must be no code, such as {top}, got {self.filler}")
        if max(top, self.filler + 1) > 1 << 63:
            raise OptionError(f"codes and pad must be below 2**63, got {max(top, self.filler)}")

    @property
    def starts(self) -> tuple[int, ...]:
        """The offset of each codebook."""
        return self.offsets or ()

    @property
    def filler(self) -> int:
        """The number that stands where there is no code."""
        return 0 if self.pad is None else self.pad

    @property
    def vocabulary_size(self) -> int:
        """One more than the largest number in a sequence."""
        tops = (a + size for a, size in zip(self.starts, self.codebook_sizes, strict=True))
        return max(*tops, self.filler + 1)

    @property
    def width(self) -> int | None:
        """Codes a step; None for "flat", whose sequences have one axis."""
        return None if self.name == "flat" else len(self.codebook_sizes)

    def steps(self, places: Any) -> Any:
        """Return the length of the sequence of a row, or of each of several."""
        codebooks = len(self.codebook_sizes)
        if self.name == "flat":
            return places * codebooks
        return places + codebooks - 1 if self.name == "delayed" else places

    def apply(self, codes: np.ndarray) -> Int64Array:
        """Make the sequence of one row.

        Args:
            codes: (T, C), or (T,) of one codebook.
        """
        codes = np.asarray(codes).reshape(-1, len(self.codebook_sizes))
        moved = codes.astype(np.int64) + np.array(self.starts, np.int64)
        if self.name != "delayed":
            return moved.reshape(-1) if self.name == "flat" else moved
        steps = np.full((self.steps(len(codes)), codes.shape[1]), self.filler, np.int64)
        for codebook in range(codes.shape[1]):
            steps[codebook : codebook + len(codes), codebook] = moved[:, codebook]
        return steps

    def undo(self, steps: Sequence[Any] | np.ndarray) -> Int64Array:
        """Return the codes (T, C) of a sequence that `apply` made, or that a model continued.

        Raises:
            ShapeError: the sequence is not that of whole tokens.
            CodeRangeError: a number is none of its codebook; the first is named.
        """
        numbers = np.asarray(steps).astype(np.int64)
        codebooks = len(self.codebook_sizes)
        whole = numbers.size % codebooks == 0 and numbers.ndim == (1 if self.width is None else 2)
        late = codebooks - 1 if self.name == "delayed" else 0
        if not whole or (self.width and numbers.shape[1] != codebooks) or len(numbers) < late:
            raise ShapeError(
                f"a {self.name} sequence of {codebooks} codebooks has no shape {numbers.shape}"
            )
        rows = numbers.reshape(-1, codebooks)
        if late:
            count = len(rows) - late
            rows = np.stack([rows[c : c + count, c] for c in range(codebooks)], axis=1)
        codes = rows - np.array(self.starts, np.int64)
        bad = np.argwhere((codes < 0) | (codes >= np.array(self.codebook_sizes)))
        if len(bad):
            token, codebook = bad[0].tolist()
            raise CodeRangeError(
                f"token {token}: {rows[token, codebook]} is no code of codebook {codebook}, whose "
                f"numbers begin at {self.starts[codebook]} and are {self.codebook_sizes[codebook]}"
            )
        return codes
