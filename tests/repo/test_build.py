"""The flags that the proofs rely on are those that the compiler was given."""

import json
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import scikit_build_core.build

ROOT = Path(__file__).parents[2]


def compile_commands():
    found = sorted(ROOT.glob("build/*/compile_commands.json"))
    assert found, "build the package with `pip install -e .` first"
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return [c for c in json.loads(newest.read_text()) if "/native/" in c["file"]]


def test_kernels_are_compiled_without_contraction_or_fast_math():
    commands = compile_commands()
    native = ROOT / "native"
    sources = [path for part in ("*", "checker/*", "wide/*") for path in native.glob(f"{part}.cpp")]
    assert {Path(c["file"]).resolve() for c in commands} == {path.resolve() for path in sources}
    for command in commands:
        flags = command["command"].split()
        assert "-ffp-contract=off" in flags
        assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations"} & set(flags)
        assert {"-Wall", "-Wextra", "-Werror"} <= set(flags)


def test_files_for_an_instruction_set_share_no_function():
    """A weak symbol of one of them could replace the one of all others on any processor."""
    newest = max(ROOT.glob("build/*/compile_commands.json"), key=lambda path: path.stat().st_mtime)
    names = ("isa", "level", "direct", "kernel")
    found = [newest.parent.rglob(f"{name}_*.o") for name in names]
    objects = sorted(path for paths in found for path in paths)
    native = [path for path in (ROOT / "native").rglob("*.cpp") if path.parent.name != "tests"]
    sources = [path for path in native if path.name.startswith(tuple(f"{n}_" for n in names))]
    assert len(objects) == len(sources)
    for compiled in objects:
        symbols = subprocess.run(["nm", compiled], capture_output=True, text=True, check=True)
        kinds = {line.split()[-2] for line in symbols.stdout.splitlines()}
        assert not kinds & {"W", "V", "u"}, compiled


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an instruction of x86")
def test_avx_vnni_is_encoded_for_processors_without_avx512():
    """Assemblers choose the encoding of AVX-512 unless told otherwise; no test here would fail."""
    newest = max(ROOT.glob("build/*/compile_commands.json"), key=lambda path: path.stat().st_mtime)
    (compiled,) = newest.parent.rglob("isa_avx_vnni*.o")
    listing = subprocess.run(
        ["objdump", "-d", compiled], capture_output=True, text=True, check=True
    )
    products = [line for line in listing.stdout.splitlines() if "vpdpwssd" in line]
    assert len(products) > 50
    assert all("{vex}" in line for line in products)
    assert not any(other in listing.stdout for other in ("zmm", "%ymm16", "%k1", "%xmm16"))


def test_the_checker_shares_no_source_with_the_kernel():
    own = {path.name for path in (ROOT / "native/checker").iterdir()}
    for path in (ROOT / "native/checker").iterdir():
        included = re.findall(r'^#include "(.*)"', path.read_text(), flags=re.MULTILINE)
        assert set(included) <= own, path
    for path in (ROOT / "native").glob("*.*"):
        assert "checker" not in path.read_text(), path


def test_the_version_is_the_same_everywhere():
    code = "import certvq, importlib.metadata as m; print(certvq.__version__, m.version('certvq'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == second
    assert f"## {first}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_sdist_holds_what_builds_and_tests(tmp_path, monkeypatch):
    """Nothing that was compiled or measured here, and no file that only a repository needs."""
    monkeypatch.chdir(ROOT)
    path = tmp_path / scikit_build_core.build.build_sdist(str(tmp_path))
    with tarfile.open(path) as archive:
        names = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    folders = {"bench", "docs", "examples", "findings", "lean", "native", "src", "tests"}
    files = {"CMakeLists.txt", "Makefile", "constraints.txt", "mkdocs.yml", "pyproject.toml"}
    texts = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "PKG-INFO"}
    assert {name.parts[0] for name in names} == folders | files | texts
    assert {"src/certvq/py.typed", "tests/repo/test_build.py"} <= {str(name) for name in names}
    compiled = {".so", ".o", ".pyc", ".whl"}
    assert [n for n in names if n.suffix in compiled or n.parts[:2] == ("bench", "results")] == []
