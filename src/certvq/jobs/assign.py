"""Certified codes for latents in a file.

In: two arrays in files. Out: an `.npy` file of codes and the figures about it. Must not import
torch unless the codebook is a model's.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

import certvq
from certvq._files.atomic import atomic_path
from certvq._files.claim import claim_file
from certvq._types import Progress, no_progress
from certvq.assign._validate import require_latents
from certvq.jobs._arrays import blocks, load_array, load_codebook, naming


def assign_file(
    latents: Path,
    codebook: Path,
    out: Path,
    *,
    backend: str = "auto",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Assign the nearest code to each latent of a file.

    Args:
        latents: `.npy` file of floats (N, D).
        codebook: `.npy` file of floats (K, D), or a model directory.
        out: receives the codes, int64 (N,), as an `.npy` file.
        backend: as for `certvq.assign`.
        progress: called once per block of rows.

    Returns:
        `rows`, `dim`, `codebook_size`, `decided_by`, `codes_used`, `mean_sqdist` and `seconds`.

    Raises:
        OptionError: `out` is a folder or an input.
        FileFormatError: a file is corrupt; it is named.
        ShapeError, DTypeError, NonFiniteError: as `certvq.assign`, with the files named.
        BackendUnavailableError: unknown backend, or something that it needs is missing.
        OSError: a file cannot be read or written.

    Guarantee: that of `certvq.assign`.
    """
    claim_file(out, inputs=(latents, codebook))
    rows, vectors = load_array(latents), load_codebook(codebook)
    start = time.perf_counter()
    with naming(latents, codebook):
        prepared = certvq.prepare(vectors)
        require_latents(rows, prepared.dim)  # before the blocks, for their rows have other numbers
        parts = [
            certvq.assign(rows[block], prepared, backend=backend)
            for block in blocks(len(rows), "assigning", progress)
        ]
    seconds = time.perf_counter() - start
    codes = np.concatenate([part.codes for part in parts])
    with atomic_path(out) as partial, partial.open("wb") as file:
        np.save(file, codes)
    decided = [part.counts() for part in parts]
    return {
        "rows": len(codes),
        "dim": prepared.dim,
        "codebook_size": prepared.codebook_size,
        "decided_by": {way: sum(part[way] for part in decided) for way in decided[0]},
        "codes_used": len(np.unique(codes)),
        "mean_sqdist": sum(float(part.sqdist.sum()) for part in parts) / max(len(codes), 1),
        "seconds": seconds,
    }
