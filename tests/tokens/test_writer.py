"""A data set is written part by part, resumed, and never mixed with another."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certvq._files.lock import folder_lock
from certvq.errors import FileFormatError, OptionError
from certvq.tokens import DatasetWriter, open_tokens, verify_tokens, write_part
from certvq.tokens._manifest import write_manifest

KILLED = Path(__file__).parent / "killed.py"


def test_two_runs_give_the_same_bytes(make_set, listing):
    one, two = make_set("one"), make_set("two", batch=3)
    assert listing(one) == listing(two)
    assert set(listing(one)) == {
        "manifest.json",
        *(f"parts/part-0000{n}.parquet" for n in (0, 1, 2)),
    }


def test_a_run_goes_on_where_another_ended(tmp_path, make_job, make_set, columns_of, listing):
    folder = tmp_path / "resumed"

    def crash():
        with DatasetWriter(folder, make_job()) as writer:
            assert writer.missing == (0, 1, 2)
            writer.write(1, columns_of(1))
            raise EOFError

    with pytest.raises(EOFError):
        crash()
    assert open_tokens(folder).missing == (0, 2)
    with DatasetWriter(folder, make_job()) as writer:
        assert (writer.finished, writer.missing) == ({1}, (0, 2))
        for number in reversed(writer.missing):
            writer.write(number, columns_of(number))
        assert [part.number for part in writer.parts] == [0, 1, 2]
    assert listing(folder) == listing(make_set())


def test_parts_of_other_processes_are_entered(tmp_path, make_job, make_set, columns_of, listing):
    with DatasetWriter(tmp_path / "shared", make_job()) as writer:
        for number in (2, 0, 1):
            writer.add(write_part(tmp_path / "shared", make_job(), number, columns_of(number)))
    assert listing(tmp_path / "shared") == listing(make_set())


def test_a_part_that_is_not_there_is_not_entered(tmp_path, make_job, columns_of):
    part = write_part(tmp_path / "elsewhere", make_job(), 0, columns_of(0))
    with (
        pytest.raises(OptionError, match=rf"is not the file of {part.bytes} bytes"),
        DatasetWriter(tmp_path / "set", make_job()) as writer,
    ):
        writer.add(part)


def test_whole_parts_that_the_manifest_lacks_are_taken_over(tokens_dir, make_job, listing):
    before = listing(tokens_dir)
    write_manifest(tokens_dir, make_job(), [])
    with DatasetWriter(tokens_dir, make_job()) as writer:
        assert writer.missing == ()
    assert listing(tokens_dir) == before


def test_damaged_parts_that_the_manifest_lacks_are_made_anew(tokens_dir, make_job):
    path = tokens_dir / "parts/part-00001.parquet"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    write_manifest(tokens_dir, make_job(), [])
    with DatasetWriter(tokens_dir, make_job()) as writer:
        assert writer.missing == (1,)
    assert not path.exists()


def test_a_part_that_was_removed_or_cut_is_missing(tokens_dir, make_job):
    (tokens_dir / "parts/part-00000.parquet").unlink()
    with (tokens_dir / "parts/part-00002.parquet").open("ab") as file:
        file.write(b"x")
    with DatasetWriter(tokens_dir, make_job()) as writer:
        assert writer.missing == (0, 2)


def test_the_folder_of_another_job_is_refused_with_the_difference(tokens_dir, make_job, listing):
    before = listing(tokens_dir)
    for options, text in (
        ({"seed": 1}, "model_sha256 is "),
        ({"sizes": (300, 8)}, "codebooks.1.size is 7 there, given is 8"),
        ({"preprocessing": {"rate": 16000}}, "preprocessing.rate is 24000 there, given is 16000"),
        ({"inputs": ("a", "b", "d")}, "inputs.2 is 'c' there, given is 'd'"),
    ):
        with (
            pytest.raises(OptionError, match=f"holds the data set of another job: {text}"),
            DatasetWriter(tokens_dir, make_job(**options)),
        ):
            pass
    assert listing(tokens_dir) == before


def test_a_part_of_another_job_is_refused(tokens_dir, make_job, columns_of, tmp_path):
    other = write_part(tmp_path / "other", make_job(seed=1), 1, columns_of(1))
    (tmp_path / "other" / other.name).replace(tokens_dir / other.name)
    write_manifest(tokens_dir, make_job(), [])
    with (
        pytest.raises(OptionError, match=r"part-00001\.parquet: is of another job"),
        DatasetWriter(tokens_dir, make_job()),
    ):
        pass


def test_a_folder_of_other_files_is_refused(tmp_path, make_job):
    (tmp_path / "notes.txt").write_text("mine")
    with (
        pytest.raises(OptionError, match="holds files, but no manifest.json"),
        DatasetWriter(tmp_path, make_job()),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_newer_manifest_is_refused_by_its_version(tokens_dir, make_job):
    path = tokens_dir / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with (
        pytest.raises(FileFormatError, match=r"manifest\.json: is of format 3, .* of format 2"),
        DatasetWriter(tokens_dir, make_job()),
    ):
        pass


def test_the_second_writer_is_told_who_holds_the_folder(tokens_dir, make_job):
    code = f"""
import sys
from pathlib import Path
from certvq._files.lock import folder_lock
with folder_lock(Path({str(tokens_dir)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    try:
        with (
            pytest.raises(OptionError, match=f"is in use by process {holder.pid} on "),
            DatasetWriter(tokens_dir, make_job()),
        ):
            pass
    finally:
        holder.communicate()
    with DatasetWriter(tokens_dir, make_job()) as writer:
        assert writer.missing == ()


def test_the_lock_ends_with_the_writer(tokens_dir, make_job):
    with DatasetWriter(tokens_dir, make_job()):
        pass
    with folder_lock(tokens_dir):
        assert os.access(tokens_dir, os.W_OK)


def test_the_manifest_takes_little_of_the_time(tmp_path, make_job, columns_of, monkeypatch):
    """Ten thousand parts do not write ten thousand manifests of ten thousand lines."""
    written = []

    def slow(*arguments):
        written.append(time.monotonic())
        time.sleep(0.02)
        write_manifest(*arguments)

    monkeypatch.setattr("certvq.tokens._writer.write_manifest", slow)
    job = make_job(inputs=[str(number) for number in range(20)])
    with DatasetWriter(tmp_path / "set", job) as writer:
        for number in writer.missing:
            writer.write(number, columns_of(number, rows=1))
    assert len(written) < 12
    assert open_tokens(tmp_path / "set").complete


def kill_at_random(folder, kills):
    done = subprocess.run(
        [sys.executable, str(KILLED), str(folder), str(kills)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_kills(folder, kills, listing):
    found = kill_at_random(folder, kills)
    assert found["kills"] >= kills
    assert found["broken"] == []
    assert found["halfway"] > 0 or kills < 50  # a few may all come before the first part
    undisturbed = listing(folder / "undisturbed")
    for number in range(found["sets"]):
        assert listing(folder / f"killed-{number}") == undisturbed
    assert verify_tokens(folder / "undisturbed").ok


def test_a_killed_writer_leaves_whole_parts(tmp_path, listing):
    check_kills(tmp_path, 6, listing)


@pytest.mark.slow
def test_fifty_kills_leave_whole_parts(tmp_path, listing):
    check_kills(tmp_path, 50, listing)
