"""Photographs to certified tokens, with everything that is known about them.

In: a model and photographs. Out: `Encoded`: codes, reconstructions, latents, proved radii and the
audit. Must not write files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from certvq._types import (
    Float,
    Float64,
    Float64Array,
    Progress,
    UInt8,
    UInt8Array,
    no_progress,
)
from certvq._version import __version__
from certvq.assign import (
    Assignment,
    AuditReport,
    Prepared,
    assign,
    audit,
    prepare,
    stability_radius,
)
from certvq.data import Photograph, require_usable
from certvq.errors import NonFiniteError
from certvq.models import VQVAE, codebook_digest, model_digest
from certvq.tokens._network import inference, photograph_latents, photograph_pixels
from certvq.tokens._record import WAYS, TokenFile, TokenHeader, TokenRecord


@dataclass(frozen=True, eq=False)
class EncodedPhotograph:
    """One photograph's codes and what is known about them.

    Args:
        record: key, grid, size and codes.
        reconstruction: uint8 (H, W, C), what the codes decode to.
        latents: float32, of a model of float64 float64, (rows * columns, D), what the codes are
            the nearest ones to.
        sqdist: float64 (rows, columns), squared distance of each latent to its code vector.
        radii: float64 (rows, columns), `certvq.stability_radius` of each latent.
    """

    record: TokenRecord
    reconstruction: UInt8[UInt8Array, "H W C"]
    latents: Float[np.ndarray, "N D"]
    sqdist: Float64[Float64Array, "rows columns"]
    radii: Float64[Float64Array, "rows columns"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Photographs as certified tokens.

    Args:
        header: of the token file.
        photographs: in the order given.
        audit: of all codes together by exact arithmetic; rows are numbered through, photograph
            after photograph.
    """

    header: TokenHeader
    photographs: tuple[EncodedPhotograph, ...]
    audit: AuditReport

    @property
    def records(self) -> tuple[TokenRecord, ...]:
        """What `write_tokens` takes beside the header."""
        return tuple(photograph.record for photograph in self.photographs)

    @property
    def token_file(self) -> TokenFile:
        """What `read_tokens` will return once the tokens are written, without the path."""
        return TokenFile(self.header, self.records)

    @property
    def reconstructions(self) -> dict[str, UInt8Array]:
        """By key, uint8 (H, W, C)."""
        return {one.record.key: one.reconstruction for one in self.photographs}

    @property
    def latents(self) -> dict[str, np.ndarray]:
        """By key, float32 (rows * columns, D)."""
        return {one.record.key: one.latents for one in self.photographs}

    @property
    def radii(self) -> dict[str, Float64Array]:
        """By key, float64 (rows, columns)."""
        return {one.record.key: one.radii for one in self.photographs}

    @property
    def mean_sqdist(self) -> float:
        """Mean squared distance of a latent to its code vector, over all codes."""
        return float(np.mean(np.concatenate([one.sqdist.ravel() for one in self.photographs])))


def encode_photographs(
    model: VQVAE, photographs: Sequence[Photograph], *, progress: Progress = no_progress
) -> Encoded:
    """Encode photographs, audit every code, and reconstruct.

    Args:
        model: on any device, in any mode; put back into its mode afterwards.
        photographs: of any sizes from the model's stride up, of the model's channels.
        progress: called after each photograph.

    Returns:
        Codes and all that is known about them. `audit` has no violation unless certvq itself is
        wrong; it is for the caller to look.

    Raises:
        OptionError: the model's quantizer is not ``"vq"``; `certvq.tokenize` takes the others.
        DataError: no photograph, a key twice, other channels than the model's, or a photograph
            smaller than the stride; it is named.
        NonFiniteError: the encoder or decoder gave NaN or infinity; the photograph is named.

    Guarantee: each code is the lowest nearest one to the latent returned with it, over the real
    numbers (`certvq.assign`), and each photograph is encoded by itself, so that its codes do
    not depend on the others. `decode_tokens` of the written codes gives the very bytes of
    `reconstructions`, on the same machine with as many threads.
    Cost: for N tokens, K codes, D dimensions: O(N K D) time for codes, audit and radii each.
    """
    require_usable(photographs, stride=model.config.downsampling, channels=model.config.channels)
    codebook = prepare(model.only_codebook("encode_photographs"))
    encoded: list[EncodedPhotograph] = []
    decided: dict[str, int] = dict.fromkeys(WAYS, 0)
    report = audit(np.empty((0, codebook.dim)), codebook, [])
    with inference(model):
        for photograph in photographs:
            one, assignment, found = _encode(model, codebook, photograph)
            encoded.append(one)
            report = _join(report, found)
            for way, count in assignment.counts().items():
                decided[way] += count
            progress("encoding", len(encoded), len(photographs))
    header = TokenHeader(
        codebook_size=codebook.codebook_size,
        codebook_sha256=codebook_digest(codebook.source),
        model_sha256=model_digest(model),
        decided_by=decided,
        certvq_version=__version__,
        channels=model.config.channels,
    )
    return Encoded(header, tuple(encoded), report)


def _encode(
    model: VQVAE, codebook: Prepared, photograph: Photograph
) -> tuple[EncodedPhotograph, Assignment, AuditReport]:
    grid = photograph_latents(model, photograph.pixels)
    rows, columns, dim = grid.shape
    latents = grid.reshape(-1, dim)
    try:
        assignment = assign(latents, codebook)
    except NonFiniteError as error:
        raise NonFiniteError(f"photograph {photograph.key!r}: {error}") from error
    codes = assignment.codes.cpu().numpy()
    size = (photograph.height, photograph.width)
    cells = codes.reshape(rows, columns)
    one = EncodedPhotograph(
        record=TokenRecord(photograph.key, (rows, columns), size, codes),
        reconstruction=photograph_pixels(model, cells, size=size, key=photograph.key),
        latents=_of_numpy(latents).cpu().numpy(),
        sqdist=assignment.sqdist.cpu().numpy().reshape(rows, columns),
        radii=stability_radius(latents, codebook, codes).cpu().numpy().reshape(rows, columns),
    )
    return one, assignment, audit(latents, codebook, codes)


def _of_numpy(latents: torch.Tensor) -> torch.Tensor:
    """Widen the types that NumPy does not know; no number changes."""
    return latents if latents.dtype == torch.float64 else latents.float()


def _join(before: AuditReport, after: AuditReport) -> AuditReport:
    both = before.violations.shifted(before.rows, after.violations)
    return AuditReport(before.rows + after.rows, both)
