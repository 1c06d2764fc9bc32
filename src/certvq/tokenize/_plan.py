"""Sources to input parts: what becomes which part of a token data set.

In: paths, folders and glob patterns. Out: `InputPart` records, picklable, in an order that the
names of the sources alone decide. Looks at names and sizes, and at the end of Parquet files.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from certvq.data._folder import unique_keys
from certvq.data._photograph import together
from certvq.data._walk import files_below
from certvq.errors import DataError, OptionError
from certvq.tokens._read import is_token_file

Modality: TypeAlias = Literal["image", "audio", "latent"]
Kind: TypeAlias = Literal["files", "parquet", "tar", "array"]

IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
SOUNDS: Final = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3", ".opus"})
SHARDS: Final[dict[str, Kind]] = {
    ".parquet": "parquet",
    ".tar": "tar",
    ".npy": "array",
    ".npz": "array",
}
FILES_PER_PART: Final = 1000
_MODALITIES: Final = {"image": IMAGES, "audio": SOUNDS, "latent": frozenset[str]()}


@dataclass(frozen=True)
class InputPart:
    """What one part of a token data set is made of.

    Attributes:
        kind: files of a folder, or one shard.
        path: the folder, or the shard.
        names: of the files below the folder; none for a shard.
        keys: of the files; for a shard the beginning of all its keys.
        size: bytes of all of it.
        sha256: of names, keys and sizes.
    """

    kind: Kind
    path: Path
    names: tuple[str, ...]
    keys: tuple[str, ...]
    size: int
    sha256: str

    @property
    def source(self) -> str:
        """Name it for people: the shard, or the folder with its first and last file."""
        if self.kind != "files":
            return str(self.path)
        first, last = self.names[0], self.names[-1]
        return str(self.path / first) if first == last else f"{self.path}: {first} to {last}"


def plan(
    sources: Sequence[str | Path], modality: Modality, *, files_per_part: int = FILES_PER_PART
) -> list[InputPart]:
    """Divide sources into input parts.

    Args:
        sources: files, folders (with all folders below), and glob patterns. Shards are told by
            their suffix: `.parquet`, `.tar` (WebDataset), `.npy` and `.npz`. Of a folder, images or
            sounds by their suffix, whichever `modality` asks for, but no token files; a file that
            is named is taken whatever its suffix. With several sources, keys begin with the
            source's name.
        modality: what the model takes.
        files_per_part: how many single files make a part.

    Returns:
        The parts: sources in the order given, within each shards by name, then files by name.

    Raises:
        DataError: a source is missing or holds nothing for the model; all are named.
        OptionError: no source, two of one name, or `files_per_part` below 1.
    """
    if not sources:
        raise OptionError("at least one source is needed, got none")
    if files_per_part < 1:
        raise OptionError(f"files_per_part must be at least 1, got {files_per_part}")
    singles = [str(s) for s in sources if Path(s).is_file() and _shard(str(s)) is None]
    others = [str(s) for s in sources if str(s) not in singles]
    heads: dict[str, str] = {}
    for source in others if len(sources) > 1 else ():
        if heads.setdefault(_head(source), source) != source:
            text = (
                f"two sources are called {_head(source)!r} ({heads[_head(source)]} and {source}), "
                "and keys begin with that name; rename one, or give the folder above both"
            )
            raise OptionError(text)
    found: list[InputPart] = []
    problems: list[str] = []
    for source in others:
        head = "" if Path(source).is_file() or len(sources) == 1 else f"{_head(source)}/"
        try:
            found += _parts(*_look(source, modality), head, modality, files_per_part)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(together(problems))
    if singles:
        base = Path(os.path.commonpath([Path(s).resolve().parent for s in singles]))
        names = [Path(s).resolve().relative_to(base).as_posix() for s in singles]
        found += _parts(base, sorted(set(names)), "", modality, files_per_part)
    return found


def sources_digest(parts: Iterable[InputPart]) -> str:
    """Return the SHA-256 of all names and sizes that a job reads."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{part.kind} {part.sha256}\n".encode())
    return total.hexdigest()


