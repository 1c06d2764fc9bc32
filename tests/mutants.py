"""Break the library on purpose, one line at a time, and see that a test notices.

``python tests/mutants.py`` does so for every mutant of `mutants.toml`, each a text of a source file
and what replaces it. No file is changed: a finder puts the changed module before the one of the
checkout, in the process of the tests and in those that they start. ``--shard 2/4`` takes every
fourth mutant from the second on, ``--only NAME`` a single one; ``--out FILE`` writes the table.

It fails if a mutant survives, if a text does not occur exactly once in its file, or if the tests
that are named fail without a mutant.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
            if not (ROOT / "tests" / test.split("::")[0]).exists():
                yield f"{name}: there is no tests/{test}"


def run(tests, folder=None, seconds=None):
    """Run tests until the first failure; return the exit status, what failed, and seconds."""
    paths = [path for path in (folder, os.environ.get("PYTHONPATH")) if path]
    changed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    named = [str(ROOT / "tests" / test) for test in tests]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-rf", *named],
            cwd=ROOT,
            env=os.environ | changed,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"not within {seconds} s", time.monotonic() - begin
    failed = re.search(r"^FAILED (?:\S*?tests/)?(\S+)", done.stdout, flags=re.MULTILINE)
    text = failed[1] if failed else (done.stdout + done.stderr)[-300:].replace("\n", " ")
    return done.returncode, text, time.monotonic() - begin


def run_mutant(mutant):
    """Run the tests of one mutant."""
    module = mutant["file"].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "certvq", mutant["file"])
        path.parent.mkdir(parents=True)
        text = (SOURCE / mutant["file"]).read_text()
        path.write_text(text.replace(mutant["old"], mutant["new"]))
        finder = FINDER.format(name=f"certvq.{module}", path=str(path))
        Path(folder, "sitecustomize.py").write_text(finder)
        return run(mutant["tests"], folder, SECONDS)


def main():
    """Run the mutants that are asked for, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shard", default="1/1", help="which part of how many, as 1/4")
    parser.add_argument("--only", help="the name of one mutant")
    parser.add_argument("--out", type=Path, help="a file for the table, in Markdown")
    options = parser.parse_args()
    mutants = table()
    wrong = list(problems(mutants))
    place, shards = map(int, options.shard.split("/"))
    names = [options.only] if options.only else list(mutants)[place - 1 :: shards]
    wrong += [f"no mutant is called {name!r}" for name in names if name not in mutants]
    if wrong:
        sys.exit("\n".join(wrong))
    status, text, seconds = run(sorted({t for name in names for t in mutants[name]["tests"]}))
    if status != 0:
        sys.exit(f"without a mutant, the tests end with status {status}: {text}")
    print(f"without a mutant, all tests that are named pass ({seconds:.0f} s)\n")
    rows = ["| mutant | file | killed by | seconds |", "|---|---|---|--:|"]
    print(*rows, sep="\n")
    survivors = []
    for name in names:
        status, text, seconds = run_mutant(mutants[name])
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
