"""Whether a folder may become, or already is, the run directory of a job.

In: a path. Out: the run's files, or an error that names the way out. Must not touch files that a
run has not written.
"""

import shutil
from pathlib import Path

from certvq._files.atomic import is_empty
from certvq._files.claim import claim_folder, try_writing
from certvq.errors import OptionError
from certvq.runs._run_files import RunFiles


def claim_run(
    out: Path, *, existing: bool, overwrite: bool = False, data: Path | None = None
) -> RunFiles:
    """Require a folder that a run may be written to; nothing is written yet.

    Args:
        out: absent, empty, or a run directory.
        existing: whether a run that is there already may be gone on with.
        overwrite: whether it may be replaced.
        data: the folder of images, which the run must not write to.

    Returns:
        The paths of the run.

    Raises:
        OptionError: `out` is a file, a folder of other things, or a run that may neither be gone on
            with nor replaced; or the run would replace its own photographs.
        OSError: a folder cannot be made there.
    """
    files = RunFiles(out)
    if data is not None:
        _require_apart(files, data)
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out}: is a file; give a folder that does not exist yet")
    if not out.is_dir() or is_empty(out):
        claim_folder(out)
        return files
    if not files.config.is_file():
        text = (
            f"{out}: is neither empty nor a run directory ({files.config.name} is not in it); "
            f"give a folder that does not exist yet"
        )
        raise OptionError(text)
    if not (existing or overwrite):
        text = f"{out}: holds a run already; resume it, overwrite it, or give another folder"
        raise OptionError(text)
    try_writing(out / "file", out)
    return files


def _require_apart(files: RunFiles, data: Path) -> None:
    for path in files.all():
        if data.resolve().is_relative_to(path.resolve()):
            text = (
                f"{data}: the run would replace these photographs by its own {path.name}; copy "
                f"them to another folder"
            )
            raise OptionError(text)


def remove_run(files: RunFiles) -> None:
    """Remove what a run has written, and nothing else."""
    _remove(files.all())


def remove_results(files: RunFiles) -> None:
    """Remove what was computed with the trained model, which will change."""
    _remove((files.tokens, files.heldout, files.summary, files.report))


def _remove(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