def looks_like(sources: Sequence[str | Path]) -> Modality | None:
    """Guess what sources hold by the first picture or sound, else by an array.

    Arrays may lie beside pictures, as in a run directory. None where shards may hold either.
    """
    arrays = False
    for source in sources:
        for name in _names(str(source)):
            suffix = Path(name).suffix.lower()
            arrays = arrays or SHARDS.get(suffix) == "array"
            for modality in ("image", "audio"):
                if suffix in _MODALITIES[modality]:
                    return modality
    return "latent" if arrays else None


def _names(source: str) -> Iterator[str]:
    path = Path(source)
    if path.is_dir():
        yield from files_below(path)[0]
    else:
        yield from _matches(source)[1] if _is_pattern(source) else [source]


def _head(source: str) -> str:
    return (_base(source) if _is_pattern(source) else Path(source)).resolve().stem


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not os.path.lexists(source)


def _base(pattern: str) -> Path:
    """Return the folder above the first wildcard."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _matches(pattern: str) -> tuple[Path, list[str]]:
    base = _base(pattern)
    listed = base.glob(Path(pattern).relative_to(base).as_posix())
    names = [path.relative_to(base) for path in listed if path.is_file()]
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return base, sorted(name.as_posix() for name in shown)


def _look(source: str, modality: Modality) -> tuple[Path, list[str]]:
    """Return a folder and what is to be taken below it."""
    path = Path(source)
    if _is_pattern(source):
        base, names = _matches(source)
    elif path.is_dir():
        base, (names, _) = path, files_below(path)
        names = [name for name in names if not _is_written(path / name)]
    elif path.is_file():
        return path.parent, [path.name]
    else:
        raise DataError(f"{source}: does not exist; check the path")
    taken = [name for name in names if _is_taken(name, modality)]
    if not taken:
        kinds = sorted({*_MODALITIES[modality], *_shards(modality)})
        text = (
            f"{source}: holds nothing that the model takes ({modality}) among {len(names)} files; "
            f"known are {', '.join(kinds)}"
        )
        raise DataError(text)
    return base, taken


def _is_written(path: Path) -> bool:
    """Say whether a file below a folder is one of tokens, which an earlier job has left there."""
    return path.suffix.lower() == ".parquet" and is_token_file(path)


def _parts(
    base: Path, names: list[str], head: str, modality: Modality, files_per_part: int
) -> Iterator[InputPart]:
    keys = {name: head + key for name, key in unique_keys(names).items()}
    for name in names:
        kind = _shard(name)
        if kind is not None:
            if (kind == "array") != (modality == "latent"):
                holds = "latents" if kind == "array" else "images or sounds"
                raise DataError(f"{base / name}: holds {holds}, but the model takes {modality}")
            yield _part(kind, base / name, (), (keys[name],))
    files = [name for name in names if _shard(name) is None]
    for first in range(0, len(files), files_per_part):
        some = tuple(files[first : first + files_per_part])
        yield _part("files", base, some, tuple(keys[name] for name in some))


def _shard(name: str) -> Kind | None:
    return SHARDS.get(Path(name).suffix.lower())


def _shards(modality: Modality) -> list[str]:
    arrays = modality == "latent"
    return [suffix for suffix, kind in SHARDS.items() if (kind == "array") == arrays]


def _is_taken(name: str, modality: Modality) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in _MODALITIES[modality] or suffix in _shards(modality)


def _part(kind: Kind, path: Path, names: tuple[str, ...], keys: tuple[str, ...]) -> InputPart:
    digest, total = hashlib.sha256(), 0
    for name, key in zip(names or ("",), keys, strict=True):
        try:
            size = (path / name if name else path).stat().st_size
        except OSError:
            size = -1  # a link that leads nowhere, say: its reading will fail, and be recorded
        total += max(size, 0)
        digest.update(f"{key} {size}\n".encode(errors="surrogateescape"))
    return InputPart(kind, path, names, keys, total, digest.hexdigest())
