"""The index of findings has a row for each script, with the versions that the script installs."""

import re
import subprocess
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[2] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))


def rows():
    lines = (FINDINGS / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "`" in line]
    return {row[0].strip("`"): row[1:] for row in cells if len(row) == 6}


def test_each_script_has_one_row_and_each_row_a_script():
    assert sorted(rows()) == [path.stem for path in SCRIPTS]
    assert len(SCRIPTS) >= 8


@pytest.mark.rows("path", SCRIPTS)
def test_a_row_names_what_the_script_installs(path):
    package, version, *said = rows()[path.stem]
    text = path.read_text()
    installed = re.search(r"pip install .*", text)[0]
    assert f"{package}=={version}" in installed.split()
    assert all(
        "==" in word for word in installed.split() if not word.startswith(("-", "pip", "inst"))
    )
    assert all(said)


@pytest.mark.rows("path", SCRIPTS)
def test_a_script_cleans_up_asserts_and_does_not_use_certvq(path):
    text = path.read_text()
    for part in ("set -eu", "mktemp -d", "trap 'rm -rf \"$folder\"' EXIT", "\nassert "):
        assert part in text
    assert "certvq" not in text
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
