"""A job that is killed, or whose disk is full, and begun again."""

import os
import subprocess
import sys
import time

import pytest

import certvq

JOB = """
import sys, certvq
model, source, out = sys.argv[1:]
certvq.tokenize(model, source, out, files_per_part=3, batch_size=2)
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


SERVER = """
import os, random, shutil, signal, sys, time
import certvq, torch
model, source, out, moments = *sys.argv[1:4], int(sys.argv[4])
torch.set_num_threads(1)
moment, finished = random.Random(3), 0
for _ in range(moments):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            certvq.tokenize(model, source, out, files_per_part=3, batch_size=2)
            status = 0
        finally:
            os._exit(status)
    time.sleep(moment.uniform(0.0, 0.5))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        os.rename(out, f"{out}-{finished}")
        finished += 1
print(finished)
"""
"""Forks jobs, so that a kill falls into the job, not into imports; a process without threads."""


@pytest.mark.slow
@pytest.mark.parametrize("moments", [50])
def test_kill_9_at_random_moments_loses_nothing(model_dir, pictures, tmp_path, content, moments):
    source, out = pictures(40, broken=[7]), tmp_path / "out"
    certvq.tokenize(model_dir, source, tmp_path / "whole", files_per_part=3)
    wanted = content(tmp_path / "whole")
    command = [sys.executable, "-c", SERVER, model_dir, source, out, str(moments)]
    told = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=True, timeout=500
    )
    finished = int(told.stdout.split()[-1])
    assert finished < moments  # some were killed in the middle
    assert [content(tmp_path / f"out-{n}") == wanted for n in range(finished)] == [True] * finished
    certvq.tokenize(model_dir, source, out, files_per_part=3)
    assert content(out) == wanted


def test_a_killed_process_is_followed_by_one_that_finishes(model_dir, pictures, tmp_path, content):
    source = pictures(60)
    certvq.tokenize(model_dir, source, tmp_path / "whole", files_per_part=3)
    job = start(model_dir, source, tmp_path / "out")
    first = tmp_path / "out/parts/part-00000.parquet"
    until = time.monotonic() + 60
    while not first.exists() and job.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    job.kill()
    job.communicate()
    assert first.exists()
    found = certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=3)
    assert found.skipped >= 1
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 160 KiB, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a reader may linger


def test_a_full_disk_loses_nothing(model_dir, pictures, tmp_path, small_disk, content):
    source = pictures(30)
    certvq.tokenize(model_dir, source, tmp_path / "whole", files_per_part=3)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(110 << 10))
    with pytest.raises(OSError, match="No space left on device") as caught:
        certvq.tokenize(model_dir, source, small_disk / "out", files_per_part=3)
    assert str(small_disk / "out") in str(caught.value)
    ballast.unlink()
    found = certvq.tokenize(model_dir, source, small_disk / "out", files_per_part=3)
    assert content(small_disk / "out") == content(tmp_path / "whole")
    assert found.parts == 10
