"""`certvq report`: the page of a run."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="As `certvq demo` leaves it.")],
) -> None:
    """Write the page of a finished run, one file that opens offline.

    Example: certvq report runs/demo
    """
    from certvq.cli._output import progress_bars
    from certvq.report import write_report

    with progress_bars() as progress:
        page = write_report(run_dir, progress=progress)
    typer.echo(page)
