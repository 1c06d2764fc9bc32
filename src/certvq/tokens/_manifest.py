"""The manifest of a data set: the job and what is known of each finished part.

In: a folder. Out: job and parts, checked, or an error that names the file. Must not look into
parts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from certvq._files.atomic import atomic_path
from certvq._files.json import is_whole, loads, sealed
from certvq.errors import FileFormatError
from certvq.tokens._job import Job, fields_of, job_of
from certvq.tokens._part import SET_FORMAT, Failed, Part
from certvq.tokens._record import is_digest

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The job of a data set, and its parts by number."""

    job: Job
    parts: Mapping[int, Part]


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a data set.

    Raises:
        FileFormatError: it cannot be opened, is damaged or changed, or of another format; the text
            names the file.
    """
    path = directory / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be opened ({error.strerror}); name a data set of certvq"
        ) from error
    try:
        content = loads(text)
        require_format(content)
        require_seal(content)
        job = job_of(content["job"])
        return Manifest(job, _parts(content, job.ways))
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(
            f"{path}: is damaged ({error}); fetch it again, or run the job again in another folder"
        ) from error


def write_manifest(directory: Path, job: Job, parts: Iterable[Part]) -> None:
    """Write the manifest, whole; the same job and parts give the same bytes.

    Raises:
        OSError: it cannot be written.
    """
    ordered = sorted(parts, key=lambda part: part.number)
    content = {
        "format": SET_FORMAT,
        "job": fields_of(job),
        "job_sha256": job.sha256,
        "preprocessing_sha256": job.preprocessing_sha256,
        "parts": [asdict(part) | {"name": part.name} for part in ordered],
    }
    with atomic_path(directory / MANIFEST) as partial:
        partial.write_text(json.dumps(sealed(content), indent=1, sort_keys=True) + "\n")


def require_format(content: Any) -> None:
    """Refuse JSON that is no object, or of a format that this version does not read.

    Raises:
        FileFormatError: it says which format it is.
        TypeError: it is no object.
    """
    if not isinstance(content, dict):
        text = f"no JSON object but {type(content).__name__}"
        raise TypeError(text)
    found: object = content.get("format")
    if found != SET_FORMAT:
        raise FileFormatError(
            f"is of format {found!r}, and this version of certvq reads data sets of format "
            f"{SET_FORMAT}; use the version that wrote it"
        )


def require_seal(content: Mapping[str, Any]) -> None:
    """Refuse a record that is not as it was written.

    Raises:
        ValueError: likewise.
    """
    if not is_whole(content):
        raise ValueError("it was changed after it was written")


def part_of(fields: Mapping[str, Any], ways: tuple[str, ...]) -> Part:
    """Make a part of its JSON.

    Args:
        fields: the JSON.
        ways: `Job.ways` of its job.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    failed = tuple(Failed(str(f["source"]), str(f["reason"])) for f in fields["failed"])
    part = Part(**{name: fields[name] for name in _FIELDS}, failed=failed)
    counts = (part.number, part.rows, part.tokens, part.bytes, *part.decided_by.values())
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count is negative or no whole number")
    if not is_digest(part.sha256) or set(part.decided_by) != set(ways):
        raise ValueError("a digest or the counts of a part")
    return part


_FIELDS = tuple(name for name in Part.__dataclass_fields__ if name != "failed")


def _parts(content: Mapping[str, Any], ways: tuple[str, ...]) -> dict[int, Part]:
    parts = [part_of(fields, ways) for fields in content["parts"]]
    count = len(content["job"]["inputs"])
    if any(part.number >= count for part in parts):
        text = f"a part has a number beyond the {count} inputs"
        raise ValueError(text)
    by_number = {part.number: part for part in parts}
    if len(by_number) != len(parts):
        raise ValueError("a part is listed twice")
    return by_number
