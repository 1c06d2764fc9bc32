"""Measurements as Markdown, and the block of a page that is written by machine.

In: a record of `bench_assign`. Out: tables as text, or a page with them between two marks, in a
section for each processor. Must not measure.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from certvq._files.atomic import atomic_path
from certvq._files.damage import naming_damage
from certvq.bench._contenders import CERTVQ
from certvq.errors import FileFormatError

BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"


def tables(record: Mapping[str, Any]) -> str:
    """Write a record as Markdown: for each kind cells x contenders, then the summary.

    Args:
        record: as `certvq.bench.bench_assign` returns it.

    Returns:
        Text that ends in a newline.
    """
    kinds = dict.fromkeys(result["kind"] for result in record["results"])
    parts = [_origin(record), *(_of_kind(kind, record["results"]) for kind in kinds)]
    if record["summary"]:
        parts.append(_summary(record["summary"]))
    if record["levels"]:
        parts.append(_levels(record["levels"]))
    parts += [f"`{name}`: {note}." for name, note in record["notes"].items()]
    return "\n\n".join(parts) + "\n"


def require_block(page: Path) -> None:
    """Check that a page has one block for `update_block`.

    Raises:
        FileFormatError: the marks are missing, more than one each, or in the wrong order.
        OSError: the page cannot be read.
    """
    _split(page)


def update_block(page: Path, text: str, *, section: str = "") -> None:
    """Replace what stands between the marks of a page, or one section of it.

    Args:
        page: has the marks.
        text: without headings.
        section: heading of what is replaced; other sections stay, and a new one comes last. Empty
            replaces all.

    Raises:
        FileFormatError: as of `require_block`; the page is left as it was.
        OSError: the page cannot be read or written.
    """
    before, block, after = _split(page)
    parts = [text.strip()]
    if section:
        own = f"### {section}\n\n{text.strip()}"
        sections = [part.strip() for part in re.split(r"^(?=### )", block, flags=re.MULTILINE)]
        parts = [part for part in sections if part.startswith("### ")]
        same = [part.startswith(f"### {section}\n") for part in parts]
        parts = [own if mine else part for part, mine in zip(parts, same, strict=True)]
        parts += [] if any(same) else [own]
    inner = "\n\n".join(parts)
    with atomic_path(page) as path:
        path.write_text(f"{before}{BEGIN}\n\n{inner}\n\n{END}{after}", encoding="utf-8")


def _split(page: Path) -> tuple[str, str, str]:
    with naming_damage(page, "is no text in UTF-8", advice="name a page of Markdown"):
        text = page.read_text(encoding="utf-8")
    counts = (text.count(BEGIN), text.count(END))
    if counts != (1, 1) or text.index(END) < text.index(BEGIN):
        raise FileFormatError(
            f"{page}: must have {BEGIN} once and {END} once after it; got {counts[0]} and "
            f"{counts[1]}"
        )
    before, _, rest = text.partition(BEGIN)
    block, _, after = rest.partition(END)
    return before, block, after


def _origin(record: Mapping[str, Any]) -> str:
    """Say when, where and with what it was measured, and that the answers were checked."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    results = record["results"]
    rejected = [f"{one['cell']} {one['kind']}" for one in results if not one["confirmed"]]
    rows = sum(one["audited_rows"] for one in results)
    verdict = (
        f"**The independent checker does not confirm certvq's codes in {', '.join(rejected)}.**"
        if rejected
        else f"The independent checker confirmed {rows:,} of certvq's codes."
    )
    return (
        f"Measured {record['date'][:10]} on {record['cpu']} ({record['architecture']}), "
        f"{record['threads']} threads, backend {record['backend']}, medians of {record['rounds']} "
        f"rounds; Python {record['python']}, {versions}. {verdict}"
    )


def _of_kind(kind: str, results: Sequence[Mapping[str, Any]]) -> str:
    chosen = [result for result in results if result["kind"] == kind]
    names = list(dict.fromkeys(name for one in chosen for name in one["contenders"]))
    rows = [
        (
            " x ".join(str(result[part]) for part in ("rows", "codebook_size", "dim")),
            *(_entry(name, result["contenders"].get(name, {})) for name in names),
        )
        for result in chosen
    ]
    title = (
        f"Numbers of the kind `{kind}`: milliseconds, in brackets how many times as long as "
        "certvq, and the wrong codes where there were any."
    )
    return f"{title}\n\n{_table(('N x K x D', *names), rows)}"


def _entry(name: str, entry: Mapping[str, Any]) -> str:
    if "ratio" not in entry:
        return entry.get("status", "")
    ratio = "" if name == CERTVQ else f" ({entry['ratio']:.2f})"
    wrong = f", {entry['wrong_codes']:,} wrong" if entry["wrong_codes"] else ""
    return f"{_plain(entry['milliseconds'])}{ratio}{wrong}"


def _summary(summary: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"`{one['kind']}`",
            one["contender"],
            str(one["cells"]),
            f"{one['geometric_mean']:.2f}",
            f"{one['minimum']:.2f}",
        )
        for one in summary
    ]
    heads = ("numbers", "contender", "cells", "geometric mean", "minimum")
    return f"Time over certvq's, over the cells:\n\n{_table(heads, rows)}"


def _levels(levels: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"`{one['kind']}`",
            one["isa"],
            one["contender"],
            f"{one['geometric_mean']:.2f}",
            f"{one['minimum']:.2f}",
        )
        for one in levels
    ]
    heads = ("numbers", "certvq held to", "contender", "geometric mean", "minimum")
    return f"Time over that of certvq, held to one instruction set:\n\n{_table(heads, rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_safe(cell) for cell in line) + " |" for line in lines)


def _safe(cell: str) -> str:
    return cell.replace("|", "\\|")


def _plain(milliseconds: float) -> str:
    """Write three significant digits, never an exponent."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
