"""Figures of a whole data set: how its codes are spread, and what they cost.

In: a path. Out: figures, and a page that draws them. Must not need a model.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from certvq._files.atomic import atomic_path
from certvq._types import Int64Array, Progress, no_progress
from certvq.errors import DataError
from certvq.tokens._set import TokenSet, open_tokens

_DENSE: Final = 1 << 24  # codes up to which there is a counter for each
_MOST_POINTS = 2048


@dataclass(frozen=True, eq=False)
class CodebookStats:
    """How the codes of one codebook are spread over the set.

    Attributes:
        size: K.
        counts: how often each code that occurs does, most frequent first.
        entropy: of the histogram, in bits.
    """

    size: int
    counts: Int64Array
    entropy: float

    @property
    def usage(self) -> float:
        """Share of the K codes that occur."""
        return len(self.counts) / self.size

    @property
    def perplexity(self) -> float:
        """``2^entropy``: as many codes, equally frequent, would be as hard to guess."""
        return float(2.0**self.entropy)

    def to_json(self) -> dict[str, Any]:
        """Describe it without the counts of single codes."""
        return {
            "size": self.size,
            "used": len(self.counts),
            "usage": self.usage,
            "perplexity": self.perplexity,
            "entropy_bits": self.entropy,
        }


@dataclass(frozen=True, eq=False)
class TokenStats:
    """Figures of a data set.

    Attributes:
        data: the set.
        codebooks: by codebook.
        extent: pixels of images, pixels of all frames of video, seconds of audio, tokens of
            latents, over all rows.
        side_numbers: how many numbers stand beside the codes; rates do not count them.
    """

    data: TokenSet
    codebooks: tuple[CodebookStats, ...]
    extent: float
    side_numbers: int = 0

    @property
    def unit(self) -> str:
        """What the rate is per: "pixel", "second" or "token"."""
        return {"audio": "second", "latent": "token"}.get(self.data.modality, "pixel")

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        data = self.data
        places = data.tokens // len(self.codebooks)
        fixed = sum(math.log2(codebook.size) for codebook in self.codebooks)
        entropy = sum(codebook.entropy for codebook in self.codebooks)
        return {
            "modality": data.modality,
            "parts": len(data.parts),
            "missing_parts": len(data.missing),
            "rows": data.rows,
            "failed": len(data.failed),
            "tokens": places,
            "codes": data.tokens,
            "canonical": data.canonical,
            "decided_by": dict(data.decided_by),
            "bits_per_token": fixed,
            "entropy_bits_per_token": entropy,
            f"bits_per_{self.unit}": places * fixed / self.extent,
            f"entropy_bits_per_{self.unit}": places * entropy / self.extent,
            **({"side_numbers": self.side_numbers} if data.side else {}),
            "codebooks": [codebook.to_json() for codebook in self.codebooks],
        }


def token_stats(path: str | Path, *, progress: Progress = no_progress) -> TokenStats:
    """Count the codes of a data set.

    Args:
        path: as for `open_tokens`.
        progress: called after each row group, with the codes that were counted.

    Raises:
        FileFormatError: the set or a part of it is damaged; it is named.
        DataError: it holds no row.

    Cost: a counter for each code that occurs, or for each code of a codebook of up to 2^24.
    """
    data = open_tokens(path)
    if not data.rows:
        raise DataError(f"{path}: holds no row, so that there is nothing to count")
    counters = [_Counter(size) for size in data.codebook_sizes]
    done, side, sums = 0, 0, Counter[int]()
    for block in data.blocks(["size", "codes", *(["side"] if data.side else [])]):
        levels = block.codes.reshape(-1, len(counters))
        for number, counter in enumerate(counters):
            counter.add(levels[:, number])
        for size in block.sizes:
            _add_extent(sums, data.modality, size)
        side += sum(map(len, block.sides))
        done += block.codes.size
        progress("counting", done, data.tokens)
    spread = tuple(counter.stats() for counter in counters)
    extent = sum(count / rate for rate, count in sums.items())
    return TokenStats(data, spread, extent or data.tokens / len(counters), side)


def write_histogram(stats: TokenStats, out: Path) -> None:
    """Draw how often the codes of each codebook occur; a page that opens offline.

    Args:
        stats: from `token_stats`.
        out: the HTML file.

    Raises:
        OSError: the file cannot be written.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, codebook in enumerate(stats.codebooks):
        points = np.unique(
            np.linspace(0, len(codebook.counts) - 1, _MOST_POINTS).round().astype(np.int64)
        )
        figure.add_scatter(
            x=points + 1,
            y=codebook.counts[points],
            name=f"codebook {number}: {len(codebook.counts):,} of {codebook.size:,} codes used, "
            f"perplexity {codebook.perplexity:,.1f}",
            mode="lines",
            line={"shape": "hv"},
            fill="tozeroy" if len(stats.codebooks) == 1 else None,
        )
    figure.update_layout(
        title=f"How often each code occurs in {stats.data.path.name}",
        xaxis_title="codes, most frequent first",
        yaxis={"title": "occurrences", "type": "log", "dtick": 1},
        showlegend=True,
        legend={"orientation": "h", "y": -0.2},
    )
    with atomic_path(out) as partial:
        figure.write_html(partial, include_plotlyjs=True)


class _Counter:
    """Count codes of one codebook, densely where there are few."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.dense = np.zeros(size, np.int64) if size <= _DENSE else None
        self.codes, self.counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)

    def add(self, codes: np.ndarray) -> None:
        if self.dense is not None:
            found = np.bincount(codes.astype(np.int64), minlength=self.size)
            if len(found) > self.size:
                raise DataError(f"a code lies outside range({self.size}); verify the set")
            self.dense += found
            return
        codes, counts = np.unique(codes, return_counts=True)
        both = np.concatenate([self.codes, codes.astype(np.uint64)])
        self.codes, places = np.unique(both, return_inverse=True)
        total = np.zeros(len(self.codes), np.int64)
        np.add.at(total, places, np.concatenate([self.counts, counts]))
        self.counts = total

    def stats(self) -> CodebookStats:
        counts = self.counts if self.dense is None else self.dense[self.dense > 0]
        counts = -np.sort(-counts)
        shares = counts / counts.sum()
        return CodebookStats(self.size, counts, float(-(shares * np.log2(shares)).sum()) + 0.0)


def _add_extent(sums: Counter[int], modality: str, size: tuple[int, ...]) -> None:
    """Add samples under their rate, or pixels under 1, so that only whole numbers are added up."""
    if modality == "audio":
        sums[size[1]] += size[0]
    elif size:
        sums[1] += math.prod(size)
