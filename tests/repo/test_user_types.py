"""Scripts of users pass mypy and pyright, both strict, with certvq among the installed packages."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import certvq

SCRIPTS = sorted((Path(__file__).parent / "user_scripts").glob("*.py"))
scripts = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def user_python(tmp_path_factory):
    """Make an environment that has certvq in a folder, as a wheel puts it, and our libraries."""
    folder = tmp_path_factory.mktemp("user") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    paths = [Path(certvq.__file__).parents[1], sysconfig.get_path("purelib"), *sys.path[1:]]
    places = [str(path) for path in paths if "site-packages" in str(path) or path == paths[0]]
    (packages / "libraries.pth").write_text("\n".join(places))
    return folder / "bin" / "python"


def run_mypy(python, script, tmp_path):
    cache = python.parents[2] / "cache"  # torch is read once for all scripts
    flags = ["--strict", "--cache-dir", str(cache), "--python-executable", str(python)]
    return run([sys.executable, "-m", "mypy", *flags, str(script)], tmp_path)


def run_pyright(python, script, tmp_path):
    settings = {"typeCheckingMode": "strict", "include": [str(script)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return run([sys.executable, "-m", "pyright", "--pythonpath", str(python)], tmp_path)


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("check", [run_mypy, run_pyright])
@scripts
def test_a_script_passes_the_strict_checkers(check, script, user_python, tmp_path):
    done = check(user_python, script, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("check", [run_mypy, run_pyright])
def test_the_checkers_see_mistakes(check, user_python, tmp_path):
    """So that what passes above does not pass for want of types."""
    text = next(path for path in SCRIPTS if path.stem == "arrays").read_text()
    script = tmp_path / "mistakes.py"
    wrong = text.replace('"repair"', '"mend"').replace("found.counts", "found.count")
    script.write_text(wrong)
    done = check(user_python, script, tmp_path)
    assert done.returncode == 1
    changed = [a != b for a, b in zip(text.splitlines(), wrong.splitlines(), strict=True)]
    assert sum(changed) == 2
    for number in [line for line, differs in enumerate(changed, start=1) if differs]:
        assert f"mistakes.py:{number}:" in done.stdout


@scripts
def test_a_script_runs(script, tmp_path):
    done = run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_package_says_that_it_is_typed():
    assert (Path(certvq.__file__).parent / "py.typed").exists()
