"""Open a data set: a folder of parts, one part, or the file that `certvq encode` writes.

In: a path. Out: what is known of it, and its rows as a stream. Must not write.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certvq.errors import DataError, FileFormatError
from certvq.tokens._job import Job, job_of
from certvq.tokens._manifest import read_manifest
from certvq.tokens._part import Failed, Part
from certvq.tokens._record import RUNGS, WAYS, TokenRecord
from certvq.tokens._stored import Block, StoredPart, is_part, open_part


@dataclass(frozen=True)
class TokenSet:
    """A data set of tokens; made by `open_tokens`.

    Attributes:
        path: the folder, or the file.
        modality: "image", "audio", "video" or "latent".
        codebook_sizes: K of each codebook, in the order of the codes of a token.
        parts: those that are there, by number.
        missing: numbers of the parts that are still to be made.
        job: what made it; None for a single file.
    """

    path: Path
    modality: str
    codebook_sizes: tuple[int, ...]
    parts: tuple[Part, ...]
    missing: tuple[int, ...]
    job: Job | None

    @property
    def complete(self) -> bool:
        """Whether every input has its part."""
        return not self.missing

    @property
    def made_by(self) -> Job | None:
        """The job of a folder or of one part, whose header has it with its own input alone.

        None for a file of `write_tokens`.
        """
        if self.job is not None:
            return self.job
        fields = open_part(self.path).fields
        return job_of(fields["job"]) if "job" in fields else None

    @property
    def rows(self) -> int:
        """How many inputs were tokenized."""
        return sum(part.rows for part in self.parts)

    @property
    def tokens(self) -> int:
        """How many codes there are, those of all codebooks counted."""
        return sum(part.tokens for part in self.parts)

    @property
    def decided_by(self) -> Mapping[str, int]:
        """How many codes were decided in each way; see `Part.decided_by`."""
        ways = RUNGS if self.canonical else WAYS
        return {way: sum(part.decided_by[way] for part in self.parts) for way in ways}

    @property
    def canonical(self) -> bool:
        """Whether the codes are those of the network over the real numbers."""
        if self.job is not None:
            return self.job.canonical
        return set(self.parts[0].decided_by) == set(RUNGS)

    @property
    def side(self) -> bool:
        """Whether inputs have numbers beside their codes; see `TokenRecord`."""
        return self.made_by is not None and self.made_by.side

    @property
    def failed(self) -> tuple[Failed, ...]:
        """Inputs that could not be tokenized."""
        return tuple(failed for part in self.parts for failed in part.failed)

    def path_of(self, part: Part) -> Path:
        """Return the file of a part."""
        return self.path if self.job is None else self.path / part.name

    def stored(self, part: Part) -> StoredPart:
        """Open a part, and require that it is one of this set.

        Raises:
            FileFormatError: it is missing, damaged, or of another job.
        """
        found = open_part(self.path_of(part))
        if self.job is not None and (found.job_sha256, found.part.number) != (
            self.job.sha256,
            part.number,
        ):
            raise FileFormatError(f"{found.path}: is part {found.part.number} of another job")
        return found

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """Read the rows of all parts in order, a row group at a time.

        Args:
            columns: names; None for all.

        Raises:
            FileFormatError: a part is missing or damaged; it is named.
        """
        for part in self.parts:
            yield from self.stored(part).blocks(columns)

    def records(self, keys: Iterable[str] | None = None) -> Iterator[TokenRecord]:
        """Read records in the order of the set, in the memory of one row group.

        Args:
            keys: those to read; None for all.

        Raises:
            DataError: a key is not in the set; the first is named, after the others were given.
            FileFormatError: a part is missing or damaged; it is named.
        """
        wanted = None if keys is None else set(keys)
        for block in self.blocks():
            for row, key in enumerate(block.keys):
                if wanted is None or key in wanted:
                    yield block.record(row)
            if wanted is not None:
                wanted.difference_update(block.keys)
                if not wanted:
                    return
        if wanted:
            more = f", nor {len(wanted) - 1} more that were asked for" if len(wanted) > 1 else ""
            raise DataError(f"{self.path}: holds no key {min(wanted)!r}{more}")


def is_data_set(path: str | Path) -> bool:
    """Say whether there is a folder, or a part of a data set; not a file of `write_tokens`.

    What is damaged is none.
    """
    path = Path(path)
    return path.is_dir() or is_part(path)


def open_tokens(path: str | Path) -> TokenSet:
    """Open a data set.

    Args:
        path: a folder that `DatasetWriter` has written, one of its parts, or a file that
            `write_tokens` has written, which is a set of one part.

    Raises:
        FileFormatError: it is none, damaged, or of a newer version; the file is named.
    """
    path = Path(path)
    if path.is_dir():
        manifest = read_manifest(path)
        parts = tuple(manifest.parts[number] for number in sorted(manifest.parts))
        there = {part.number for part in parts}
        missing = tuple(n for n in range(len(manifest.job.inputs)) if n not in there)
        job = manifest.job
        return TokenSet(path, job.modality, job.codebook_sizes, parts, missing, job)
    found = open_part(path)
    return TokenSet(path, found.modality, found.codebook_sizes, (found.part,), (), None)
