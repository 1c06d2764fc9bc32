"""The command line: `certvq COMMAND`, such as `certvq demo` or `certvq certify`.

In: arguments. Out: files, figures on standard output, progress on standard error, an exit status:
0 (done), 1 (a check failed), 2 (anything else), 130 (interrupted). One file per subcommand,
without logic: the work is done in `certvq.jobs`. Importing this loads nothing heavy.
"""

import io
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path


def main() -> int:
    """Run the command line; the console entry point.

    Returns:
        The exit status 2, where typer or rich is not installed, or the working directory is gone.

    Raises:
        SystemExit: with the exit status, when the command has run.
    """
    missing = [name for name in ("typer", "rich") if not _can_import(name)]
    if missing:
        return _refuse(f"the command line needs {missing[0]}: pip install 'certvq[cli]'")
    try:
        Path.cwd()
    except FileNotFoundError:  # torch's libraries end the process there
        return _refuse("the working directory was deleted; change to another one")
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is escaped
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # a file that became a pipe has no place to ask for
                stream.reconfigure(errors="backslashreplace")
    from certvq.cli._app import app

    return app(prog_name="certvq")


def _refuse(reason: str) -> int:
    print(f"certvq: error: {reason}", file=sys.stderr)  # noqa: T201 (there is nothing else)
    return 2


def _can_import(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True
