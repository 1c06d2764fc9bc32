"""A user's mistake is one line and an exit status; a defect of ours keeps its traceback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from certvq.cli._errors import ErrorGroup
from certvq.errors import ShapeError


def _fail_with(error: BaseException, *arguments: str) -> Any:
    app = typer.Typer(cls=ErrorGroup, pretty_exceptions_enable=False)

    @app.command()
    def fail(files: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        raise error

    @app.command()
    def other() -> None:
        pass

    return CliRunner().invoke(app, ["fail", *arguments])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ShapeError("need (N, D),\n  got (3,)"), "certvq: error: need (N, D), got (3,)"),
        (FileNotFoundError(2, "No such file", "z.npy"), "certvq: error: z.npy: No such file"),
        (OSError("the disk is gone"), "certvq: error: the disk is gone"),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            "certvq: error: this command needs torch: pip install 'certvq[all]'",
        ),
    ],
)
def test_expected_failures_are_one_line_and_status_2(error: Exception, line: str) -> None:
    found = _fail_with(error)
    assert found.exit_code == 2
    assert found.stderr == line + "\n"
    assert found.stdout == ""


def test_an_interruption_is_one_line_and_status_130() -> None:
    found = _fail_with(KeyboardInterrupt())
    assert found.exit_code == 130
    assert found.stderr == "certvq: interrupted\n"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), ModuleNotFoundError("ours", name="certvq._lost")]
)
def test_a_defect_of_ours_is_one_line_and_shows_where_on_request(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _fail_with(error)
    kind = type(error).__name__
    assert found.exit_code == 2
    assert found.stderr.startswith(f"certvq: error: a defect of certvq ({kind}: ours); please ")
    assert found.stderr.count("\n") == 1
    monkeypatch.setenv("CERTVQ_TRACEBACK", "1")
    assert "raise error" in _fail_with(error).stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np.linalg.LinAlgError("Unable to allocate: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_exhausted_memory_names_what_was_read(error: Exception, tmp_path: Path) -> None:
    (tmp_path / "z.npy").touch()
    found = _fail_with(error, str(tmp_path / "z.npy"))
    assert found.exit_code == 2
    assert found.stderr.startswith(f"certvq: error: {tmp_path}/z.npy: memory is exhausted (")
    assert found.stderr.count("\n") == 1


def test_a_long_text_is_cut_and_shows_no_control_characters() -> None:
    found = _fail_with(OSError("a" * 10**5 + "\x1b[2J\udcff"))
    assert len(found.stderr) < 1100
    assert "\x1b" not in found.stderr
    assert "\\x1b[2J\\udcff" in found.stderr


def test_a_missing_file_ends_a_real_process_with_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "certvq", "assign", "z.npy", "c.npy", "--out", "codes.npy"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr == "certvq: error: z.npy: No such file or directory\n"
    assert found.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_control_c_ends_a_real_process_with_status_130(tmp_path: Path) -> None:
    """The command reads a pipe in the place of its file, which tells when it is opened.

    The pipe is closed after the signal: Python looks for signals when a read returns.
    """
    os.mkfifo(tmp_path / "z.npy")
    command = [sys.executable, "-m", "certvq", "assign", "z.npy", "c.npy", "--out", "codes.npy"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        writer = _open_when_read(tmp_path / "z.npy", process)
        process.send_signal(signal.SIGINT)
        os.close(writer)
        err = process.communicate()[1]
    assert (process.returncode, err) == (130, "certvq: interrupted\n")


def _open_when_read(pipe: Path, process: "subprocess.Popen[str]") -> int:
    while process.poll() is None:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    raise ChildProcessError(process.communicate()[1])


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_line_says_what_to_install(missing: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules['{missing}'] = None\n"
        "from certvq.cli import main\n"
        "sys.exit(main())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert found.stderr.startswith("certvq: error: the command line needs ")
    assert found.stderr.endswith(": pip install 'certvq[cli]'\n")
    assert found.stderr.count("\n") == 1


def test_figures_that_a_closed_pipe_cannot_take_are_no_error_of_the_user(
    tmp_path: Path,
) -> None:
    """As with `certvq assign ... | head -1`."""
    np.save(tmp_path / "z.npy", np.zeros((1, 2)))
    np.save(tmp_path / "c.npy", np.zeros((1, 2)))
    code = (
        "import os, sys\n"
        "from certvq.cli import main\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 1)\n"
        "sys.argv = ['certvq', 'assign', 'z.npy', 'c.npy', '--out', 'codes.npy', '--json']\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert "certvq: error" not in found.stderr
    assert (tmp_path / "codes.npy").exists()


def test_an_audit_of_arrays_needs_numpy_and_the_command_line_alone(tmp_path: Path) -> None:
    """The names are of a locale that cannot show them, and the figures go to a full disk."""
    np.save(tmp_path / "ä.npy", np.zeros((1, 2)))
    np.save(tmp_path / "c.npy", np.zeros((2, 2)))
    np.save(tmp_path / "i.npy", np.array([1]))
    code = (
        "import sys\n"
        "for name in ('torch', 'PIL', 'pyarrow', 'safetensors', 'skimage'):\n"
        "    sys.modules[name] = None\n"
        "from certvq.cli import main\n"
        "main()\n"
    )
    arguments = ["audit", "--latents", "ä.npy", "--codebook", "c.npy", "--codes"]
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}

    def run(*more: str, **options: Any) -> Any:
        return subprocess.run(
            [*command, *more],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            **options,
        )

    found = run("i.npy", stdout=subprocess.PIPE)
    assert (found.returncode, found.stderr) == (1, "")
    found = run("ä.npy", stdout=subprocess.PIPE)
    assert found.returncode == 2
    assert found.stderr.startswith("certvq: error: \\xe4.npy, c.npy, \\xe4.npy: codes must have")
    with Path("/dev/full").open("w") as full:
        found = run("i.npy", stdout=full)
    assert found.returncode == 2
    assert found.stderr == "certvq: error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("assign absent absent --out codes 2>/dev/full", 2),
        ("assign absent absent --out codes 2>&-", 2),
        ("info --json >&-", 0),
    ],
)
def test_an_output_that_takes_nothing_leaves_the_status(
    tmp_path: Path, line: str, status: int
) -> None:
    """Status 1, which Python gives, would mean a wrong code."""
    command = ["sh", "-c", f'"$0" -m certvq {line}', sys.executable]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (status, "", "")


def test_a_deleted_working_directory_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from certvq.cli import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", code, "encode", "m", "a.png", "--out", "t.parquet"],
        capture_output=True,
        text=True,
        check=False,
        cwd=gone,
    )
    line = "certvq: error: the working directory was deleted; change to another one\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", line)
