"""Turn what a command raised into one line and an exit status; the one place that does so.

In: what a command raised. Out: a line on standard error and status 2, or 130 after Ctrl-C and 141
where nobody reads the output. Status 1 is not given here: it means that a check failed. A defect of
certvq is a line as well; its traceback is shown where `CERTVQ_TRACEBACK` is set. Must not import
the commands.
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from typer import Abort, Exit
from typer.core import TyperGroup

from certvq.errors import CertVQError, shortened

TRACEBACK: Final = "CERTVQ_TRACEBACK"
"""Environment variable that shows where an unexpected error came from."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "can't start new thread")
"""What torch and the threads of Python say where memory is exhausted, as RuntimeErrors."""

_EXTRAS = (
    "torch",
    "lightning_fabric",
    "safetensors",
    "huggingface_hub",
    "pyarrow",
    "PIL",
    "skimage",
    "sklearn",
    "tensorboard",
    "jinja2",
    "plotly",
    "transformers",
    "diffusers",
    "soundfile",
)


class ErrorGroup(TyperGroup):
    """A group of commands every failure of which ends in one line on standard error."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse what stands before the command.

        Raises:
            Exit: with status 2 where it cannot be understood.
        """
        with _one_line(()):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Exit: with status 2 for every error, 130 when interrupted, 141 for a closed pipe.
        """
        with _one_line([*getattr(ctx, "_protected_args", ()), *ctx.args]):
            try:
                return super().invoke(ctx)
            finally:
                if sys.stdout is not None:  # it is where the caller closed it
                    sys.stdout.flush()  # here it can still be said that the disk is full


@contextmanager
def _one_line(given: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (Exit, Abort):
        raise
    except BrokenPipeError as error:
        _drop_output()
        raise Exit(141) from error
    except KeyboardInterrupt as error:
        note("interrupted")
        raise Exit(130) from error
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        note(f"error: {_text(error, given)}")
        raise Exit(2) from error


def _text(error: Exception, given: Sequence[str]) -> str:
    files = ", ".join(name for name in given if _exists(name))
    about = f"{files}: " if files else ""
    if isinstance(error, CertVQError):
        return str(error)
    if isinstance(error, OSError):
        return _of_the_system(error, about)
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return f"{about}memory is exhausted ({error or 'no more is given'}); give less at once"
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in _EXTRAS:
        return f"this command needs {package}: pip install 'certvq[all]'"
    if hasattr(error, "format_message"):  # click's, or that which Typer carries
        context: Any = getattr(error, "ctx", None)
        more = f" ({context.command_path} --help)" if context is not None else ""
        return f"{error.format_message()}{more}"  # pyright: ignore[reportAttributeAccessIssue]
    return (
        f"{about}a defect of certvq ({type(error).__name__}: {error}); please report it, with what "
        f"{TRACEBACK}=1 shows"
    )


def _exists(name: str) -> bool:
    try:
        return not name.startswith("-") and Path(name).exists()
    except (OSError, ValueError):
        return False


def _of_the_system(error: OSError, about: str) -> str:
    if error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno in _FULL:  # files have names (certvq._files.atomic), a stream has none
        _drop_output()
        return f"standard output: {error.strerror}"
    return f"{about}{error}"


def _drop_output() -> None:
    """Let nothing more be written to an output that takes nothing; Python would end with 120."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not _takes(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _takes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def note(text: str) -> None:
    """Write one line on standard error, if there is one and it takes it."""
    if sys.stderr is None:  # it is where the caller closed it
        return
    try:
        print(f"certvq: {shortened(text)}", file=sys.stderr, flush=True)  # noqa: T201 (the place)
    except OSError:  # nobody can be told, but the status stays
        _drop_output()
