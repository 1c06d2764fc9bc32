"""`certvq report`: the page of a run."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="As `certvq demo` leaves it.")],
) -> None:
    """Write the page of a finished run, one file that opens offline.

    Example: certvq report runs/demo

    What the folder lacks is named on standard error; the page says where it is missing.
    """
    from certvq.cli._output import progress_bars, warn_missing
    from certvq.report import missing_parts, write_report

    with progress_bars() as progress:
        page = write_report(run_dir, progress=progress)
    warn_missing(run_dir, missing_parts(run_dir))
    typer.echo(page)
