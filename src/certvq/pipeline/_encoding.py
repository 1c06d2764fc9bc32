"""Images to a token file, and a token file to images.

In: a model directory and images or tokens. Out: files, complete or absent. Must not train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certvq._files.atomic import atomic_directory
from certvq._types import Progress, no_progress
from certvq.data import Skipped
from certvq.models import VQVAE
from certvq.pipeline._claim import claim_file, claim_folder
from certvq.pipeline._rate import bits_per_pixel, code_counts
from certvq.pipeline._sources import load_images
from certvq.pipeline._writing import mark_output, write_pictures
from certvq.tokens import decode_tokens, encode_photographs, read_tokens, write_tokens
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


@dataclass(frozen=True)
class DecodedImages:
    """What decoding a token file left behind.

    Attributes:
        paths: the files written.
        skipped: files that could not be written, with the reasons.
    """

    paths: list[Path]
    skipped: list[Skipped]


def encode_images(
    model_dir: Path,
    images: Sequence[Path],
    out: Path,
    *,
    channels: int | None = None,
    progress: Progress = no_progress,
) -> EncodedImages:
    """Encode images to a token file; every code is audited by exact arithmetic first.

    Args:
        model_dir: the model.
        images: files and folders.
        out: the token file; an older one is replaced.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        progress: called once per image.

    Returns:
        The figures, and what was skipped.

    Raises:
        OptionError: `out` is a folder or an input, or `channels` is neither 1, 3 nor None.
        DataError: an image cannot be used; it is named.
        FileFormatError: the model is corrupt.
        NonFiniteError: the network gave NaN or infinity for an image; it is named.
        OSError: a file cannot be read or written.

    Guarantee: that of `certvq.assign` for every code.
    """
    claim_file(out, inputs=(model_dir, *images), magic=MAGIC)
    model = VQVAE.from_pretrained(model_dir)
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


def decode_file(
    model_dir: Path, tokens: Path, out: Path, *, progress: Progress = no_progress
) -> DecodedImages:
    """Decode a token file to PNG files.

    Args:
        model_dir: the model that encoded.
        tokens: the token file.
        out: the folder to make; absent or empty.
        progress: called once per image.

    Returns:
        The files written, `KEY.png` below `out`, and those whose names the file system does not
        take: too long, or that of a folder that is written too.

    Raises:
        OptionError: `out` is a file, or holds something.
        DigestMismatchError: the tokens are of another model.
        FileFormatError: the token file or the model is corrupt or truncated.
        OSError: a file cannot be read or written.

    Guarantee: `out` receives all pictures but those in `skipped`, or none.
    """
    claim_folder(out)
    model = VQVAE.from_pretrained(model_dir)
    pictures = decode_tokens(read_tokens(tokens), model, progress=progress)
    with atomic_directory(out, replace=False) as folder:
        mark_output(folder)
        refused = write_pictures(folder, {f"{key}.png": pictures[key] for key in pictures})
    paths = [out / f"{key}.png" for key in pictures if f"{key}.png" not in refused]
    return DecodedImages(paths, [Skipped(out / name, refused[name]) for name in refused])
