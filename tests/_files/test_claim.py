"""An output is tried before the work, and is never an input."""

import os
import socket
from pathlib import Path

import pytest

from certvq._files.claim import claim_file, claim_folder
from certvq.errors import OptionError


def test_an_absent_and_an_older_file_may_be_written(tmp_path: Path) -> None:
    claim_file(tmp_path / "new" / "codes.npy")
    (tmp_path / "codes.npy").touch()
    claim_file(tmp_path / "codes.npy")
    claim_file(Path("/dev/null"))
    assert [path.name for path in tmp_path.iterdir()] == ["codes.npy"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r": is a folder; name a file$"):
        claim_file(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        with pytest.raises(OptionError, match=r"s: is a disk or a socket; name a file$"):
            claim_file(tmp_path / "s")


@pytest.mark.parametrize("name", ["file/out", "x" * 256, "link/out"])
def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for claim in (claim_file, claim_folder):
        with pytest.raises(OSError, match=r"cannot be written \(.*\): .*out|x'"):
            claim(tmp_path / name)


@pytest.mark.parametrize("by", ["name", "link", "hard link", "an absent folder"])
def test_an_input_is_never_an_output(tmp_path: Path, by: str) -> None:
    given, out = tmp_path / "data" / "below" / "a.png", tmp_path / "out"
    given.parent.mkdir(parents=True)
    given.write_bytes(b"a photograph")
    (tmp_path / "data" / "below" / "again").symlink_to("..")
    (tmp_path / "data" / "tokens").write_bytes(b"PAR1")
    if by == "name":
        out = given
    elif by == "an absent folder":
        out = tmp_path / "absent" / ".." / "data" / "below" / "a.png"
    elif by == "link":
        out.symlink_to(given)
    else:
        out.hardlink_to(given)
    for inputs in ((given,), (tmp_path / "data",)):
        with pytest.raises(OptionError, match=r"is an input \(.*a\.png\), which would be lost"):
            claim_file(out, inputs=inputs, magic=b"PAR1")
    claim_file(tmp_path / "data" / "tokens", inputs=(tmp_path / "data",), magic=b"PAR1")


def test_a_folder_must_be_absent_or_empty(tmp_path: Path) -> None:
    claim_folder(tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".old.abcdefgh.part").mkdir()  # of a killed process
    claim_folder(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    (tmp_path / "link").symlink_to("absent")  # its target is written, as of a file
    claim_folder(tmp_path / "link")
    (tmp_path / "old" / "mine").touch()
    for path in (tmp_path / "old", tmp_path / "old" / "mine"):
        with pytest.raises(OptionError, match="must be a folder that does not exist yet or is em"):
            claim_folder(path)
