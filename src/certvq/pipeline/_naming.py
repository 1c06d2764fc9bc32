"""Put the names of files into the errors about their content.

In: an error about latents, codebooks or codes. Out: the same class, its text led by the files that
they came from. Must not read files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, ShapeError


@contextmanager
def naming(*paths: Path) -> Iterator[None]:
    """Lead the text of an error about array content with the names of the files.

    Args:
        paths: where the arrays came from.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError: as raised within, with the names.
    """
    try:
        yield
    except (ShapeError, DTypeError, NonFiniteError, CodeRangeError) as error:
        names = ", ".join(str(path) for path in paths)
        raise type(error)(f"{names}: {error}") from error
