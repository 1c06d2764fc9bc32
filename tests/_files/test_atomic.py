"""Files and folders written atomically are whole or absent, and as open as any new ones."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from certvq._files import atomic as _atomic
from certvq._files.atomic import atomic_directory, atomic_path, naming_file
from certvq._files.leftovers import sweep


@pytest.fixture(params=[0o022, 0o077, 0o002])
def mask(request):
    """Set the umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_all_in_a_folder_gets_the_permissions_of_new_files(tmp_path, mask):
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "sub").mkdir(mode=0o700)
        for path in (folder / "a", folder / "sub" / "b"):
            path.write_text("whole")
            path.chmod(0o600)
    out = tmp_path / "out"
    assert {mode(out / "a"), mode(out / "sub" / "b")} == {0o666 & ~mask}
    assert {mode(out), mode(out / "sub")} == {0o777 & ~mask}


def test_an_executable_stays_executable(tmp_path, mask):
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "tool").write_text("#!/bin/sh")
        (folder / "tool").chmod(0o700)
    assert mode(tmp_path / "out" / "tool") == 0o777 & ~mask


def test_what_a_link_points_to_is_left_alone(tmp_path):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "secret").chmod(0o600)
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "link").symlink_to(tmp_path / "secret")
        (folder / "broken").symlink_to(tmp_path / "nowhere")
    assert mode(tmp_path / "secret") == 0o600


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """Forced out: the file before it is renamed, then the names in its folder."""
    forced = []

    def fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        forced.append((path, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_path(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert forced == [(partial, False), (tmp_path, True)]


def test_a_file_gets_the_permissions_of_a_new_one(tmp_path, mask):
    with atomic_path(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert mode(tmp_path / "file") == 0o666 & ~mask


def _fail_in(manager, name):
    with manager as partial:
        (partial / name if name else partial).write_text("half")
        raise RuntimeError("power cut")


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError, match="power cut"):
        _fail_in(atomic_directory(tmp_path / "folder"), "new")
    with pytest.raises(RuntimeError, match="power cut"):
        _fail_in(atomic_path(tmp_path / "file"), "")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "file",
        "folder",
        "folder/old",
    ]
    assert (tmp_path / "file").read_text() == "old"


def test_an_older_folder_is_replaced_as_a_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_directory(tmp_path / "out") as folder:
            (folder / name).write_text(name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "text", ["200000 requested and 18928 written", "I/O error: No space left (os error 28)"]
)
def test_the_system_s_reason_is_found_in_what_a_library_says(tmp_path, text):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/inner'") as found,
        naming_file(tmp_path / "outer"),
        naming_file(tmp_path / "inner"),
    ):
        raise OSError(text)
    assert found.value.errno == errno.ENOSPC


def write(path, text):
    with atomic_path(path) as partial:
        partial.write_text(text)


def test_the_target_of_a_link_is_written_and_modes_are_kept(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("below/new")
    write(tmp_path / "link", "new")
    write(tmp_path / "dangling", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "file").read_text() == (tmp_path / "below/new").read_text() == "new"
    assert mode(tmp_path / "file") == 0o640
    (tmp_path / "out").mkdir(mode=0o750)
    (tmp_path / "folder").symlink_to("out")
    with atomic_directory(tmp_path / "folder") as folder:
        (folder / "file").touch()
    assert (tmp_path / "folder").is_symlink()
    assert mode(tmp_path / "out") == 0o750


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "pipe", "whole")
    assert os.read(reader, 99) == b"whole"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write(Path("/dev/full"), "whole")


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    name = "ä" * 127
    write(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "error",
    [lambda _: OSError(28, "full"), lambda p: OSError(28, "full", p), lambda _: OSError("full")],
)
def test_an_error_names_the_final_file(tmp_path, error):
    with (
        pytest.raises(OSError, match=rf"{tmp_path}/file(: full|')$"),
        atomic_path(tmp_path / "file") as partial,
    ):
        raise error(str(partial))


def test_the_working_directory_is_filled_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".here.abcdefgh.part").mkdir()  # a killed process left it
    monkeypatch.chdir(tmp_path / "here")
    before = (tmp_path / "here").stat().st_ino
    with atomic_directory(Path(), replace=False) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in Path().iterdir()] == ["new"]
    assert (tmp_path / "here").stat().st_ino == before
    with atomic_directory(Path()) as folder:
        (folder / "other").write_text("new")
    assert [path.name for path in Path().iterdir()] == ["other"]


@pytest.mark.parametrize("here", [False, True])
def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path, monkeypatch, here):
    (tmp_path / "out").mkdir()
    if here:
        monkeypatch.chdir(tmp_path / "out")

    def fill_both():
        with atomic_directory(tmp_path / "out", replace=False) as folder:
            (folder / "new").touch()
            (tmp_path / "out" / "mine").write_text("mine")

    with pytest.raises(OSError, match="not empty"):
        fill_both()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("after", range(3))
def test_a_folder_is_old_or_new_wherever_replacing_it_is_cut(
    tmp_path, monkeypatch, swaps, error, after
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    rename, exchange, calls = Path.rename, _atomic._exchange, iter(range(9))

    def cut(change):
        def run(*arguments):
            if next(calls) == after:
                raise error
            return change(*arguments)

        return run

    monkeypatch.setattr(Path, "rename", cut(rename))
    monkeypatch.setattr(_atomic, "_exchange", cut(exchange) if swaps else lambda *_: False)
    with contextlib.suppress(error), atomic_directory(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() in ("old", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from certvq._files import atomic as _atomic
rename = Path.rename
def cut(old, new):
    rename(old, new)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = cut
_atomic._exchange = lambda *_: False
with _atomic.atomic_directory(Path("out")) as folder:
    (folder / "file").write_text("new")
"""


def test_what_a_killed_process_leaves_is_put_back_or_removed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".old", ".part"]
    with atomic_path(tmp_path / "other") as partial:
        sweep(tmp_path / "other")
        assert partial.exists()  # another's is left, and one's own
    sweep(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]
    assert (tmp_path / "out" / "file").read_text() == "old"
