"""A codebook for rows in files, by k-means.

In: arrays in files. Out: a file of the codebook, a page where it is asked for, and the figures.
Must not import torch.
"""

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import certvq
from certvq._files.atomic import atomic_path
from certvq._files.claim import claim_file
from certvq._types import Progress, no_progress
from certvq.errors import OptionError
from certvq.jobs._arrays import load_array, naming
from certvq.jobs._rows import rows_of_files


def kmeans_files(  # noqa: PLR0913 - files of a command, and keyword-only
    data: Sequence[Path],
    out: Path,
    codebook_size: int,
    *,
    column: str | None = None,
    weights: Path | None = None,
    checkpoint: Path | None = None,
    page: Path | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> dict[str, Any]:
    """Find a codebook for the rows of files.

    Args:
        data: `.npy` files of floats (N, D), which are mapped, not loaded; `.npz` files; Parquet
            files with a column of lists of one length, or folders of them, which are read batch by
            batch. Several are read one after the other, as if they were one.
        out: receives the codebook (K, D): ``codebook`` in a `.safetensors` file, or an `.npy` file.
        codebook_size: K.
        column: of the Parquet files, or array of the `.npz` files; None where there is but one.
        weights: `.npy` file of one number for each row.
        checkpoint: as for `certvq.kmeans`: a run that was ended goes on from there.
        page: receives a page with the inertia of each iteration and the sizes of the cells.
        progress: called after each iteration.
        options: further options of `certvq.kmeans`.

    Returns:
        `rows`, `dim`, `codebook_size`, `inertia`, `inertia_of_start`, `iterations`, `stopped`,
        `empty_cells`, `codes_moved`, `largest_cell`, `smallest_cell` and `seconds`.

    Raises:
        OptionError: an output is a folder, an input or another output, `out` has another ending, or
            an option is out of range, or no column is named where there are several.
        FileFormatError: a file is corrupt; it is named.
        ShapeError, DTypeError, NonFiniteError, DataError, EmptyCellError: as `certvq.kmeans`.
        OSError: a file cannot be read or written.

    Guarantee: that of `certvq.kmeans`.
    """
    _claim(data, [path for path in (out, checkpoint, page) if path is not None], weights)
    if out.suffix not in {".npy", ".safetensors"}:
        text = f"{out}: must end in .safetensors or .npy, which says how the codebook is written"
        raise OptionError(text)
    masses = None if weights is None else load_array(weights)
    rows = rows_of_files(data, column)
    begun = time.perf_counter()
    with naming(*data):
        found = certvq.kmeans(
            rows,
            codebook_size,
            weights=masses,
            checkpoint=checkpoint,
            progress=progress,
            **options,
        )
    seconds = time.perf_counter() - begun
    with atomic_path(out) as partial:
        partial.write_bytes(_encoded(found.codebook, out.suffix))
    if page is not None:
        from certvq.report import write_kmeans_page

        write_kmeans_page(page, found, data=", ".join(path.name for path in data))
    return _figures(found) | {"seconds": seconds}


def _claim(data: Sequence[Path], outputs: list[Path], weights: Path | None) -> None:
    inputs = (*data, *([] if weights is None else [weights]))
    for place, path in enumerate(outputs):
        claim_file(path, inputs=inputs)
        if path.resolve() in {other.resolve() for other in outputs[:place]}:
            raise OptionError(f"{path}: is named twice; name another file for each output")


def _encoded(codebook: np.ndarray, suffix: str) -> bytes:
    if suffix == ".npy":
        stream = io.BytesIO()
        np.save(stream, codebook)
        return stream.getvalue()
    from safetensors.numpy import save

    return save({"codebook": np.ascontiguousarray(codebook)})


def _figures(found: certvq.KMeansResult) -> dict[str, Any]:
    return {
        "rows": int(found.counts.sum()),
        "dim": int(found.codebook.shape[1]),
        "codebook_size": len(found.counts),
        "inertia": found.inertia,
        "inertia_of_start": found.history[0],
        "iterations": found.iterations,
        "stopped": str(found.stopped),
        "empty_cells": len(found.empty),
        "codes_moved": int(found.splits.sum()),
        "largest_cell": int(found.counts.max()),
        "smallest_cell": int(found.counts.min()),
    }
