"""`certvq certify`."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certvq._lean import certificate, pack

Command = Callable[..., Any]
LATENTS, CODEBOOK = [[0.25], [0.75], [0.5]], [[0.0], [1.0]]


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[[list[int]], tuple[Path, ...]]:
    def save(codes: list[int]) -> tuple[Path, ...]:
        for name, values in {"z": LATENTS, "c": CODEBOOK, "i": codes}.items():
            np.save(tmp_path / f"{name}.npy", np.array(values))
        return tuple(tmp_path / f"{name}.npy" for name in "zci")

    return save


@pytest.fixture
def lean_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a program on the PATH that speaks as Lean does, and accepts or refuses."""

    def put(*, severity: str | None = None) -> None:
        message = {"severity": severity, "pos": {"line": 8, "column": 0}, "data": "is false"}
        program = tmp_path / "bin" / "lean"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\nimport sys\n"
            "if '--version' in sys.argv: sys.exit(print('Lean (version 4.28.0)'))\n"
            f"if {severity!r}: print({json.dumps(message)!r})\n"
            f"sys.exit({int(severity == 'error')})\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent))

    return put


def test_right_codes_are_status_0(certvq_command: Command, arrays: Callable[..., Any]) -> None:
    found = certvq_command("certify", *arrays([0, 1, 0]))
    assert (found.status, found.out, found.err) == (0, "3 codes audited, 0 violations\n", "")


def test_a_wrong_code_is_refused_with_status_1_and_nothing_is_written(
    certvq_command: Command, arrays: Callable[..., Any], tmp_path: Path
) -> None:
    lean, out = tmp_path / "codes.lean", tmp_path / "right.npy"
    found = certvq_command("certify", *arrays([0, 0, 1]), "--lean", lean, "--out", out)
    assert (found.status, found.out) == (1, "")
    assert "2 of 3 codes are not the lowest nearest ones; the first at row 1: code 0" in found.err
    assert not lean.exists()
    assert not out.exists()


def test_report_lists_every_violation(certvq_command: Command, arrays: Callable[..., Any]) -> None:
    found = certvq_command("certify", *arrays([0, 0, 1]), "--on-violation", "report")
    assert (found.status, found.err) == (1, "")
    assert found.out.splitlines() == [
        "row 1: code 0, nearest 1, excess 0.5",
        "row 2: code 1, nearest 0, excess 0",
        "3 codes audited, 2 violations",
    ]


def test_repair_writes_the_right_codes_and_their_certificate(
    certvq_command: Command, arrays: Callable[..., Any], tmp_path: Path
) -> None:
    lean, out = tmp_path / "codes.lean", tmp_path / "right.npy"
    options = ("--on-violation", "repair", "--out", out, "--lean", lean, "--json")
    found = certvq_command("certify", *arrays([0, 0, 1]), *options)
    assert (found.status, found.err) == (0, "")
    assert np.load(out).tolist() == [0, 1, 0]
    assert lean.read_text() == certificate(pack(LATENTS, CODEBOOK), [0, 1, 0])
    figures = json.loads(found.out)
    assert (figures["audit_violations"], figures["repaired"]) == (2, True)
    assert (figures["lean"], figures["lean_errors"]) == (str(lean), None)


def test_the_certificate_is_written_and_not_checked_unless_asked(
    certvq_command: Command, arrays: Callable[..., Any], tmp_path: Path
) -> None:
    lean = tmp_path / "codes.lean"
    found = certvq_command("certify", *arrays([0, 1, 0]), "--lean", lean)
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines()[-1] == f"{lean}: not checked by Lean"
    assert lean.read_text() == certificate(pack(LATENTS, CODEBOOK), [0, 1, 0])


@pytest.mark.parametrize(
    ("severity", "status", "verdict"),
    [(None, 0, "accepted"), ("error", 1, "refused"), ("warning", 1, "refused")],
)
def test_lean_has_the_last_word(
    certvq_command: Command,
    arrays: Callable[..., Any],
    lean_on_path: Callable[..., None],
    tmp_path: Path,
    severity: str | None,
    status: int,
    verdict: str,
) -> None:
    lean_on_path(severity=severity)
    lean = tmp_path / "codes.lean"
    found = certvq_command("certify", *arrays([0, 1, 0]), "--lean", lean, "--check")
    assert (found.status, found.err) == (status, "")
    assert f"{lean}: {verdict} by Lean\n" in found.out
    assert (f"{lean}:7: {severity}: is false" in found.out) == bool(severity)


def test_without_lean_nothing_is_written(
    certvq_command: Command,
    arrays: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("CERTVQ_CACHE", str(tmp_path / "empty"))
    lean = tmp_path / "codes.lean"
    found = certvq_command("certify", *arrays([0, 1, 0]), "--lean", lean, "--check")
    assert found.status == 2
    assert "Lean 4.28 or newer is required" in found.err
    assert "make lean" in found.err
    assert not lean.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--check",), "--check needs --lean FILE"),
        (("--on-violation", "repair"), "--on-violation repair needs --out FILE"),
        (("--on-violation", "mend"), "'mend' is not one of"),
    ],
)
def test_bad_usage_is_status_2(
    certvq_command: Command, arrays: Callable[..., Any], options: tuple[str, ...], text: str
) -> None:
    found = certvq_command("certify", *arrays([0, 1, 0]), *options)
    assert (found.status, found.out) == (2, "")
    assert text in found.err


def test_codes_out_of_range_are_status_2(
    certvq_command: Command, arrays: Callable[..., Any]
) -> None:
    found = certvq_command("certify", *arrays([0, 1, 2]))
    assert found.status == 2
    assert "range(2), got 2 at row 2" in found.err


def test_documents_for_torchlean_are_counted_and_a_large_box_is_status_1(
    certvq_command: Command, arrays: Callable[..., Any], tmp_path: Path
) -> None:
    files = arrays([0, 1, 0])
    found = certvq_command("certify", *files, "--torchlean", tmp_path / "a")
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines()[-1] == f"{tmp_path / 'a'}: 3 documents for TorchLean"
    found = certvq_command("certify", *files, "--torchlean", tmp_path / "b", "--radius", 0.25)
    assert found.status == 1
    assert "not proved: row 1, code 1: inequality 0 is not proved" in found.out
    found = certvq_command("certify", *files, "--radius", 0.25)
    assert found.status == 2
    assert "--radius, --encoder and --inputs need --torchlean FOLDER" in found.err
