"""A run directory as one frozen value: what the page shows, checked to belong together.

In: the path of a run directory. Out: a `Run`, whose pictures are still paths, since a run may hold
more of them than fit into memory. Must not know what the page looks like.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certvq._files.json import SEAL
from certvq._types import Float64Array, Int64Array
from certvq.errors import DigestMismatchError, FileFormatError
from certvq.models import codebook_digest
from certvq.runs._read_file import read_arrays, read_codebook, read_json, read_json_lines
from certvq.runs._run_files import RunFiles
from certvq.runs._summary import ImageFigures, Summary, parse_summary
from certvq.tokens import TokenFile, TokenHeader, TokenRecord, read_tokens

_METRIC_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Photo:
    """One held-out photograph; the paths are None where the run has no such picture."""

    figures: ImageFigures
    codes: Int64Array
    radius: Float64Array | None
    margin: Float64Array | None
    original: Path | None
    reconstruction: Path | None
    kmeans: Path | None


@dataclass(frozen=True)
class Run:
    """A run directory; `missing` names the optional files that it lacks.

    `latent_norm` is the root mean square of the norm of all held-out latents, None where the run
    does not hold them. `metrics_cut` says that the last line of `metrics.jsonl` was unfinished.
    """

    summary: Summary
    photos: tuple[Photo, ...]
    header: TokenHeader
    tokens_sha256: str
    codebook: Float64Array
    counts: Int64Array
    latent_norm: float | None
    metrics: tuple[dict[str, Any], ...]
    metrics_cut: bool
    train: dict[str, Any]
    model: dict[str, Any]
    missing: tuple[str, ...]


def read_run(run_dir: Path) -> Run:
    """Read a run directory.

    Raises:
        FileFormatError: `run_dir` is no run directory, or a file in it is corrupt or does not
            belong to the others; the text names the file.
        DigestMismatchError: the codebook of the model is not the one that the summary or the
            token file names.
    """
    shelf = Shelf(run_dir)
    files = shelf.files
    required = (files.summary, files.tokens, files.weights, files.architecture)
    lacking = [shelf.name(path) for path in required if not path.is_file()]
    if lacking:
        wanted = ", ".join(map(shelf.name, required))
        raise FileFormatError(
            f"{run_dir}: no run directory, looked for {wanted} and did not find "
            f"{', '.join(lacking)}; name the folder that a finished run has written"
        )
    summary = parse_summary(read_json(files.summary), files.summary)
    tokens = read_tokens(files.tokens)
    model = read_json(files.architecture)
    codebook = _codebook(files, summary, tokens.header, model)
    radii, latents = shelf.arrays(files.radii), shelf.arrays(files.latents)
    margins = shelf.arrays(files.margins) if summary.canonical else None
    photos = _photos(shelf, summary, tokens, {files.radii: radii, files.margins: margins})
    metrics, metrics_cut = read_metrics(shelf)
    return Run(
        summary=summary,
        photos=photos,
        header=tokens.header,
        tokens_sha256=hashlib.sha256(files.tokens.read_bytes()).hexdigest(),
        codebook=codebook,
        counts=np.bincount(
            np.concatenate([photo.codes.ravel() for photo in photos] or [np.zeros(0, np.int64)]),
            minlength=len(codebook),
        ),
        latent_norm=_latent_norm(shelf, photos, latents),
        metrics=metrics,
        metrics_cut=metrics_cut,
        train=shelf.settings(files.config),
        model=model,
        missing=tuple(shelf.missing),
    )


class Shelf:
    """The optional files of a run: what is not there is noted."""

    def __init__(self, run_dir: Path) -> None:
        self.files = RunFiles(run_dir)
        self.missing: list[str] = []

    def name(self, path: Path) -> str:
        return path.relative_to(self.files.root).as_posix()

    def has(self, path: Path) -> bool:
        found = os.path.isfile(path)  # noqa: PTH113 (False for too long a name)
        if not found:
            self.missing.append(self.name(path))
        return found

    def arrays(self, path: Path) -> dict[str, NDArray[Any]] | None:
        return read_arrays(path) if self.has(path) else None

    def settings(self, path: Path) -> dict[str, Any]:
        found = read_json(path) if self.has(path) else {}
        return {name: value for name, value in found.items() if name != SEAL}

    def picture(self, key: str, kind: str) -> Path | None:
        # keys that lead out of the folder were refused by read_tokens
        path = self.files.picture(key, kind)
        return path if self.has(path) else None


def _codebook(
    files: RunFiles, summary: Summary, header: TokenHeader, model: Mapping[str, Any]
) -> Float64Array:
    path = files.weights
    codebook = read_codebook(path)
    digest = codebook_digest(codebook)
    for source, named in (
        (files.summary, summary.codebook_sha256),
        (files.tokens, header.codebook_sha256),
        (files.architecture, model.get("codebook_sha256")),
    ):
        if named != digest:
            raise DigestMismatchError(
                f"{source}: names the codebook {named}, but {path} holds {digest}; "
                "the files are of different runs: write the run again"
            )
    for source, size in (
        (files.summary, summary.codebook_size),
        (files.tokens, header.codebook_size),
    ):
        if size != len(codebook):
            raise FileFormatError(
                f"{source}: codebook_size is {size}, but {path} holds {len(codebook)} "
                "code vectors; write the run again"
            )
    return codebook.double().numpy()


def _photos(
    shelf: Shelf,
    summary: Summary,
    tokens: TokenFile,
    distances: Mapping[Path, Mapping[str, NDArray[Any]] | None],
) -> tuple[Photo, ...]:
    records = {record.key: record for record in tokens.records}
    if sorted(records) != sorted(image.key for image in summary.images):
        raise FileFormatError(
            f"{shelf.files.tokens}: holds the photographs {sorted(records)}, but "
            f"summary.json names {sorted(image.key for image in summary.images)}; "
            "write the run again"
        )
    return tuple(_photo(shelf, image, records[image.key], distances) for image in summary.images)


def _photo(
    shelf: Shelf,
    image: ImageFigures,
    record: TokenRecord,
    distances: Mapping[Path, Mapping[str, NDArray[Any]] | None],
) -> Photo:
    if (image.height, image.width) != tuple(record.size) or image.tokens != record.codes.size:
        raise FileFormatError(
            f"{shelf.files.tokens}: {image.key!r} has {record.codes.size} tokens for "
            f"{record.size[0]} x {record.size[1]} pixels, but summary.json says {image.tokens} for "
            f"{image.height} x {image.width}; write the run again"
        )
    radius, margin = (
        None if arrays is None else _distances(shelf, path, arrays, record)
        for path, arrays in distances.items()
    )
    return Photo(
        figures=image,
        codes=record.codes.reshape(record.shape),
        radius=radius,
        margin=margin,
        original=shelf.picture(image.key, "original"),
        reconstruction=shelf.picture(image.key, "reconstruction"),
        kmeans=shelf.picture(image.key, "kmeans"),
    )


def _distances(
    shelf: Shelf, path: Path, arrays: Mapping[str, NDArray[Any]], record: TokenRecord
) -> Float64Array | None:
    if record.key not in arrays:
        shelf.missing.append(f"{shelf.name(path)}: {record.key}")
        return None
    radius = arrays[record.key]
    if radius.shape != tuple(record.shape) or radius.dtype.kind != "f" or not (radius >= 0).all():
        raise FileFormatError(
            f"{path}: {record.key!r} must hold {record.shape[0]} x "
            f"{record.shape[1]} radii of at least 0, got {radius.dtype} of shape {radius.shape}; "
            "encode again"
        )
    return radius.astype(np.float64)


def _latent_norm(
    shelf: Shelf, photos: tuple[Photo, ...], latents: Mapping[str, NDArray[Any]] | None
) -> float | None:
    if latents is None:
        return None
    path = shelf.files.latents
    squares: list[Float64Array] = []
    for photo in photos:
        key = photo.figures.key
        if key not in latents:
            shelf.missing.append(f"{shelf.name(path)}: {key}")
            continue
        rows = latents[key]
        right = rows.ndim == 2 and len(rows) == photo.codes.size and rows.dtype.kind == "f"
        if not right or not np.isfinite(rows).all():
            raise FileFormatError(
                f"{path}: {key!r} must hold {photo.codes.size} rows of finite "
                f"floats, got {rows.dtype} of shape {rows.shape}; encode again"
            )
        squares.append(np.square(rows, dtype=np.float64).sum(axis=1))
    return float(np.sqrt(np.concatenate(squares).mean())) if squares else None


def read_metrics(shelf: Shelf) -> tuple[tuple[dict[str, Any], ...], bool]:
    """Read `metrics.jsonl`: its lines, and whether the last one was unfinished and left out.

    Raises:
        FileFormatError: a line is not one of a run.
    """
    path = shelf.files.metrics
    if not shelf.has(path):
        return (), False
    records, cut = read_json_lines(path)
    for number, record in enumerate(records, start=1):
        step = record.get("step")
        if record.get("split") not in _METRIC_SPLITS or type(step) is not int:
            raise FileFormatError(
                f"{path}: line {number} must have a split of {_METRIC_SPLITS} and a whole step, "
                f"got split {record.get('split')!r} and step {step!r}; train again"
            )
    return records, cut
