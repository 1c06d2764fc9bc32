"""The sources of the Lean project are found in a checkout and in an installed package."""

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from certvq._lean import _project
from certvq.errors import LeanUnavailableError

ROOT = Path(__file__).parents[2]


def test_a_checkout_is_the_source_of_truth():
    assert _project.project_folder() == ROOT / "lean"


def test_an_installed_package_brings_its_own(monkeypatch, tmp_path):
    sources = tmp_path / "certvq" / "_lean" / "sources"
    shutil.copytree(ROOT / "lean", sources)
    monkeypatch.setattr(_project, "__file__", str(sources.parent / "_project.py"))
    assert _project.project_folder() == sources


def test_an_installation_without_the_project_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(_project, "__file__", str(tmp_path / "a" / "b" / "c" / "_project.py"))
    with pytest.raises(LeanUnavailableError, match=r"not part of this installation; run this in a"):
        _project.project_folder()


def test_the_installed_package_holds_every_file():
    """What the build put into the wheel, whether it was installed as such or for editing."""
    try:
        installed = {str(path) for path in metadata.files("certvq") or ()}
    except metadata.PackageNotFoundError:
        pytest.skip("certvq is not installed; pip install -e . does it")
    names = [
        path.relative_to(ROOT / "lean").as_posix() for path in (ROOT / "lean/CertVQ").glob("*")
    ]
    assert {f"certvq/_lean/sources/{name}" for name in ["CertVQ.lean", *names]} <= installed
