"""The main job: photographs to certified tokens and back, end to end.

In: photographs and a folder. Out: in the folder a trained model, the tokens of photographs that it
never saw, every code audited by exact arithmetic, the figures and the page. Must not know of the
command line.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from certvq._files.atomic import atomic_directory
from certvq._files.lock import folder_lock
from certvq._types import Progress, UInt8Array, no_progress
from certvq._version import __version__
from certvq.data import Photograph, Skipped
from certvq.jobs._canonical import CanonicalRun, canonical_run
from certvq.jobs._outputs import write_arrays, write_pictures
from certvq.jobs.encode import bits_per_pixel, code_counts
from certvq.jobs.train import Trained, train_run
from certvq.models import VQVAE, VQVAEConfig
from certvq.report import write_report
from certvq.runs import ImageFigures, RunFiles, Summary
from certvq.runs._claim import claim_run
from certvq.tokens import Encoded, decode_tokens, encode_photographs, read_tokens, write_tokens
from certvq.train import (
    TrainConfig,
    mean_psnr,
    patch_kmeans_codec,
    perplexity,
    psnr,
    read_checkpoint_info,
    usage,
)


@dataclass(frozen=True)
class RoundTrip:
    """What became of photographs on their way to tokens and back.

    Attributes:
        encoded: tokens, reconstructions, radii and the audit, as encoding reported them.
        bit_exact: whether decoding the token file, with the model read from disk once more, gave
            the very pixels that encoding reported, for every photograph.
    """

    encoded: Encoded
    bit_exact: bool


@dataclass(frozen=True)
class DemoResult:
    """What the main job gave.

    Attributes:
        files: the run directory.
        summary: the figures, as in `summary.json`.
        skipped: files that could not be used, and pictures that could not be written, with the
            reasons.
    """

    files: RunFiles
    summary: Summary
    skipped: list[Skipped]


def demo_config(*, seconds: float = 190.0, seed: int = 0) -> TrainConfig:
    """Give the configuration of the main job: a small model, tuned for minutes on two cores.

    Args:
        seconds: the time to train for.
        seed: of weights, crops and split.

    Returns:
        A configuration that may be changed with `dataclasses.replace`.

    Raises:
        OptionError: a value is out of its range.
    """
    return TrainConfig(model=VQVAEConfig.small(), seconds=seconds, seed=seed)


def run_demo(
    out: Path,
    *,
    data: Path | None = None,
    config: TrainConfig | None = None,
    channels: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> DemoResult:
    """Train, encode held-out photographs, audit, decode from disk alone, compare, and show it.

    Args:
        out: becomes the run directory; absent, empty, or a run of the same settings, which is gone
            on with: a finished one is not trained again.
        data: a folder of images; None for the bundled photographs.
        config: how to train; None for `demo_config()`.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        overwrite: replace the run in `out`.
        progress: called throughout.

    Returns:
        The figures. It is for the caller to look at `summary.ok`.

    Raises:
        OptionError: `out` cannot be used, or an option is out of its range.
        DataError: the photographs cannot be used; one is named.
        FileFormatError: the run in `out` is corrupt, or of other settings.
        NonFiniteError: the training diverged; the last checkpoint is left as it is.
        OSError: a file cannot be read or written.
    """
    files = claim_run(out, existing=True, overwrite=overwrite, data=data)
    with folder_lock(out):
        resume = files.checkpoint.exists() and not overwrite
        config = config or demo_config()
        start = time.monotonic() - (read_checkpoint_info(files.checkpoint).seconds if resume else 0)
        with torch_threads(1):
            trained = train_run(
                out,
                config,
                data=data,
                channels=channels,
                resume=resume,
                overwrite=not resume,
                progress=progress,
            )
        return _results(trained, config, start, progress)


def _results(trained: Trained, config: TrainConfig, start: float, progress: Progress) -> DemoResult:
    """Write what is made with the trained model, and return the figures."""
    files = trained.files
    heldout = trained.split.validation
    trip = round_trip(files, heldout, progress=progress)
    kmeans = patch_kmeans_codec(
        trained.split.train,
        heldout,
        patch=config.model.downsampling,
        codebook_size=config.model.codebook_size,
        seed=config.seed,
        progress=progress,
    )
    canonical = canonical_run(VQVAE.from_pretrained(files.model), heldout, progress=progress)
    unwritten = write_heldout(files, heldout, trip.encoded, kmeans, canonical)
    elapsed = time.monotonic() - start
    summary = _summarise(trained, config.seed, trip, kmeans, total_seconds=elapsed)
    summary = replace(summary, canonical=canonical and canonical.figures)
    summary.write(files.summary)
    write_report(files.root, progress=progress)
    return DemoResult(files, summary, [*trained.skipped, *unwritten])


def _summarise(
    trained: Trained,
    seed: int,
    trip: RoundTrip,
    kmeans: Mapping[str, UInt8Array],
    *,
    total_seconds: float,
) -> Summary:
    encoded, heldout = trip.encoded, trained.split.validation
    header, counts = encoded.header, code_counts(encoded.records, encoded.header.codebook_size)
    return Summary(
        psnr_heldout=mean_psnr((p.pixels, encoded.reconstructions[p.key]) for p in heldout),
        psnr_kmeans=mean_psnr((p.pixels, kmeans[p.key]) for p in heldout),
        bits_per_pixel=bits_per_pixel(encoded.records, header.codebook_size),
        perplexity=perplexity(counts),
        usage=usage(counts),
        codes_total=encoded.audit.rows,
        decided_by=dict(header.decided_by),
        audit_violations=len(encoded.audit.violations),
        roundtrip_bit_exact=trip.bit_exact,
        train_seconds=trained.seconds,
        total_seconds=total_seconds,
        codebook_size=header.codebook_size,
        codebook_sha256=header.codebook_sha256,
        certvq_version=__version__,
        seed=seed,
        images=tuple(
            ImageFigures(
                key=photograph.key,
                height=photograph.height,
                width=photograph.width,
                tokens=record.codes.size,
                psnr=psnr(photograph.pixels, encoded.reconstructions[photograph.key]),
                psnr_kmeans=psnr(photograph.pixels, kmeans[photograph.key]),
            )
            for photograph, record in zip(heldout, encoded.records, strict=True)
        ),
    )


def round_trip(
    files: RunFiles, photographs: Sequence[Photograph], *, progress: Progress = no_progress
) -> RoundTrip:
    """Encode photographs, write the token file, and decode it with the model read from disk.

    Args:
        files: of a run that has a trained model; receives the token file.
        photographs: to encode.
        progress: called once per photograph and stage.

    Returns:
        What encoding reported, and whether decoding agrees with it.

    Raises:
        FileFormatError: the model cannot be read.
        DataError: a photograph does not fit the model; it is named.
        OSError: a file cannot be read or written.
    """
    encoded = encode_photographs(VQVAE.from_pretrained(files.model), photographs, progress=progress)
    write_tokens(files.tokens, encoded)
    model = VQVAE.from_pretrained(files.model)
    decoded = decode_tokens(read_tokens(files.tokens), model, progress=progress)
    return RoundTrip(encoded, same_pictures(encoded.reconstructions, decoded))


def same_pictures(one: Mapping[str, UInt8Array], other: Mapping[str, UInt8Array]) -> bool:
    """Tell whether two sets of pictures have the same keys and the same pixels."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def write_heldout(
    files: RunFiles,
    photographs: Sequence[Photograph],
    encoded: Encoded,
    kmeans: Mapping[str, UInt8Array],
    canonical: CanonicalRun | None = None,
) -> list[Skipped]:
    """Write what the page shows of the held-out photographs.

    Args:
        files: of the run; `heldout/` receives, for each photograph, the original, the
            reconstruction and the k-means codec's as PNG, and for all of them `stability.npz`, the
            proved radii of the tokens, `latents.npz`, and `canonical.npz`, the margins of their
            canonical codes.
        photographs: those that were encoded.
        encoded: what encoding reported.
        kmeans: the codec's reconstructions, by key.
        canonical: the margins; None writes none.

    Returns:
        The pictures whose names the file system does not take.

    Raises:
        OSError: a file cannot be written.

    Guarantee: `heldout/` is whole or as it was.
    """
    pictures: dict[str, UInt8Array] = {}
    for photograph in photographs:
        key = photograph.key
        of = {
            "original": photograph.pixels,
            "reconstruction": encoded.reconstructions[key],
            "kmeans": kmeans[key],
        }
        for kind, pixels in of.items():
            name = files.picture(key, kind).relative_to(files.heldout)
            pictures[name.as_posix()] = pixels
    with atomic_directory(files.heldout) as folder:
        refused = write_pictures(folder, pictures)
        write_arrays(folder / files.radii.name, encoded.radii)
        write_arrays(folder / files.latents.name, encoded.latents)
        if canonical is not None:
            write_arrays(folder / files.margins.name, canonical.margins)
    return [Skipped(files.heldout / name, reason) for name, reason in refused.items()]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads within a block.

    The operations of a small model end in well under a millisecond, and threads wait for each other
    after every one. Where another program wants the same cores, that wait costs far more than the
    second core gains: on two busy cores a single thread was seen to make ten times the steps.

    Args:
        count: at least 1.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
