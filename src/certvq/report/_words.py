"""Numbers and verdicts in the words of the page.

In: figures of a `Summary`. Out: text. Must not know the template, pictures or charts.
"""

import math
from dataclasses import dataclass

from certvq.runs._summary import Summary

NARROW = "\u202f"
"""A narrow space at which no line breaks: it stands between a number and its unit."""


@dataclass(frozen=True)
class Figure:
    """One of the figures at the top of the page; `bad` shows it as a failed check."""

    name: str
    value: str
    note: str
    bad: bool = False


@dataclass(frozen=True)
class Fault:
    """A check that failed: what, and what it means."""

    title: str
    text: str


@dataclass(frozen=True)
class DecidedRow:
    """How many codes were decided in one way, and what that way is."""

    name: str
    rows: int
    share: str
    meaning: str


def count(number: int) -> str:
    """Write a whole number with separators.

    Example:
        >>> count(16384)
        '16,384'
    """
    return f"{number:,}"


def decimals(number: float, places: int) -> str:
    """Write a number with so many decimals, infinity as its sign.

    Example:
        >>> decimals(25.467, 1)
        '25.5'
    """
    return f"{number:.{places}f}" if math.isfinite(number) else "∞"


def decibels(psnr: float | None) -> str:
    """Write a PSNR without its unit, a dash where there is none.

    Example:
        >>> decibels(25.467), decibels(None)
        ('25.47', '–')
    """
    return "–" if psnr is None else decimals(psnr, 2)


def gain(psnr: float, rival: float | None) -> str:
    """Write by how much one PSNR exceeds another, with its sign and without its unit.

    Example:
        >>> gain(25.5, 23.9), gain(23.0, 23.9), gain(23.0, None)
        ('+1.60', '−0.90', '–')
    """
    if rival is None:
        return "–"
    difference = 0.0 if psnr == rival else psnr - rival  # both may be infinite
    return f"{difference:+.2f}".replace("-", "−").replace("inf", "∞")


def percent(share: float) -> str:
    """Write a share in percent; only a true 0 or 1 is written as 0 % or 100 %.

    Example:
        >>> [percent(share).replace(NARROW, " ") for share in (0.9871, 0.99999, 1.0, 0.0002)]
        ['98.7 %', '> 99.9 %', '100 %', '< 0.1 %']
    """
    if share in (0, 1):
        text = f"{100 * share:.0f}"
    elif 0.001 <= share <= 0.999:
        text = f"{100 * share:.1f}"
    else:
        text = "< 0.1" if share < 0.5 else "> 99.9"
    return f"{text} %".replace(" ", NARROW)


def duration(seconds: float) -> str:
    """Write a time in minutes and seconds.

    Example:
        >>> duration(8.4), duration(187.2).replace(NARROW, " ")
        ('8\u202fs', '3 min 7 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{NARROW}min {rest}{NARROW}s" if minutes else f"{rest}{NARROW}s"


def violations(number: int) -> str:
    """Write how many violations an audit found.

    Example:
        >>> violations(0), violations(1)
        ('0 violations', '1 violation')
    """
    return f"{number:,} violation{'' if number == 1 else 's'}"


def faults(summary: Summary) -> tuple[Fault, ...]:
    """List the checks that the run failed; empty for a run as it should be."""
    found: list[Fault] = []
    if summary.audit_violations:
        found.append(
            Fault(
                f"The audit found {violations(summary.audit_violations)}.",
                f"Of {count(summary.codes_total)} codes, that many do not name the nearest code "
                "vector of lowest index. The codes of this run are not certified.",
            )
        )
    if not summary.roundtrip_bit_exact:
        found.append(
            Fault(
                "The round trip is not exact.",
                "Decoding tokens.parquet does not give the reconstruction that encoding reported.",
            )
        )
    return tuple(found)


def figures(summary: Summary, channels: int) -> tuple[Figure, ...]:
    """Choose the figures for the top of the page."""
    photos = len(summary.images)
    rival = "no classical codec was run"
    pooled = "all pixels together, the PSNR of the pooled squared error"
    if summary.psnr_kmeans is not None:
        rival = (
            f"{gain(summary.psnr_heldout, summary.psnr_kmeans)}{NARROW}dB against a k-means codec "
            f"of the same bits per pixel ({decimals(summary.psnr_kmeans, 1)}{NARROW}dB)"
        )
    exact = summary.roundtrip_bit_exact
    return (
        Figure(
            "PSNR, held-out photographs",
            f"{decimals(summary.psnr_heldout, 1)}{NARROW}dB",
            f"{pooled}; {rival}",
        ),
        Figure(
            "Bits per pixel", decimals(summary.bits_per_pixel, 3), f"the originals: {8 * channels}"
        ),
        Figure(
            "Tokens",
            count(summary.codes_total),
            f"in {photos} held-out photograph{'' if photos == 1 else 's'}",
        ),
        Figure(
            "Violations",
            count(summary.audit_violations),
            "in an exact audit of every code",
            bad=summary.audit_violations > 0,
        ),
        Figure(
            "Round trip",
            "bit-exact" if exact else "not exact",
            f"decoding the token file {'gives' if exact else 'does not give'} the very "
            "reconstruction",
            bad=not exact,
        ),
        Figure(
            "Perplexity",
            decimals(summary.perplexity, 0),
            f"{count(summary.codebook_size)} if all codes were equally frequent",
        ),
        Figure("Usage", percent(summary.usage), "of the code vectors are chosen at least once"),
        Figure(
            "Training",
            duration(summary.train_seconds),
            f"{duration(summary.total_seconds)} with everything after it",
        ),
    )


def decided_rows(summary: Summary) -> tuple[DecidedRow, ...]:
    """Say for each way of deciding how many codes took it."""
    ways = (
        (
            "FILTER",
            summary.decided_by["filter"],
            "Its score leads every other by more than twice the proved radius of their errors.",
        ),
        (
            "REFINED",
            summary.decided_by["refined"],
            "Too close for the filter; decided by wider arithmetic with a proved error bound.",
        ),
        (
            "EXACT",
            summary.decided_by["exact"],
            (
                "Tied, or too close for that as well; decided by exact integer arithmetic, or by "
                "code vectors being equal bit for bit."
            ),
        ),
    )
    total = max(1, summary.codes_total)
    return tuple(DecidedRow(name, rows, percent(rows / total), text) for name, rows, text in ways)
