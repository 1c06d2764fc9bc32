"""A folder is one process's at a time, and nothing of a lock is left."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from certvq._files.leftovers import LOCK
from certvq._files.lock import folder_lock
from certvq.errors import OptionError

HOLD = """
import sys
from pathlib import Path
from certvq._files.lock import folder_lock
with folder_lock(Path("run")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with (
        pytest.raises(OptionError, match="run: is a file; give a folder that does not exist yet"),
        folder_lock(tmp_path / "run"),
    ):
        pass


def test_another_process_is_named_until_it_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with (
                pytest.raises(OptionError, match=rf"run: is in use by process {process.pid} on "),
                folder_lock(tmp_path / "run"),
            ):
                pass
        finally:
            process.kill()
    assert (tmp_path / "run" / LOCK).exists()
    with folder_lock(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_blocks_nest_in_one_thread_and_not_in_two(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with folder_lock(tmp_path / "a" / "b"):
                pass
        except OptionError as error:
            refused.append(str(error))

    with folder_lock(tmp_path / "a" / "b"), folder_lock(tmp_path / "a" / "b"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(60)
    assert len(refused) == 1
    assert list(tmp_path.iterdir()) == []  # a folder that nothing was put into is no longer there
