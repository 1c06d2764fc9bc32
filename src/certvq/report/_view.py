"""What the template shows of each part of a run, ready to be written down.

In: parts of a `Run`. Out: frozen values of text and pictures. Must not know where they stand on
the page.
"""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from certvq._types import Int64Array, UInt8Array
from certvq._version import __version__
from certvq.report._charts import Chart, code_histogram
from certvq.report._colours import radius_gradient, scale_place
from certvq.report._pictures import Picture, photograph, stability_map, token_map
from certvq.report._stability import Stability, near_border
from certvq.report._words import NARROW, decibels, percent
from certvq.runs._read import Photo, Run

_MOST_MISSING = 12


@dataclass(frozen=True)
class Shown:
    """A picture, its name, the text for those who do not see it, and the line below it."""

    label: str
    alt: str
    caption: str
    picture: Picture


@dataclass(frozen=True)
class PhotoView:
    """One held-out photograph: its pictures and maps, figures, and what is lacking."""

    key: str
    height: int
    width: int
    tokens: int
    psnr: float
    psnr_kmeans: float | None
    pictures: tuple[Shown, ...]
    lacking: tuple[str, ...]
    token_map: Shown
    stability_map: Shown | None


@dataclass(frozen=True)
class StabilityView:
    """The stability of all tokens in words; `ticks` is empty where no map can be drawn."""

    reference: str
    within: tuple[str, str]
    median: str
    ticks: tuple[tuple[str, str], ...]
    gradient: str


@dataclass(frozen=True)
class HistogramView:
    """How many codes occur, how many do not, and the histogram."""

    used: int
    dead: int
    chart: Chart


def photo_view(photo: Photo, colours: UInt8Array, radii: Stability | None) -> PhotoView:
    """Prepare one photograph for the page.

    Raises:
        FileFormatError: one of its pictures is corrupt or of another size; the text names it.
    """
    figures = photo.figures
    files = (
        ("Original", photo.original, "Original"),
        (
            "Reconstruction",
            photo.reconstruction,
            f"From the codes: {decibels(figures.psnr)}{NARROW}dB",
        ),
        (
            "k-means codec",
            photo.kmeans,
            f"k-means codec: {decibels(figures.psnr_kmeans)}{NARROW}dB",
        ),
    )
    size = (figures.height, figures.width)
    return PhotoView(
        key=figures.key,
        height=figures.height,
        width=figures.width,
        tokens=figures.tokens,
        psnr=figures.psnr,
        psnr_kmeans=figures.psnr_kmeans,
        pictures=tuple(
            Shown(label, f"{label} of {figures.key}", caption, photograph(path, size))
            for label, path, caption in files
            if path is not None
        ),
        lacking=tuple(label.lower() for label, path, _ in files if path is None),
        token_map=_token_map(photo, colours),
        stability_map=_stability_map(photo, radii),
    )


def _token_map(photo: Photo, colours: UInt8Array) -> Shown:
    key, (rows, columns) = photo.figures.key, photo.codes.shape
    return Shown(
        label="Token map",
        alt=f"Token map of {key}: one square for each token, coloured by its code",
        caption=f"{key}: {rows} × {columns} tokens",
        picture=token_map(photo.codes, colours),
    )


def _stability_map(photo: Photo, radii: Stability | None) -> Shown | None:
    if photo.radius is None or radii is None or not radii.top:
        return None
    key, (near, nearish) = photo.figures.key, near_border(photo.radius, radii.unit)
    return Shown(
        label="Stability map",
        alt=f"Stability map of {key}: light squares are tokens close to the border of their cell",
        caption=(
            f"{key}: {percent(near)} of the tokens below 1{NARROW}%, {percent(nearish)} below "
            f"5{NARROW}%"
        ),
        picture=stability_map(photo.radius, radii.top * radii.unit),
    )


def stability_view(radii: Stability) -> StabilityView:
    """Put the stability of all tokens into words."""
    return StabilityView(
        reference=radii.reference,
        within=_percents(radii.shares),
        median=f"{100 * radii.median:.1f}{NARROW}%"
        if math.isfinite(radii.median)
        else "without bound",
        ticks=_ticks(radii.top) if radii.top else (),
        gradient=radius_gradient(),
    )


def histogram_view(counts: Int64Array, colours: UInt8Array) -> HistogramView:
    """Prepare the histogram of the codes; `counts` is (codebook_size,)."""
    used = int((counts > 0).sum())
    return HistogramView(used, len(counts) - used, code_histogram(counts, colours))


def digests(run: Run) -> tuple[tuple[str, str], ...]:
    """List the digests that tie the codes to model and codebook."""
    return (
        ("Codebook, SHA-256", run.summary.codebook_sha256),
        ("Model, SHA-256", run.header.model_sha256),
        ("tokens.parquet, SHA-256 of the file", run.tokens_sha256),
    )


def versions(run: Run) -> tuple[tuple[str, str], ...]:
    """List the versions that wrote the run and this page."""
    return (
        ("certvq that wrote the summary", run.summary.certvq_version),
        ("certvq that wrote the tokens", run.header.certvq_version),
        ("certvq that wrote the model", str(run.model.get("certvq_version", "not stated"))),
        ("certvq that wrote this page", __version__),
        ("Python, for this page", platform.python_version()),
        *((f"{name}, for this page", version(name)) for name in ("numpy", "pyarrow", "plotly")),
    )


def rows(values: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Flatten a JSON object into pairs of a dotted name and a text.

    Example:
        >>> rows({"seed": 1, "model": {"dim": 32, "update": "ema"}})
        (('seed', '1'), ('model.dim', '32'), ('model.update', 'ema'))
    """
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs.extend(rows(value, f"{prefix}{name}."))
        else:
            pairs.append((prefix + name, "none" if value is None else str(value)))
    return tuple(pairs)


def shortened(names: tuple[str, ...]) -> tuple[str, ...]:
    """Name the first dozen and count the others."""
    more = len(names) - _MOST_MISSING
    return names if more <= 0 else (*names[:_MOST_MISSING], f"and {more} more")


def _ticks(top: float) -> tuple[tuple[str, str], ...]:
    """Label the scale of the maps: places in percent of its length, and texts."""
    inner = [radius for radius in (0.01, 0.05) if 0.08 < scale_place(np.array(radius), top) < 0.8]
    places = [(f"{100 * scale_place(np.array(radius), top):.1f}", radius) for radius in inner]
    ticks = [(place, f"{100 * radius:.0f}{NARROW}%") for place, radius in places]
    end = f"{100 * top:,.0f}" if top >= 0.1 else f"{100 * top:.2g}"
    return (("0", "0"), *ticks, ("100", f"≥{NARROW}{end}{NARROW}%"))


def _percents(shares: tuple[float, float]) -> tuple[str, str]:
    return percent(shares[0]), percent(shares[1])
