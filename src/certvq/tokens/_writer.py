"""Write a data set part by part, so that a later run goes on where an earlier one ended.

In: a folder, a job, batches of rows. Out: parts and their manifest. Two processes cannot write one
folder, nor two jobs. Must not know of models or sources.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from certvq._files.atomic import is_empty
from certvq._files.lock import folder_lock
from certvq.errors import FileFormatError, OptionError
from certvq.tokens._job import Job, differences
from certvq.tokens._manifest import MANIFEST, read_manifest, write_manifest
from certvq.tokens._part import PARTS, Part, part_name, write_part
from certvq.tokens._stored import open_part

_SHARE = 20  # the manifest takes at most one part in this many of the time


class DatasetWriter:
    """Hold a folder and write the parts that it lacks.

    Args:
        directory: made if absent; empty, or of this very job.
        job: what the data set is made by.

    Raises:
        OptionError: on entry, another process holds the folder (named), it is of another job (the
            text says what differs), or holds something else.
        FileFormatError: on entry, the manifest is damaged or of a newer version.

    Guarantee: a part in the manifest is whole on the disk. A process that is killed at any moment
    leaves whole parts and no others; the next one takes those over that the manifest lacks.

    Example:
        with DatasetWriter("tokens", job) as writer:
            for number in writer.missing:
                writer.write(number, batches_of(job.inputs[number]))
    """

    def __init__(self, directory: str | Path, job: Job) -> None:
        self.directory, self.job = Path(directory), job
        self._parts: dict[int, Part] = {}
        self._stack = ExitStack()
        self._next = 0.0

    def __enter__(self) -> "DatasetWriter":  # noqa: PYI034 (`Self` is of Python 3.11)
        with ExitStack() as stack:
            stack.enter_context(folder_lock(self.directory))
            self._parts = self._found()
            self._save()  # first of all: a folder of parts without a manifest is nobody's
            if self._adopt():
                self._save()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            self._save()

    @property
    def finished(self) -> frozenset[int]:
        """Numbers of the parts that are there."""
        return frozenset(self._parts)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the parts that are not, ascending."""
        return tuple(n for n in range(len(self.job.inputs)) if n not in self._parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is known of the parts that are there, by number."""
        return tuple(self._parts[number] for number in sorted(self._parts))

    def write(self, number: int, batches: Iterable[Mapping[str, Any]]) -> Part:
        """Write a part and enter it in the manifest; see `write_part`."""
        part = write_part(self.directory, self.job, number, batches)
        self.add(part)
        return part

    def add(self, part: Part) -> None:
        """Enter a part in the manifest that `write_part` has written, here or elsewhere.

        Raises:
            OptionError: its file is not there, or not of the size that it had.
        """
        path = self.directory / part.name
        if not _is_there(path, part):
            raise OptionError(f"{path}: is not the file of {part.bytes} bytes that was written")
        self._parts[part.number] = part
        if time.monotonic() >= self._next:
            self._save()

    def _save(self) -> None:
        begin = time.monotonic()
        write_manifest(self.directory, self.job, self._parts.values())
        end = time.monotonic()
        self._next = end + _SHARE * (end - begin)

    def _found(self) -> dict[int, Part]:
        """Return the parts in the manifest whose files are there."""
        if not (self.directory / MANIFEST).exists():
            if not is_empty(self.directory):
                raise OptionError(
                    f"{self.directory}: holds files, but no {MANIFEST}; give an empty folder, or "
                    "one that does not exist"
                )
            return {}
        manifest = read_manifest(self.directory)
        if manifest.job != self.job:
            raise OptionError(
                f"{self.directory}: holds the data set of another job: "
                f"{differences(manifest.job, self.job)}; give the same arguments, or another folder"
            )
        return {
            number: part
            for number, part in manifest.parts.items()
            if _is_there(self.directory / part.name, part)
        }

    def _adopt(self) -> bool:
        """Take over whole parts that the manifest lacks; remove what is damaged."""
        before = len(self._parts)
        own = {part_name(number): number for number in self.missing}
        (self.directory / PARTS).mkdir(exist_ok=True)
        for path in sorted((self.directory / PARTS).iterdir()):
            name = f"{PARTS}/{path.name}"
            if name not in own:
                continue
            try:
                stored = open_part(path)
                for _ in stored.blocks():
                    pass
            except FileFormatError:
                path.unlink()
                continue
            if stored.job_sha256 != self.job.sha256 or stored.part.number != own[name]:
                raise OptionError(f"{path}: is of another job; move it away")
            self._parts[own[name]] = stored.measured()
        return len(self._parts) > before


def _is_there(path: Path, part: Part) -> bool:
    try:
        return path.stat().st_size == part.bytes
    except OSError:
        return False
