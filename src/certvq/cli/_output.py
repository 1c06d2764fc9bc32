"""What the commands show: progress on standard error, figures on standard output.

In: progress calls and figures. Out: bars on a terminal and plain lines elsewhere, a table or JSON.
Must not import the commands.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from certvq._files.json import dumps
from certvq.cli._errors import note

Report = Callable[[str, int, int], None]
"""A `certvq._types.Progress`: a stage, how much of it is done, and of how much."""

_PATIENCE = 2.0  # seconds until the first line
_PERIOD = 10.0  # seconds between two lines of a stage


def progress_bars() -> AbstractContextManager[Report]:
    """Give a function to report progress to.

    Returns:
        A context of a `certvq._types.Progress`. It writes to standard error: one bar for each stage
        on a terminal; elsewhere a line for each stage of over two seconds, every ten seconds and
        when it ends.
    """
    console = Console(stderr=True)
    return _bars(console) if console.is_terminal else _lines()


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as display:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = display.add_task(stage, total=total or None)
            display.update(bars[stage], completed=done, total=total or None)

        yield report


@contextmanager
def _lines() -> Iterator[Report]:
    begun: dict[str, float] = {}
    said: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        waited = now - begun.setdefault(stage, now) >= _PATIENCE
        ends = done == total and stage in said
        if ends or (waited and now - said.get(stage, now - _PERIOD) >= _PERIOD):
            said[stage] = now
            of = f"/{total}" if total else ""
            note(f"{stage} {done}{of}")

    yield report


def show_figures(title: str, figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print figures on standard output.

    Args:
        title: the line above the table.
        figures: names and values; in the table a nested mapping is written on one line, an empty
            list not at all.
        as_json: print one JSON object instead.
    """
    if as_json:
        print(dumps(figures, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    print(title)  # noqa: T201 (not as the table's title, which would break a long path)
    table = Table(show_header=False)
    for name, value in figures.items():
        if value != []:
            table.add_row(name.replace("_", " "), _text(value))
    Console(markup=False, emoji=False).print(table)  # names may look like markup


def show_violations(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what an audit found on standard output.

    Args:
        found: as `AuditResult.to_json` gives it.
        as_json: print it as it is.
    """
    if as_json:
        print(dumps(found, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    for entry in found["violations"]:
        where = f"{entry['key']}, " if "key" in entry else ""
        print(  # noqa: T201 (likewise)
            f"{where}row {entry['row']}: code {entry['code']}, nearest {entry['nearest']}, "
            f"excess {entry['excess']:.9g}"
        )
    print(f"{found['rows']} codes audited, {found['audit_violations']} violations")  # noqa: T201


def show_set_audit(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what an audit of a token data set found on standard output.

    Args:
        found: as `certvq.tokenize.SetAudit.to_json` gives it.
        as_json: print it as it is.
    """
    if as_json:
        print(dumps(found, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    for each in found["differing"]:
        codes = (
            f"{each['codes']} codes differ, the first at {each['first']}: "
            f"{each['found']} in the set, {each['made']} made again"
        )
        texts = [codes] * (each["codes"] > 0) + ["its side numbers differ"] * each["side"]
        print(f"{each['key']}: {'; '.join(texts)}")  # noqa: T201 (likewise)
    print(  # noqa: T201 (likewise)
        f"{found['rows']} inputs and {found['tokens']} codes made again, "
        f"{len(found['differing'])} inputs differ"
    )


def show_verified(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what is wrong with a data set on standard output.

    Args:
        found: as `VerifyReport.to_json` gives it.
        as_json: print it as it is.
    """
    if as_json:
        print(dumps(found, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    for entry in found["problems"]:
        print(f"{entry['part']}: {entry['text']}")  # noqa: T201 (likewise)
    for name in found["repaired"]:
        print(f"{name}: removed; run the job again to make it anew")  # noqa: T201 (likewise)
    print(  # noqa: T201 (likewise)
        f"{found['parts']} parts, {found['rows']} rows and {found['codes']} codes verified, "
        f"{len(found['problems'])} problems"
    )


def show_certified(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what became of codes that were to be certified on standard output.

    Args:
        found: as `CertifyResult.to_json` gives it.
        as_json: print it as it is.
    """
    show_violations(found, as_json=as_json)
    if as_json:
        return
    if found["repaired"]:
        print("repaired")  # noqa: T201 (standard output is for the figures)
    if found["lean"]:
        errors = found["lean_errors"]
        verdict = "refused by Lean" if errors else "accepted by Lean"
        checked = "not checked by Lean" if errors is None else verdict
        print(f"{found['lean']}: {checked}")  # noqa: T201 (likewise)
    for line in found["lean_errors"] or ():
        print(line)  # noqa: T201 (likewise)
    if "torchlean" in found:
        made = found["torchlean"]
        for line in made["refused"]:
            print(f"not proved: {line}")  # noqa: T201 (likewise)
        print(f"{made['folder']}: {made['documents']} documents for TorchLean")  # noqa: T201 (likewise)


def show_bench(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print measurements on standard output.

    Args:
        found: as `certvq.bench.bench_assign` gives it.
        as_json: print it as it is.
    """
    if as_json:
        print(dumps(found, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    columns = ("milliseconds", "ratio", "prepare_milliseconds", "peak_mib", "wrong_codes")
    heads = ("ms", "ratio", "ms to prepare", "peak MiB", "wrong codes")
    for result in found["results"]:
        ways = _text(result["decided_by"])
        confirmed = "confirms" if result["confirmed"] else "DOES NOT CONFIRM"
        print(  # noqa: T201 (likewise)
            f"{result['cell']} {result['kind']}: {ways}; the checker {confirmed} "
            f"{result['audited_rows']} rows"
        )
        rows = [
            (name, *(_cell(entry.get(column)) for column in columns))
            for name, entry in result["contenders"].items()
            if "ratio" in entry
        ]
        _print_table(("contender", *heads), rows)
        for name, entry in result["contenders"].items():
            if "ratio" not in entry:
                print(f"{name}: {entry['status']}")  # noqa: T201 (likewise)
    if found["summary"]:
        print("Time over certvq's, over the cells")  # noqa: T201 (likewise)
        names = ("kind", "contender", "cells", "geometric_mean", "minimum")
        rows = [tuple(_cell(entry[name]) for name in names) for entry in found["summary"]]
        _print_table(("kind", "contender", "cells", "geometric mean", "minimum"), rows)
    if found["levels"]:
        print("Time over certvq's, held to one instruction set")  # noqa: T201 (likewise)
        names = ("kind", "isa", "contender", "cells", "geometric_mean", "minimum")
        rows = [tuple(_cell(entry[name]) for name in names) for entry in found["levels"]]
        _print_table(("kind", "set", "contender", "cells", "geometric mean", "minimum"), rows)


def show_growth(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print how the time per row grows on standard output.

    Args:
        found: as `certvq.bench.bench_growth` gives it.
        as_json: print it as it is.
    """
    if as_json:
        print(dumps(found, indent=2))  # noqa: T201 (standard output is for the figures)
        return
    sizes, figures = (
        ("rows", "codebook_size", "dim"),
        ("nanoseconds_per_row", "seconds", "peak_mib"),
    )
    rows = [
        (
            *(_cell(point[size]) for size in sizes),
            name,
            *(_cell(entry.get(figure)) for figure in figures),
            "" if entry["status"] == "measured" else entry["status"],
        )
        for panel in found["panels"]
        for point in panel["points"]
        for name, entry in point["contenders"].items()
    ]
    _print_table(("N", "K", "D", "contender", "ns per row", "s", "peak MiB", ""), rows)


def warn_skipped(skipped: Sequence[object]) -> None:
    """Name on standard error the files that could not be used, and how many they are."""
    for entry in skipped:
        note(f"skipped {entry}")
    if skipped:
        note(f"{len(skipped)} files skipped")


def warn_missing(folder: object, names: Sequence[str]) -> None:
    """Name on standard error, in one line, what a folder lacks; nothing where it lacks nothing."""
    if names:
        note(f"warning: {folder} lacks {', '.join(names)}; the page is without it")


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table()
    for head in heads:
        table.add_column(head, overflow="fold")  # names that differ at their end stay whole
    for row in rows:
        table.add_row(*row)
    Console(markup=False, emoji=False).print(table)  # names may look like markup


def _cell(value: Any) -> str:
    return "" if value is None else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_text(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
