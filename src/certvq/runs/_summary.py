"""The figures of a run: `summary.json`, written, and read back field by field.

In: what the parts of the job measured, or the JSON object of a file. Out: a frozen `Summary`. Must
not compute.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from certvq._files.atomic import atomic_path
from certvq._files.json import NON_FINITE, dumps
from certvq.errors import FileFormatError
from certvq.tokens._record import RUNGS


@dataclass(frozen=True)
class ImageFigures:
    """What was measured of one held-out photograph.

    Attributes:
        key: of the photograph.
        height: in pixels.
        width: in pixels.
        tokens: how many it became.
        psnr: of the reconstruction, in dB.
        psnr_kmeans: of the k-means codec at the same rate, in dB; None if it was not computed.
    """

    key: str
    height: int
    width: int
    tokens: int
    psnr: float
    psnr_kmeans: float | None


@dataclass(frozen=True)
class RoundedRun:
    """What a run of the encoder in floating point made of the held-out photographs.

    Attributes:
        other_codes: how many of its codes are not the canonical ones.
        moved: median distance of its latents from those of float64.
    """

    other_codes: int
    moved: float


@dataclass(frozen=True)
class CanonicalFigures:
    """The held-out tokens over the real numbers.

    Attributes:
        decided_by: tokens decided by "float64", "wider" and "exact", and those left "open".
        least_margin: the least of all margins, 0 at a tie and for an open token.
        runs: rounded runs by name, such as "bfloat16".
    """

    decided_by: dict[str, int]
    least_margin: float
    runs: dict[str, RoundedRun]


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
        canonical: the tokens over the real numbers; None where that was not computed.
    """

    psnr_heldout: float
    psnr_kmeans: float | None
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
    canonical: CanonicalFigures | None = None

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


def parse_summary(fields: Mapping[str, Any], path: Path) -> Summary:
    """Check the fields of `summary.json`.

    Raises:
        FileFormatError: a field is missing or of another kind, a count is negative, or the rows
            of `decided_by` or the tokens of `images` do not add up to `codes_total`.
    """
    read = _Reader(fields, path)
    decided = _Reader(read.get("decided_by", dict), path, "decided_by.")
    summary = Summary(
        psnr_heldout=read.number("psnr_heldout"),
        psnr_kmeans=read.optional_number("psnr_kmeans"),
        bits_per_pixel=read.number("bits_per_pixel"),
        perplexity=read.number("perplexity"),
        usage=read.number("usage"),
        codes_total=read.count("codes_total"),
        decided_by={way: decided.count(way) for way in ("filter", "refined", "exact")},
        audit_violations=read.count("audit_violations"),
        roundtrip_bit_exact=read.get("roundtrip_bit_exact", bool),
        train_seconds=read.number("train_seconds"),
        total_seconds=read.number("total_seconds"),
        codebook_size=read.count("codebook_size"),
        codebook_sha256=read.get("codebook_sha256", str),
        certvq_version=read.get("certvq_version", str),
        seed=read.get("seed", int),
        images=tuple(
            _figures(_Reader(image, path, f"images[{index}]."))
            for index, image in enumerate(read.get("images", list))
        ),
        canonical=_canonical(fields.get("canonical"), path),
    )
    _add_up(summary, path)
    return summary


def _canonical(fields: Any, path: Path) -> CanonicalFigures | None:
    """Read what summaries of earlier versions do not have."""
    if fields is None:
        return None
    read = _Reader(fields, path, "canonical.")
    decided = _Reader(read.get("decided_by", dict), path, "canonical.decided_by.")
    runs = {
        name: _Reader(each, path, f"canonical.runs.{name}.")
        for name, each in read.get("runs", dict).items()
    }
    return CanonicalFigures(
        {way: decided.count(way) for way in (*RUNGS, "open")},
        read.number("least_margin"),
        {name: RoundedRun(e.count("other_codes"), e.number("moved")) for name, e in runs.items()},
    )


def _figures(read: "_Reader") -> ImageFigures:
    return ImageFigures(
        key=read.get("key", str),
        height=read.count("height"),
        width=read.count("width"),
        tokens=read.count("tokens"),
        psnr=read.number("psnr"),
        psnr_kmeans=read.optional_number("psnr_kmeans"),
    )


def _add_up(summary: Summary, path: Path) -> None:
    decided = sum(summary.decided_by.values())
    tokens = sum(image.tokens for image in summary.images)
    sums = [("rows of decided_by", decided), ("tokens of images", tokens)]
    if summary.canonical is not None:
        sums.append(("canonical tokens", sum(summary.canonical.decided_by.values())))
    for name, total in sums:
        if total != summary.codes_total:
            raise FileFormatError(
                f"{path}: the {name} add up to {total}, but codes_total is "
                f"{summary.codes_total}; write the run again"
            )


class _Reader:
    """Fields of one JSON object, each taken out with its kind checked."""

    def __init__(self, fields: Any, path: Path, prefix: str = "") -> None:
        self._path, self._prefix = path, prefix
        if not isinstance(fields, Mapping):
            raise self._wrong("", _NAMES[dict], fields)
        self._fields = fields

    def get(self, name: str, kind: type | tuple[type, ...]) -> Any:
        if name not in self._fields:
            raise FileFormatError(
                f"{self._path}: required the field {self._prefix + name!r}, which is missing; "
                "write the run again"
            )
        value = self._fields[name]
        # a bool is an int to Python, and is no number to the reader of a page
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(name, _NAMES[kind], value)
        return value

    def count(self, name: str) -> int:
        value = self.get(name, int)
        if value < 0:
            raise self._wrong(name, "at least 0", value)
        return value

    def number(self, name: str) -> float:
        given = self._fields.get(name)
        written = NON_FINITE.get(given) if isinstance(given, str) else None
        value = self.get(name, (int, float)) if written is None else written
        if math.isnan(value):  # infinity may stand: it is the PSNR of equal pictures
            raise self._wrong(name, "a number", "NaN")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        return None if self._fields.get(name) is None else self.number(name)

    def _wrong(self, name: str, required: str, value: Any) -> FileFormatError:
        field = (self._prefix + name).rstrip(".")
        return FileFormatError(
            f"{self._path}: {field!r} must be {required}, got {value!r:.60}; write the run again"
        )


_NAMES: dict[type | tuple[type, ...], str] = {
    bool: "true or false",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "a text",
    (int, float): "a number",
}
