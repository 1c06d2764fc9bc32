"""Files and folders written atomically are whole or absent, and as open as any new ones."""

import os
import stat

import pytest

from certvq._atomic import atomic_directory, atomic_path


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
