"""Files stay readable: none over 600 lines, and each says what it is for."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = (".py", ".pyi", ".cpp", ".h", ".lean", ".j2", ".css", ".js")


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


def test_no_file_over_600_lines():
    lengths = {p: len(p.read_text().splitlines()) for p in tracked() if p.suffix in CODE}
    assert len(lengths) > 50
    assert {str(p): n for p, n in lengths.items() if n > 600} == {}


@pytest.mark.parametrize("folder", ["src", "tests", "bench"])
def test_every_module_has_a_docstring(folder):
    modules = [p for p in tracked() if p.suffix == ".py" and p.is_relative_to(ROOT / folder)]
    assert modules
    assert [str(p) for p in modules if not ast.get_docstring(ast.parse(p.read_text()))] == []
