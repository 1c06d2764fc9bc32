"""Turn a user's mistake into one line and an exit status; the one place that does so.

In: what a command raised. Out: a line on standard error and status 2, or 130 after Ctrl-C. A defect
of certvq itself keeps its traceback. Must not import the commands.
"""

import sys
from typing import Any

from typer import Exit
from typer.core import TyperGroup

from certvq.errors import CertVQError

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
)


class ErrorGroup(TyperGroup):
    """A group of commands whose expected failures end in one line on standard error."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Exit: with status 2 for a `CertVQError`, an `OSError` or an extra that is not installed,
                130 when interrupted.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (CertVQError, OSError) as error:
            _say(f"error: {_one_line(error)}")
            raise Exit(2) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _EXTRAS:
                raise
            _say(f"error: this command needs {package}: pip install 'certvq[all]'")
            raise Exit(2) from error
        except KeyboardInterrupt as error:
            _say("interrupted")
            raise Exit(130) from error


def _say(text: str) -> None:
    print(f"certvq: {text}", file=sys.stderr)  # noqa: T201 (standard error is the place)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
