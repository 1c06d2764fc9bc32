"""The tree of commands.

In: arguments. Out: one command run. The commands' modules import what is heavy only when they run.
"""

from typing import Annotated

import typer

from certvq._version import __version__
from certvq.cli._assign import assign
from certvq.cli._audit import audit
from certvq.cli._bench import bench
from certvq.cli._certify import certify
from certvq.cli._decode import decode
from certvq.cli._demo import demo
from certvq.cli._encode import encode
from certvq.cli._errors import ErrorGroup
from certvq.cli._export import export
from certvq.cli._info import info
from certvq.cli._kmeans import kmeans
from certvq.cli._prove import prove
from certvq.cli._report import report
from certvq.cli._stats import stats
from certvq.cli._tokenize import tokenize
from certvq.cli._train import train
from certvq.cli._verify import verify

app = typer.Typer(
    cls=ErrorGroup,
    help="Vector quantization whose codes are provably the nearest ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    *(demo, train, encode, tokenize, decode, audit, verify, stats, export),
    *(kmeans, assign, certify, prove, report, info),
):
    app.command(name=command.__name__)(command)
app.add_typer(bench, name="bench")


def _version(value: bool) -> None:  # noqa: FBT001 (Typer passes the option)
    if value:
        typer.echo(f"certvq {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    del version  # its callback has seen it
