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


def test_every_source_module_has_a_test_file():
    """`src/certvq/a/_b.py` is tested by `tests/a/test_b.py`, or by a file that names it."""
    source = ROOT / "src" / "certvq"
    tests = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    for path in source.rglob("*.py"):
        relative = path.relative_to(source)
        if path.name in {"__init__.py", "__main__.py", "_types.py", "_version.py"}:
            continue
        stem = path.stem.lstrip("_")
        mirrored = ROOT / "tests" / relative.parent / f"test_{stem}.py"
        package = ".".join(["certvq", *relative.parent.parts])
        assert mirrored.exists() or package in tests, f"no test for {relative}"
