"""Images to a token file.

In: a model directory and images. Out: a file, complete or absent, and its figures. Must not train.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from certvq._files.claim import claim_file
from certvq._types import Int64Array, Progress, no_progress
from certvq.data import Skipped
from certvq.jobs._encode_part import encode_part
from certvq.jobs._photographs import load_images
from certvq.models import VQVAE
from certvq.tokens import TokenRecord, encode_photographs, write_tokens
from certvq.tokens._read import MAGIC
from certvq.train import mean_psnr, perplexity, usage


@dataclass(frozen=True)
class EncodedImages:
    """What encoding images found out.

    Attributes:
        figures: `images`, `codes_total`, `decided_by`, `audit_violations`, `bits_per_pixel`,
            `perplexity`, `usage`, `psnr` (of all images together), `codebook_sha256` and
            `skipped` (a count).
        skipped: files that could not be used, with the reasons.
    """

    figures: dict[str, Any]
    skipped: list[Skipped]


def encode_images(
    model_dir: Path,
    images: Sequence[Path],
    out: Path,
    *,
    channels: int | None = None,
    canonical: bool = False,
    progress: Progress = no_progress,
) -> EncodedImages:
    """Encode images to a token file.

    With one codebook every code is audited by exact arithmetic first, and the images are decoded
    for their PSNR. With several codebooks, or a grid, or canonical codes, the file is a token data
    set of one part, which `certvq.tokenize` makes; its figures lack `audit_violations`, `psnr` and
    `codebook_sha256`, and `perplexity` and `usage` are lists, a number for each codebook.

    Args:
        model_dir: the model.
        images: files and folders.
        out: the token file; an older one is replaced.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        canonical: make the codes that the network has over the real numbers
            (`certvq.canonical_codes`).
        progress: called once per image.

    Returns:
        The figures, and what was skipped.

    Raises:
        OptionError: `out` is a folder or an input, or `channels` is neither 1, 3 nor None.
        DataError: an image cannot be used, or has an open token; it is named.
        FileFormatError: the model is corrupt.
        NonFiniteError: the network gave NaN or infinity for an image; it is named.
        OSError: a file cannot be read or written.

    Guarantee: that of `certvq.assign` for every code, or of `certvq.canonical_codes`.
    """
    claim_file(out, inputs=(model_dir, *images), magic=MAGIC)
    model = VQVAE.from_pretrained(model_dir)
    if canonical or model.config.quantizer != "vq":
        options: dict[str, Any] = {"channels": channels, "canonical": canonical}
        options["progress"] = progress
        return EncodedImages(*encode_part(model_dir, images, out, **options))
    takes, stride = model.config.channels, model.config.downsampling
    found = load_images(images, channels=channels, stride=stride, takes=takes, progress=progress)
    encoded = encode_photographs(model, found.photographs, progress=progress)
    write_tokens(out, encoded)
    pictures = encoded.reconstructions
    counts = code_counts(encoded.records, encoded.header.codebook_size)
    figures = {
        "images": len(found.photographs),
        "codes_total": encoded.audit.rows,
        "decided_by": encoded.header.decided_by,
        "audit_violations": len(encoded.audit.violations),
        "bits_per_pixel": bits_per_pixel(encoded.records, encoded.header.codebook_size),
        "perplexity": perplexity(counts),
        "usage": usage(counts),
        "psnr": mean_psnr((p.pixels, pictures[p.key]) for p in found.photographs),
        "codebook_sha256": encoded.header.codebook_sha256,
        "skipped": len(found.skipped),
    }
    return EncodedImages(figures, found.skipped)


def bits_per_pixel(records: Sequence[TokenRecord], codebook_size: int) -> float:
    """Compute ``codes log2(K) / pixels`` over all records, at least one.

    Example:
        >>> record = TokenRecord("tom", (2, 2), (8, 8), np.zeros(4, np.int64))
        >>> bits_per_pixel([record], 512)
        0.5625
    """
    codes = sum(record.codes.size for record in records)
    pixels = sum(record.size[0] * record.size[1] for record in records)
    return codes * math.log2(codebook_size) / pixels


def code_counts(records: Sequence[TokenRecord], codebook_size: int) -> Int64Array:
    """Count how often each of the K codes occurs in all records, (K,)."""
    codes = np.concatenate([record.codes for record in records])
    return np.bincount(codes, minlength=codebook_size)
