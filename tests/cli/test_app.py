"""Every command explains itself, and the command line starts without what is heavy.

Also of `certvq.cli._options`.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

COMMANDS = (
    *("demo", "train", "encode", "decode", "audit", "assign", "bench assign", "report", "info"),
    *("verify", "stats", "export"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    certvq_command: Callable[..., Any], command: str
) -> None:
    found = certvq_command(*command.split(), "--help")
    assert found.status == 0
    assert f"certvq {command} " in found.out


def test_the_commands_are_listed(certvq_command: Callable[..., Any]) -> None:
    found = certvq_command("--help")
    assert found.status == 0
    assert [line for line in COMMANDS if line.split()[0] not in found.out] == []


def test_an_unknown_command_is_bad_usage(certvq_command: Callable[..., Any]) -> None:
    found = certvq_command("paint")
    assert found.status == 2
    assert "No such command 'paint'" in found.err


def test_an_option_that_is_missing_is_bad_usage(certvq_command: Callable[..., Any]) -> None:
    found = certvq_command("demo")
    assert found.status == 2
    assert "--out" in found.err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["paint"]])
def test_nothing_heavy_is_loaded_to_explain(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['certvq', *{arguments}]\n"
        "from certvq.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'sklearn', 'skimage', 'pyarrow', 'plotly', 'PIL', 'tensorboard'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "loaded: []" in found.stdout
