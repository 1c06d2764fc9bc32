"""`certvq prove`: have the theorems checked."""

from typing import Annotated, Any

import typer

from certvq._files.json import dumps
from certvq.cli._options import Json


def prove(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Theorems; all without a name.")
    ] = None,
    *,
    solver: Annotated[
        str, typer.Option(metavar="LIST", help="Of z3, cvc5 and lean, with commas between.")
    ] = "z3,cvc5",
    mutants: Annotated[
        bool,
        typer.Option("--mutants", help="Refute the false statements near each theorem instead."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Have the theorems that certvq relies on checked, by each solver on its own.

    Example: certvq prove isNearestCode_iff_score --solver z3,cvc5

    Lean checks all theorems at once, which takes minutes: it runs only where it is asked for.

    Exit status 1: a theorem is open, or a mutant is alive.
    """
    checkers = tuple(part.strip() for part in solver.split(",") if part.strip())
    work = _mutants if mutants else _theorems
    raise typer.Exit(work(tuple(names or ()), checkers, as_json=as_json))


def _theorems(names: tuple[str, ...], checkers: tuple[str, ...], *, as_json: bool) -> int:
    from certvq.cli._output import progress_bars
    from certvq.theory import prove, theorem_names

    count, records = len(theorem_names(names)), []
    with progress_bars() as progress:
        for record in prove(names, checkers=checkers):
            records.append(record)
            progress("theorems", len(records), count)
    open_ones = [record for record in records if not record.proved]
    if as_json:
        _print(dumps([record.to_json() for record in records], indent=2))
    else:
        _table([record.to_json() for record in records])
        for record in open_ones:
            _print(f"open: {record.reason}")
        seconds = sum(record.seconds for record in records)
        proved = count - len(open_ones)
        _print(f"{proved} / {count} theorems proved by {', '.join(checkers)} in {seconds:.1f} s")
    return 1 if open_ones else 0


def _mutants(names: tuple[str, ...], checkers: tuple[str, ...], *, as_json: bool) -> int:
    from certvq.cli._output import progress_bars
    from certvq.theory import LEDGER, check_mutants, theorem_names

    chosen = theorem_names(names)
    total, verdicts = sum(len(LEDGER[name].mutants) for name in chosen), []
    with progress_bars() as progress:
        for verdict in check_mutants(chosen, checkers):
            verdicts.append(verdict)
            progress("mutants", len(verdicts), total)
    killed = sum(verdict.killed for verdict in verdicts)
    if as_json:
        _print(dumps([verdict.to_json() for verdict in verdicts], indent=2))
    else:
        for verdict in verdicts:
            if not verdict.killed:
                _print(f"alive: {verdict.theorem}, {verdict.mutant}: {verdict.reason}")
        _print(f"{killed} / {total} mutants killed")
    return 0 if killed == total else 1


def _table(records: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = ("z3", "cvc5", "lean")
    table = Table("theorem and meaning", *names, "seconds")
    for record in records:
        what = Text.assemble((record["name"], "bold"), "\n", (record["meaning"], "dim"))
        checkers = (record["checkers"][name] for name in names)
        table.add_row(what, *checkers, f"{record['seconds']:.2f}")
    Console().print(table)


def _print(line: str) -> None:
    print(line)  # noqa: T201 (standard output is for the figures)
