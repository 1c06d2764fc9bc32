"""The job: sources and a model to a token data set, begun again where it was left.

In: a model, sources, a folder. Out: parts and their manifest, and what became of the inputs. Must
not print.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from certvq.errors import DataError, OptionError
from certvq.network._canonical import MOST_PRECISION
from certvq.tokenize._codecs._open import ModelSource
from certvq.tokenize._columns import BATCH_SIZE, Making
from certvq.tokenize._encoder import TokenEncoder
from certvq.tokenize._engines import Engine, LocalEngine, Work
from certvq.tokenize._items import ROWS_PER_ITEM
from certvq.tokenize._media import Reading
from certvq.tokenize._plan import FILES_PER_PART, InputPart, looks_like, plan
from certvq.tokens import DatasetWriter, Failed, Job, Part, verify_tokens
from certvq.tokens._manifest import MANIFEST
from certvq.tokens._part import PARTS

_SHOWN = 10


@dataclass
class State:
    """How far a job is; given to `watch` after each batch and each part.

    Attributes:
        parts: finished, those of earlier runs included.
        of_parts: all parts.
        inputs: that this run has gone through.
        failed: inputs that could not be used.
        skipped: parts that earlier runs had finished.
        bytes: of the sources that are done, those of earlier runs included.
        of_bytes: all of them.
        part: that was just finished; None after a batch.
    """

    parts: int
    of_parts: int
    inputs: int
    failed: int
    skipped: int
    bytes: int
    of_bytes: int
    part: Part | None = None


Watch: TypeAlias = Callable[[State], None]


@dataclass(frozen=True)
class Tokenized:
    """What a job has made.

    Attributes:
        directory: of the token data set.
        parts: in it.
        skipped: parts that earlier runs had finished.
        rows: inputs with tokens.
        tokens: codes in all.
        decided_by: how many codes the filter, the refinement and exact arithmetic decided; of
            canonical codes float64, wider and exact arithmetic.
        failed: how many inputs could not be used.
        first_failed: the first of them, with the reasons.
        seconds: that this run took.
    """

    directory: Path
    parts: int
    skipped: int
    rows: int
    tokens: int
    decided_by: dict[str, int]
    failed: int
    first_failed: tuple[Failed, ...] = field(default=())
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        return {
            "parts": self.parts,
            "parts_skipped": self.skipped,
            "inputs": self.rows + self.failed,
            "failed": self.failed,
            "tokens": self.tokens,
            "decided_by": self.decided_by,
            "seconds": round(self.seconds, 3),
            "first_failed": [f"{each.source}: {each.reason}" for each in self.first_failed],
        }


def tokenize(  # noqa: PLR0913 (each is an option of the job)
    model: ModelSource,
    sources: Sequence[str | Path] | str | Path,
    out: str | Path,
    *,
    column: str | None = None,
    channels: int | None = None,
    resize: int | None = None,
    resample: bool = False,
    seconds: float | None = None,
    quantizers: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    group: int = 1,
    canonical: bool = False,
    files_per_part: int = FILES_PER_PART,
    batch_size: int = BATCH_SIZE,
    strict: bool = False,
    repair: bool = False,
    engine: Engine | None = None,
    watch: Watch | None = None,
) -> Tokenized:
    """Make a token data set of images, sounds or latents; or finish one that was begun.

    Args:
        model: a folder of certvq's, or of transformers or diffusers of a known kind; a codebook in
            a `.npy` file; an entry ``"module:function"``, or the function itself.
        sources: files, folders, glob patterns, and shards: Parquet, WebDataset, `.npy`, `.npz`.
        out: the folder of the token data set, made if absent.
        column: of shards; None finds it.
        channels: 1 or 3 converts images; 1 mixes sounds down, 2 repeats the channel of sounds that
            have one.
        resize: scale images to this shorter side and cut a centred square out of them.
        resample: convert sounds of another rate than the model's.
        seconds: cut sounds into windows of this length, each an input of its own with the key
            ``KEY#000000``, ``KEY#000001``, ...; the model then sees nothing beyond the ends of a
            window, so that codes there are not those of the whole sound.
        quantizers: how many codebooks of a residual codec to use.
        device: ``"cpu"``, ``"cuda"``, ...
        threads: of the processor for each forward pass.
        group: how many inputs of one shape go through the model together.
        canonical: make the codes that the network has over the real numbers
            (`certvq.canonical_codes`), which no device, batch, thread or library changes. An input
            with an open token counts as one that cannot be used.
        files_per_part: how many single files make a part; a shard is always one.
        batch_size: inputs that a worker takes at once. It does not change a byte.
        strict: whether the first input that cannot be used ends the job.
        repair: whether parts that are damaged are made again.
        engine: `LocalEngine` by default; or `RayEngine`. It does not change a byte.
        watch: called after each batch and each part.

    Returns:
        What the token data set holds now.

    Raises:
        OptionError: an option out of its range, a model that is not known or not here, a folder of
            another job or in use by another process, a column that is missing, or a sound of
            another rate.
        DataError: a source is missing, nothing in the sources can be used, or one input where
            `strict` is set.
        FileFormatError: the model or the token data set is damaged, or of a newer version.
        OSError: a file cannot be read or written.

    Guarantee: each code is the lowest nearest one (`certvq.assign`) of the latent that the model
    computed. A run that was ended at any moment can be begun again with the same arguments; the
    parts are then those of an undisturbed run, byte for byte, on the same kind of processor with
    the same versions of the libraries.
    Cost: memory for a batch of each worker and one row group, whatever the size of the sources;
        one sound is decoded whole, unless `seconds` cuts it.
    """
    begun = time.monotonic()
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    reading = Reading(channels, resize, resample, seconds)
    encoder = TokenEncoder(
        model,
        reading,
        latents=looks_like(listed) == "latent",
        quantizers=quantizers,
        device=device,
        threads=threads,
        group=group,
        canonical=canonical,
    )
    making = Making(encoder, column, batch_size, strict)
    codec = encoder.codec
    if seconds is not None and codec.modality != "audio":
        raise OptionError(f"seconds is for sounds, and the model takes {codec.modality}s")
    parts = plan(listed, codec.modality, files_per_part=files_per_part)
    job = job_of(making, parts, files_per_part)
    directory = Path(out)
    if repair and (directory / MANIFEST).exists():
        verify_tokens(directory, repair=True)
    is_new = not (directory / MANIFEST).exists()
    state = State(0, len(parts), 0, 0, 0, 0, sum(part.size for part in parts))
    parts_made: tuple[Part, ...] = ()
    try:
        with DatasetWriter(directory, job) as writer:
            _begin(state, parts, writer.finished)
            work = Work(directory, job, making, {n: parts[n] for n in writer.missing})
            if work.parts:
                _run(work, writer, engine or LocalEngine(), state, watch or _ignore)
            seconds = time.monotonic() - begun
            parts_made, skipped = writer.parts, state.skipped
            return _result(directory, job, parts_made, skipped, seconds, strict=strict)
    except BaseException:
        if is_new and not any(part.rows for part in parts_made):
            for part in parts_made:  # of which no input can be used
                (directory / part.name).unlink(missing_ok=True)
            _withdraw(directory)
        raise


def _run(work: Work, writer: DatasetWriter, engine: Engine, state: State, watch: Watch) -> None:
    def consumed(inputs: int, failed: int, size: int) -> None:
        state.inputs += inputs
        state.failed += failed
        state.bytes += size
        watch(state)

    for part in engine(work, consumed):
        writer.add(part)
        state.parts += 1
        state.part = part
        watch(state)
        state.part = None


def _withdraw(directory: Path) -> None:
    """Leave no manifest of a job that ended before its first part; its arguments may change."""
    with suppress(OSError):
        (directory / PARTS).rmdir()
        (directory / MANIFEST).unlink()
        directory.rmdir()


def job_of(making: Making, parts: Sequence[InputPart], files_per_part: int = FILES_PER_PART) -> Job:
    """Record what parts are made by: model, preprocessing, sources, options.

    Args:
        making: how they are made.
        parts: all of them, from `plan`.
        files_per_part: as it was given to `plan`.
    """
    encoder, codec = making.encoder, making.encoder.codec
    running = {"device": codec.device.type, "threads": encoder.threads, "group": encoder.group}
    return Job.of(
        codec.module,
        codec.codebooks,
        modality=codec.modality,
        preprocessing={
            **codec.preprocessing(exact=encoder.canonical),
            **encoder.reading.to_json(),
        },
        arguments={
            "model": codec.name,
            "options": codec.options,
            "column": making.column,
            **({"canonical": {"precision": MOST_PRECISION}} if encoder.canonical else running),
            "files_per_part": files_per_part,
            "rows_per_item": ROWS_PER_ITEM,
        },
        side=codec.side,
        inputs=tuple(f"{part.keys[0]} ({len(part.keys)}) {part.sha256}" for part in parts),
    )


def _begin(state: State, parts: Sequence[InputPart], finished: frozenset[int]) -> None:
    state.parts = state.skipped = len(finished)
    state.bytes = sum(parts[number].size for number in finished)


def _result(
    directory: Path, job: Job, parts: Sequence[Part], skipped: int, seconds: float, *, strict: bool
) -> Tokenized:
    failed = [each for part in parts for each in part.failed[:_SHOWN]][:_SHOWN]
    count = sum(len(part.failed) for part in parts)
    rows = sum(part.rows for part in parts)
    if not rows and not count:
        text = f"{directory}: the sources hold nothing that the model takes ({job.modality})"
        raise DataError(text)
    if count and (strict or not rows):
        first = "; ".join(f"{each.source}: {each.reason}" for each in failed[:3])
        what = f"{count} inputs cannot be used" if rows else f"none of {count} inputs can be used"
        raise DataError(f"{directory}: {what}: {first}")
    decided = {way: sum(part.decided_by[way] for part in parts) for way in job.ways}
    tokens = sum(part.tokens for part in parts)
    return Tokenized(
        directory, len(parts), skipped, rows, tokens, decided, count, tuple(failed), seconds
    )


def _ignore(state: State) -> None:
    del state
