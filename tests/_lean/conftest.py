"""Lean, where there is one; and programs that stand in for it."""

import json
import os
import stat
import sys

import pytest

from certvq._lean import Lean, find_lean
from certvq.errors import LeanUnavailableError


@pytest.fixture(scope="session")
def lean():
    try:
        return find_lean()
    except LeanUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def lean_that_answers(tmp_path):
    """Make a Lean that answers every `#eval` with the next of some texts."""

    def make(*answers, complaint=None):
        program = tmp_path / "lean"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, sys\n"
            "lines = open(sys.argv[2]).read().splitlines()\n"
            "asked = [n for n, line in enumerate(lines, 1) if line.startswith('#eval')]\n"
            f"for n, text in zip(asked, {answers!r}):\n"
            "    print(json.dumps({'severity': 'information', 'pos': {'line': n}, 'data': text}))\n"
            f"complaint = {json.dumps(complaint)!r}\n"
            "if complaint != 'null':\n"
            "    print(json.dumps({'severity': 'error', 'pos': {'line': 3}, 'data': complaint}))\n"
            "    sys.exit(1)\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return Lean("4.28.0", (str(program),))

    return make
