"""Audit a token file by exact arithmetic.

In: a token file, its model and its images. Out: every violation, with where it is. Must not take
any code from the file for granted.
"""

from collections.abc import Sequence
from pathlib import Path

import certvq
from certvq._types import Progress, no_progress
from certvq.data import Photograph, Skipped
from certvq.errors import DataError, DigestMismatchError
from certvq.jobs._photographs import load_images
from certvq.jobs.audit import AuditResult, LocatedViolation
from certvq.models import VQVAE, model_digest
from certvq.tokens import TokenRecord, encode_photographs, read_tokens


def audit_tokens(
    model_dir: Path,
    tokens: Path,
    images: Sequence[Path],
    *,
    channels: int | None = None,
    progress: Progress = no_progress,
) -> AuditResult:
    """Audit a token file against the latents that its model computes from the images.

    Args:
        model_dir: the model that encoded.
        tokens: the token file.
        images: files and folders that hold the image of every key in the token file.
        channels: as for encoding.
        progress: called once per image.

    Returns:
        Every code that is not the lowest nearest one to the latent computed here. Another
        processor, or another number of threads, may round latents otherwise than the one that
        encoded, and such a latent may have another nearest code. Image files that could not be
        used are named in `skipped`.

    Raises:
        DataError: the image of a key is missing, unusable or of another size; the key is named.
        DigestMismatchError: the tokens are of another model.
        FileFormatError: the token file or the model is corrupt.
        OSError: a file cannot be read.
    """
    model = VQVAE.from_pretrained(model_dir)
    token_file = read_tokens(tokens)
    wanted, held = token_file.header.model_sha256, model_digest(model)
    if wanted != held:
        text = (
            f"{tokens}: the tokens were made with the model {wanted[:12]}, but {model_dir} holds "
            f"{held[:12]}; audit with the model that encoded"
        )
        raise DigestMismatchError(text)
    found = load_images(images, channels=channels, progress=progress)
    photographs = {photograph.key: photograph for photograph in found.photographs}
    codebook = model.only_codebook("audit of a token file")
    rows, violations = 0, []
    for done, record in enumerate(token_file.records, start=1):
        photograph = _photograph_of(record, photographs, tokens, found.skipped)
        latents = encode_photographs(model, [photograph]).latents[record.key]
        report = certvq.audit(latents, codebook, record.codes)
        rows += report.rows
        violations += [LocatedViolation(record.key, v) for v in report.violations]
        progress("auditing", done, len(token_file.records))
    return AuditResult(rows, tuple(violations), tuple(found.skipped))


def _photograph_of(
    record: TokenRecord,
    photographs: dict[str, Photograph],
    tokens: Path,
    skipped: Sequence[Skipped],
) -> Photograph:
    photograph = photographs.get(record.key)
    if photograph is None:
        reasons = "".join(
            f"; skipped was {entry}" for entry in skipped if _may_be(entry.path, record.key)
        )
        text = (
            f"{tokens}: no image given has the key {record.key!r}{reasons}; give the images it was "
            f"made of"
        )
        raise DataError(text)
    size = (photograph.height, photograph.width)
    if size != record.size:
        text = (
            f"{tokens}: {record.key!r} was {record.size[0]} x {record.size[1]} pixels when it was "
            f"encoded, the image given is {size[0]} x {size[1]}; give the image it was made of"
        )
        raise DataError(text)
    return photograph


def _may_be(path: Path, key: str) -> bool:
    """Tell whether the image in a file would have had a key: its path's end, as a rule bare."""
    ends = (path.as_posix(), path.with_suffix("").as_posix())
    return any(f"/{end}".endswith(f"/{key}") for end in ends)
