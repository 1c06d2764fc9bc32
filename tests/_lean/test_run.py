"""Which Lean is found, and that its messages are read with their lines."""

import stat
import sys

import pytest

from certvq._lean import _run, _setup
from certvq.errors import LeanError, LeanUnavailableError


def fake(path, body):
    """Write a Python program that stands in for Lean."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return _run.Lean("4.28.0", (str(path),))


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A machine without Lean: an empty PATH and an empty cache."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CERTVQ_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put_npm_lean(root):
    folder = root / "cache" / "lean" / _setup.FOLDER
    (folder / "library").mkdir(parents=True)
    for part in ("node", "lean.js", "lean.wasm", "library/Init.olean"):
        (folder / part).write_text("")
    return folder


def test_without_lean_the_error_says_how_to_get_one(empty):
    with pytest.raises(LeanUnavailableError, match=r"Lean 4\.28 or newer is required, none is "):
        _run.find_lean()


def test_a_new_lean_on_the_path_is_taken_before_the_npm_one(empty):
    put_npm_lean(empty)
    fake(empty / "bin" / "lean", "print('Lean (version 4.28.0, x86_64, Release)')")
    found = _run.find_lean()
    assert found.command == (str(empty / "bin" / "lean"),)
    assert found.version == "4.28.0"
    assert found.has_library_proofs


def test_an_old_lean_on_the_path_is_named(empty):
    fake(empty / "bin" / "lean", "print('Lean (version 4.9.1, x86_64, Release)')")
    with pytest.raises(LeanUnavailableError, match=r"the lean on the PATH is 4\.9\.1; install it"):
        _run.find_lean()


def test_a_lean_on_the_path_that_does_not_speak_is_named(empty):
    fake(empty / "bin" / "lean", "sys.exit(1)")
    with pytest.raises(LeanUnavailableError, match=r"the lean on the PATH is of unknown version"):
        _run.find_lean()


def test_the_npm_lean_is_taken_where_the_one_on_the_path_is_old(empty):
    folder = put_npm_lean(empty)
    fake(empty / "bin" / "lean", "print('Lean (version 4.9.1, x86_64, Release)')")
    found = _run.find_lean()
    assert found.command == (str(folder / "node"), "--stack-size=30000", str(folder / "lean.js"))
    assert found.environment == {"LEAN_PATH": str(folder / "library")}
    assert not found.has_library_proofs


def test_messages_carry_the_lines_of_the_source(tmp_path):
    body = """
at = open(sys.argv[2]).read().splitlines().index("wrong") + 1
print("[DEBUG] noise")
print(json.dumps({"severity": "error", "pos": {"line": at, "column": 0}, "data": "no"}))
print(json.dumps({"severity": "information", "pos": {"line": at, "column": 0}, "data": "a\\nb"}))
sys.exit(1)"""
    run = _run.run_lean(fake(tmp_path / "lean", body), "right\nwrong\n")
    assert run.errors == (_run.Message("error", 2, "no"),)
    assert run.printed == ("a", "b")


def test_lines_that_are_no_messages_are_passed_over():
    assert _run.parse_messages('{broken\n{"severity": "error"}\n[1]\n\n') == ()


def test_a_crash_is_an_error_and_never_an_empty_answer(tmp_path):
    lean = fake(tmp_path / "lean", "sys.stderr.write('out of memory'); sys.exit(134)")
    with pytest.raises(LeanError, match=r"Lean 4\.28\.0 ended with status 134: out of memory"):
        _run.run_lean(lean, "")


def test_a_failure_without_an_error_message_is_an_error(tmp_path):
    with pytest.raises(LeanError, match=r"ended with status 1: it printed nothing"):
        _run.run_lean(fake(tmp_path / "lean", "sys.exit(1)"), "")


def test_a_run_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(LeanError, match=r"Lean 4\.28\.0 took longer than 0\.2 s"):
        _run.run_lean(fake(tmp_path / "lean", "time.sleep(30)"), "", seconds=0.2)
