"""Whether a path may become the file of a job.

In: a path. Out: nothing, or an error before any work is done. Must not import torch, nor write.
"""

from pathlib import Path

from certvq.errors import OptionError


def require_out_file(out: Path) -> None:
    """Require a path that a file may be written to: absent, or a file that is replaced.

    Raises:
        OptionError: it is a folder.

    Example:
        >>> require_out_file(Path("."))
        Traceback (most recent call last):
        certvq.errors.OptionError: .: is a folder; name a file
    """
    if out.is_dir():
        raise OptionError(f"{out}: is a folder; name a file")
