"""Break the library on purpose, one line at a time, and see that a test notices.

``python tests/mutants.py`` does so for every mutant of `mutants.toml`, each a text of a source file
and what replaces it. No file is changed: a finder puts the changed module before the one of the
checkout, in the process of the tests and in those that they start. ``--shard 2/4`` takes every
fourth mutant from the second on, ``--only NAME`` a single one; ``--out FILE`` writes the table.

It fails if a mutant survives, or if a text does not occur exactly once in its file. A test that is
red anyway would seem to kill: ``--first`` runs the tests without a mutant before the others.
"""

import argparse
import os
import re
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np  # noqa: F401 (loaded before the forks, as the next ones)
import pytest
import torch  # noqa: F401

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # a part of pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "certvq"
SECONDS = 300
"""A mutant whose tests take longer counts as a survivor."""
FINDER = """\
import importlib.util
import sys


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            return importlib.util.spec_from_file_location(name, {path!r})
        return None


sys.meta_path.insert(0, Finder)
"""
"""Python runs it as `sitecustomize`, in every process."""


def table():
    """Read the mutants: a dict by name of ``file``, ``old``, ``new`` and ``tests``."""
    return tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())


def problems(mutants):
    """Say what of the table no longer fits the tree."""
    for name, mutant in mutants.items():
        path = SOURCE / mutant["file"]
        found = path.read_text().count(mutant["old"]) if path.is_file() else 0
        if found != 1 or mutant["old"] == mutant["new"]:
            yield f"{name}: its text must occur once in {mutant['file']}, found {found} times"
        for test in mutant["tests"]:
            file, _, function = test.partition("::")
            path = ROOT / "tests" / file
            if not path.is_file() or f"def {function}" not in path.read_text():
                yield f"{name}: there is no tests/{test}"


def run(tests, mutant=None):
    """Run tests until the first failure; return the exit status, what failed, and seconds.

    A fork runs them, so that torch is loaded once for all mutants.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if mutant is not None:
            break_module(folder, mutant)
        log = Path(folder, "log")
        child = os.fork()
        if child == 0:
            os._exit(run_here(tests, folder, log))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = log.read_text(errors="replace")
    failed = re.search(r"^FAILED (?:\S*?tests/)?(\S+)", text, flags=re.MULTILINE)
    return status, failed[1] if failed else text[-300:], time.monotonic() - begin


def break_module(folder, mutant):
    """Write the changed module, and what makes Python find it."""
    module = mutant["file"].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    path = Path(folder, "certvq", mutant["file"])
    path.parent.mkdir(parents=True)
    text = (SOURCE / mutant["file"]).read_text()
    path.write_text(text.replace(mutant["old"], mutant["new"]))
    finder = FINDER.format(name=f"certvq.{module}", path=str(path))
    Path(folder, "sitecustomize.py").write_text(finder)


def run_here(tests, folder, log):
    """Run tests in this process, a fork; what they start finds the same module."""
    signal.alarm(SECONDS)
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    paths = [path for path in (folder, os.environ.get("PYTHONPATH")) if path]
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    finder = Path(folder, "sitecustomize.py")
    if finder.exists():
        runpy.run_path(str(finder))
    os.chdir(ROOT)
    named = [str(ROOT / "tests" / test) for test in tests]
    status = pytest.main(["-x", "-q", "--tb=no", "-rf", *named])
    sys.stdout.flush()
    return int(status)


def main():
    """Run the mutants that are asked for, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shard", default="1/1", help="which part of how many, as 1/4")
    parser.add_argument("--only", help="the name of one mutant")
    parser.add_argument("--first", action="store_true", help="begin with no mutant")
    parser.add_argument("--out", type=Path, help="a file for the table, in Markdown")
    options = parser.parse_args()
    mutants = table()
    wrong = list(problems(mutants))
    place, shards = map(int, options.shard.split("/"))
    names = [options.only] if options.only else list(mutants)[place - 1 :: shards]
    wrong += [f"no mutant is called {name!r}" for name in names if name not in mutants]
    if wrong:
        sys.exit("\n".join(wrong))
    if options.first:
        for test in sorted({test for name in names for test in mutants[name]["tests"]}):
            status, text, _ = run([test])
            if status != 0:
                sys.exit(f"without a mutant, tests/{test} ends with status {status}: {text}")
    rows = ["| mutant | file | killed by | seconds |", "|---|---|---|--:|"]
    print(*rows, sep="\n")
    survivors = []
    for name in names:
        status, text, seconds = run(mutants[name]["tests"], mutants[name])
        if status != 1:
            survivors.append(name)
            text = f"nothing, status {status}: {text}"
        rows.append(f"| {name} | `{mutants[name]['file']}` | `{text}` | {seconds:.1f} |")
        print(rows[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(rows) + "\n")
    if survivors:
        sys.exit(f"{len(survivors)} of {len(names)} survive: {', '.join(survivors)}")
    print(f"\nall {len(names)} die")


if __name__ == "__main__":
    main()
