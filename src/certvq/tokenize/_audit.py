"""Audit a token data set: make its tokens again, of all inputs or of some, and compare.

In: a token data set, its model and its sources. Out: every input whose codes are others. Must not
take any code of the set for granted.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from certvq._types import Progress, no_progress
from certvq.errors import DataError, DigestMismatchError, OptionError
from certvq.tokenize._codecs._open import ModelSource
from certvq.tokenize._columns import Making, guarded_batches, inputs_of
from certvq.tokenize._encoder import TokenEncoder
from certvq.tokenize._job import job_of
from certvq.tokenize._media import Reading
from certvq.tokenize._plan import InputPart, plan
from certvq.tokens import Job, TokenSet, open_tokens
from certvq.tokens._job import differences


@dataclass(frozen=True)
class Differing:
    """An input whose codes in the set are not those that the model makes now.

    Attributes:
        key: of the input.
        codes: how many differ.
        first: place of the first, in the order of the set.
        found: the code in the set there.
        made: the code that the model makes; -1 where shapes or sizes differ.
        side: whether the numbers beside the codes differ.
    """

    key: str
    codes: int
    first: int
    found: int
    made: int
    side: bool = False


@dataclass(frozen=True)
class SetAudit:
    """What an audit of a token data set found.

    Attributes:
        rows: inputs whose tokens were made again.
        tokens: their codes.
        differing: those whose codes are others.
    """

    rows: int
    tokens: int
    differing: tuple[Differing, ...]

    @property
    def ok(self) -> bool:
        """Whether all codes, and the numbers beside them, are the same."""
        return not self.differing

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        found = [vars(each) for each in self.differing]
        return {"rows": self.rows, "tokens": self.tokens, "differing": found}


def audit_set(
    model: ModelSource,
    directory: str | Path,
    sources: Sequence[str | Path],
    *,
    rows: int | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> SetAudit:
    """Make the tokens of a set again, and compare them.

    Args:
        model: that made the set.
        directory: of the set, or one of its parts.
        sources: that it was made of.
        rows: how many inputs to try, drawn by their keys; None tries all.
        seed: of the draw.
        progress: called after each input.

    Raises:
        OptionError: `rows` is below 1.
        DigestMismatchError: the set is of another model, or of other sources; the text says what
            differs.
        DataError: the set holds a key that its sources do not.
        FileFormatError: the set or the model is damaged.

    Guarantee: the codes compared are those of `certvq.assign` for the latents that the model
    computes here. Another processor may round latents otherwise, but canonical codes are the same
    everywhere, whatever the versions of the libraries.
    """
    if rows is not None and rows < 1:
        raise OptionError(f"rows must be at least 1, got {rows}")
    stored = open_tokens(directory)
    made_by = stored.made_by
    if made_by is None:
        raise OptionError(f"{directory}: is neither a token data set nor a part of one")
    making, parts = _as_made(model, made_by, sources)
    given = job_of(making, parts, made_by.arguments["files_per_part"])
    if made_by.canonical:  # whose codes no version of a library changes
        given = given.with_versions(made_by.versions)
    if given != made_by:
        raise DigestMismatchError(
            f"{directory}: is not of this model and these sources: {differences(made_by, given)}"
        )
    wanted = None if rows is None else _drawn(stored, rows, seed)
    total = stored.rows if wanted is None else len(wanted)
    done, tokens, differing = 0, 0, list[Differing]()
    made = _made_again(making, parts, wanted)
    for record in stored.records(keys=wanted):
        size, codes, side = _of_key(made, record.key)
        done, tokens = done + 1, tokens + record.codes.size
        found = _compared(record, size, codes, side)
        differing += [found] if found else []
        progress("auditing", done, total)
    return SetAudit(done, tokens, tuple(differing))


def _as_made(
    model: ModelSource, job: Job, sources: Sequence[str | Path]
) -> tuple[Making, list[InputPart]]:
    arguments = job.arguments
    try:
        names = ("channels", "resize", "resample")
        given = {name: job.preprocessing[name] for name in names}
        reading = Reading(**given, seconds=job.preprocessing.get("seconds"))
        encoder = TokenEncoder(
            model,
            reading,
            latents=job.modality == "latent",
            quantizers=len(job.codebooks),
            device=arguments["device"] if not job.canonical else "cpu",
            threads=arguments["threads"] if not job.canonical else None,
            group=arguments["group"] if not job.canonical else 1,
            canonical=job.canonical,
        )
        making = Making(encoder, arguments["column"], encoder.group)
        parts = plan(sources, encoder.codec.modality, files_per_part=arguments["files_per_part"])
    except KeyError as error:
        raise OptionError(
            f"the token data set was not made by certvq tokenize: it lacks {error}"
        ) from error
    return making, parts


def _drawn(stored: TokenSet, rows: int, seed: int) -> set[str]:
    """Draw keys by their hashes, so that the order of the set does not matter."""

    def ticket(key: str) -> bytes:
        return hashlib.sha256(f"{seed} {key}".encode()).digest()

    return set(heapq.nsmallest(rows, (record.key for record in stored.records()), key=ticket))


def _made_again(
    making: Making, parts: Sequence[InputPart], wanted: set[str] | None
) -> Iterator[tuple[Any, ...]]:
    """Give key, size, codes and side of inputs, in the order of the set; groups stay whole."""
    for part in parts:
        for batch in guarded_batches(part, making):
            if wanted is None or any(item.key in wanted for item in batch):
                found = making.encoder(inputs_of(batch))
                sides = found.get("side", [()] * len(batch))
                yield from zip(found["key"], found["size"], found["codes"], sides, strict=True)


def _of_key(made: Iterator[tuple[Any, ...]], key: str) -> tuple[Any, ...]:
    for found, *values in made:
        if found == key:
            return tuple(values)
    raise DataError(f"the sources hold no usable input of the key {key!r} after the one before it")


def _compared(record: Any, size: Any, codes: Any, side: Any) -> Differing | None:
    stored = record.codes.reshape(-1)
    if codes is None or tuple(size) != tuple(record.size) or codes.size != stored.size:
        return Differing(record.key, stored.size, 0, int(stored[0]), -1)
    other = np.flatnonzero(codes != stored)
    beside = side != record.side
    if not other.size and not beside:
        return None
    first = int(other[0]) if other.size else 0
    pair = int(stored[first]), int(codes[first])
    return Differing(record.key, int(other.size), first, *pair, side=beside)
