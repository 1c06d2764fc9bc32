"""The figures of the main job.

In: what the parts of the job measured. Out: `Summary`, and `summary.json`. Must not compute.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from certvq._files.atomic import atomic_path
from certvq._files.json import dumps


@dataclass(frozen=True)
class ImageFigures:
    """What was measured of one held-out photograph.

    Attributes:
        key: of the photograph.
        height: in pixels.
        width: in pixels.
        tokens: how many it became.
        psnr: of the reconstruction, in dB.
        psnr_kmeans: of the k-means codec at the same rate, in dB.
    """

    key: str
    height: int
    width: int
    tokens: int
    psnr: float
    psnr_kmeans: float


@dataclass(frozen=True)
class Summary:
    """What the main job found out about the held-out photographs.

    Attributes:
        psnr_heldout: of the reconstructions of all photographs together, in dB.
        psnr_kmeans: the same of k-means on pixel patches at the same rate.
        bits_per_pixel: ``codes_total log2(K)`` over the number of pixels.
        perplexity: exp of the entropy of the histogram of all codes.
        usage: share of the K codes that occur.
        codes_total: how many codes were written and audited.
        decided_by: rows decided by "filter", "refined" and "exact".
        audit_violations: codes that exact arithmetic found not to be the lowest nearest ones.
        roundtrip_bit_exact: whether decoding the token file, with the model read from disk, gave
            the very pixels that encoding reported.
        train_seconds: wall-clock time of training, resumed parts counted in.
        total_seconds: the same with everything after it.
        codebook_size: K.
        codebook_sha256: of the codebook, as in the token file.
        certvq_version: that wrote this.
        seed: of the run.
        images: one entry per photograph.
    """

    psnr_heldout: float
    psnr_kmeans: float
    bits_per_pixel: float
    perplexity: float
    usage: float
    codes_total: int
    decided_by: dict[str, int]
    audit_violations: int
    roundtrip_bit_exact: bool
    train_seconds: float
    total_seconds: float
    codebook_size: int
    codebook_sha256: str
    certvq_version: str
    seed: int
    images: tuple[ImageFigures, ...]

    @property
    def ok(self) -> bool:
        """Whether every code is certified right and the round trip is exact."""
        return self.audit_violations == 0 and self.roundtrip_bit_exact

    def to_json(self) -> dict[str, Any]:
        """Describe the figures in JSON's own types."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write `summary.json`.

        Args:
            path: the file; replaced when the new one is complete.

        Raises:
            OSError: it cannot be written.
        """
        with atomic_path(path) as partial:
            partial.write_text(dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
