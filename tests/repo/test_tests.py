"""Tests of the tests: each can fail, whatever its parameters are, and no module is left out."""

import ast
import functools
import re
import runpy
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SOURCE = ROOT / "src" / "certvq"
ASSERTING = {"pytest.raises", "pytest.warns", "pytest.fail", "pair.run", "gradcheck", "opcheck"}
"""What raises where something is wrong: two processes, and functions of torch."""

NOT_BY_NAME = {
    "theory/": "theorems, each of which tests/theory proves by its name in the ledger",
    "compat/vector_quantize_pytorch/": "parts of classes that are compared with the original's",
}
"""What is tested without its name, and why; a folder ends in a stroke."""


def files():
    return sorted(path for path in TESTS.rglob("*.py") if path.name != "mutants.py")


def functions(tree):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


@functools.cache
def facts(node):
    """Return whether a statement has an assertion, and the names of all that it calls."""
    names, plain = set(), False
    for each in ast.walk(node):
        plain = plain or isinstance(each, ast.Assert)
        if isinstance(each, ast.Call):
            names |= {ast.unparse(each.func), getattr(each.func, "attr", "")}
    return plain or any(name.startswith("assert_") for name in names), names


def asserts(node, known):
    """Whether a statement has an assertion, an expected error, or a call of what has one."""
    plain, names = facts(node)
    return plain or not known.isdisjoint(names)


def helpers(every, known):
    """Add the names of functions that assert, by themselves or by calling another one."""
    while True:
        more = {each.name for each in every if asserts(each, known)}
        if more <= known:
            return known
        known = known | more


def silent_end(body, known):
    """Return whether all paths through statements assert, and the line where one ends without.

    A path that goes on in a loop, or ends in an `if` whose branches all end, counts as neither.
    """
    for statement in body:
        asserted = line = None
        if isinstance(statement, ast.Return):
            return None, statement.lineno
        if isinstance(statement, ast.Continue | ast.Break):
            return None, None
        if isinstance(statement, ast.If):
            ends = [silent_end(part, known) for part in (statement.body, statement.orelse)]
            line = next((line for _, line in ends if line), None)
            asserted = all(end in {True, None} for end, _ in ends)
        elif isinstance(statement, ast.For | ast.With | ast.While):
            _, line = silent_end(statement.body, known)
            asserted = asserts(statement, known)
        elif not isinstance(statement, ast.FunctionDef):
            asserted = asserts(statement, known)
        if asserted or line:
            return line is None, line
    return False, None


def find_silent(trees):
    """Name the tests that have a way through without an assertion."""
    shared = [tree for path, tree in trees.items() if not path.name.startswith("test_")]
    common = helpers([each for tree in shared for each in functions(tree)], ASSERTING)
    for path, tree in trees.items():
        known = helpers(functions(tree), common)
        for function in functions(tree):
            if function.name.startswith("test_"):
                asserted, line = silent_end(function.body, known)
                if line or not asserted:
                    yield f"{path}:{line or function.lineno} {function.name}"


def test_every_test_can_fail():
    trees = {path.relative_to(TESTS): ast.parse(path.read_text()) for path in files()}
    assert list(find_silent(trees)) == []


@pytest.mark.rows(
    ("body", "silent"),
    [
        ("assert x", False),
        ("with pytest.raises(ValueError):\n  f()", False),
        ("for x in y:\n  assert x", False),
        ("helper()", False),
        ("f(x)", True),
        ("if x:\n  return\nassert x", True),
        ("if not x:\n  assert x", True),
        ("if x:\n  assert x\nelse:\n  helper()", False),
        ("assert y\nif x:\n  return", False),
        ("for x in y:\n  if x:\n    return\n  assert x", True),
        ("def f():\n  assert x\nf", True),
    ],
)
def test_a_test_that_cannot_fail_is_found(body, silent):
    text = "def helper():\n  assert 1\ndef test_it(x):\n" + textwrap.indent(body, "  ")
    assert bool(list(find_silent({Path("test_it.py"): ast.parse(text)}))) == silent


def named(path):
    """Modules of certvq that a file of tests imports, or names in a text."""
    text = path.read_text()
    yield from re.findall(r"certvq(?:\.\w+)+", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("certvq"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_is_tested_by_name():
    """`src/certvq/a/_b.py` by `tests/a/test_b.py`, or by a file that imports it or names it."""
    tests = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    names = {name for path in tests for name in named(path)}
    mirrored = {path.relative_to(TESTS).with_name(path.stem[5:]).as_posix() for path in tests}
    missing = set()
    for path in SOURCE.rglob("*.py"):
        relative = path.relative_to(SOURCE).with_suffix("")
        own = relative.with_name(relative.name.strip("_")).as_posix()
        dotted = ".".join(["certvq", *relative.parts])
        by_name = own in mirrored or any(f"{name}.".startswith(f"{dotted}.") for name in names)
        if not by_name and relative.name not in {"__init__", "__main__"}:
            missing.add(relative.as_posix())
    folders = tuple(name for name in NOT_BY_NAME if name.endswith("/"))
    left = {name for name in missing if not name.startswith(folders)}
    assert left == {name for name in NOT_BY_NAME if not name.endswith("/")}


def test_every_mutant_fits_the_source():
    """That each dies is seen by `make mutants`."""
    script = runpy.run_path(str(TESTS / "mutants.py"))
    mutants = script["table"]()
    assert len(mutants) >= 60
    assert list(script["problems"](mutants)) == []
