"""`certvq info`, `--version` and completion.

Also of `certvq._info`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import certvq
from certvq._version import __version__


def test_info_says_what_runs_here(
    certvq_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTVQ_NUM_THREADS", "3")
    found = json.loads(certvq_command("info", "--json").out)
    assert found["certvq"] == __version__
    assert (found["threads"], found["threads_from"]) == (3, "CERTVQ_NUM_THREADS")
    assert found["backends"].keys() == set(certvq.backends())
    assert found["backends"]["numpy"] == "ready"
    assert found["instruction_set"] in [*found["instruction_sets"], None]
    assert found["kernel_built"] == bool(found["instruction_sets"])


def test_info_does_not_show_as_used_what_cannot_be(
    certvq_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTVQ_NUM_THREADS", "0")
    monkeypatch.setenv("CERTVQ_ISA", "x")
    lines = certvq_command("info").out.splitlines()
    place = lines.index("threads: none")
    assert lines[place + 1] == (
        "threads from: CERTVQ_NUM_THREADS must be a positive integer, got '0'"
    )
    place = lines.index("instruction set: none")
    assert lines[place + 1].startswith("instruction set from: CERTVQ_ISA must be one of those here")
    assert lines[place + 1].endswith("got 'x'")


def test_show_info_prints_the_same_and_loads_no_library() -> None:
    code = "import sys, certvq; certvq.show_info(); assert 'torch' not in sys.modules"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith(f"certvq: {__version__}\n")


def test_version(certvq_command: Callable[..., Any]) -> None:
    assert certvq_command("--version").out == f"certvq {__version__}\n"


@pytest.mark.parametrize(
    ("words", "found"), [("certvq de", ["demo", "decode"]), ("certvq encode --ch", ["--channels"])]
)
def test_a_shell_completes_commands_and_options(words: str, found: list[str]) -> None:
    """The shell runs the program with what stands on the line, as its script tells it to."""
    code = "from certvq.cli import main; main()"
    last = len(words.split()) - 1
    asked = {"_CERTVQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(last)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **asked},
    )
    assert done.stdout.split() == found


def test_bash_completes_after_the_installation(tmp_path: Path) -> None:
    """What `--show-completion` prints is what `--install-completion` writes for the next shell."""
    asks = "COMP_WORDS=(certvq de); COMP_CWORD=1; _certvq_completion certvq; echo ${COMPREPLY[@]}"
    for line, said in (
        ("certvq --show-completion; true", "complete -o default -F _certvq_completion certvq"),
        ("certvq --install-completion; true", "bash completion installed in"),
        (f"source ~/.bashrc; {asks}", "demo decode\n"),
    ):
        folder = Path(sys.executable).parent
        env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", line], env=env, capture_output=True, text=True, check=True
        )
        assert said in done.stdout, done.stderr
