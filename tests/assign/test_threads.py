"""Blocks on threads: the same answer for any number of them, errors passed on, options checked."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
import torch

import certvq
from certvq import _checker, _native
from certvq.assign import _engine, _threads
from certvq.errors import FloatEnvironmentError, OptionError


@pytest.mark.parametrize("count", ["1", "2", "5"])
def test_codes_do_not_depend_on_the_number_of_threads(rng, monkeypatch, count):
    latents, codebook = rng.integers(-2, 3, (5000, 6)) * 1.0, rng.integers(-2, 3, (700, 6)) * 1.0
    monkeypatch.setattr(_engine, "_WORTH_THREADS", 0)
    monkeypatch.setenv("CERTVQ_NUM_THREADS", "1")
    expected = certvq.assign(latents, codebook)
    monkeypatch.setenv("CERTVQ_NUM_THREADS", count)
    found = certvq.assign(latents, codebook)
    assert (found.codes == expected.codes).all()
    assert (found.decided_by == expected.decided_by).all()


@pytest.mark.rows("rows", [0, 1, 9, 10, 11, 103])
def test_every_block_is_done_once(rows):
    done = np.zeros(rows, dtype=int)

    def work(block):
        done[block] += 1

    for threads in (1, 3):
        _threads.each_block(work, rows, 10, threads=threads)
    assert (done == 2).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_block_is_passed_on(threads):
    def work(block):
        if block.start == 20:
            raise ArithmeticError("block 20")

    with pytest.raises(ArithmeticError, match="block 20"):
        _threads.each_block(work, 100, 10, threads=threads)


def test_no_block_is_begun_after_an_error():
    """So that Ctrl-C does not wait for all of them."""
    begun = []

    def work(block):
        begun.append(block)
        if block.start == 0:
            raise KeyboardInterrupt
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        _threads.each_block(work, 1000, 1, threads=2)
    assert len(begun) < 1000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_of_a_torch_program_does_not_ask_its_threads():
    """Those of OpenMP are not in a child that was forked, which would wait for them for ever."""
    program = """
import os, time, torch, certvq
torch.set_num_threads(2)
for dtype in (torch.float32, torch.bfloat16):
    z, c, codes = (torch.randn(40000, 2) + 1).to(dtype), torch.randn(20000, 2).to(dtype), None
    pid = os.fork()
    if pid == 0:
        some = certvq.prepare(c[:16])
        found = certvq.assign(z, some, backend="numpy", second=True, exact_sqdist=True)
        certvq.rank(z, some, 2), certvq.certify(z, some, found.codes), certvq.prepare(c)
        certvq.stability_radius(z, some, found.codes)
        certvq.assign(z[:4096], c[:4096], backend="torch", second=True)
        os._exit(0)
    for _ in range(600):
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        raise SystemExit("the child hangs")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_waits_for_products_and_leaves_no_lock_behind():
    """OpenBLAS hangs within fork, or in the child; so did a codebook that was being folded."""
    program = """
import os, threading, time, warnings, numpy as np, certvq
from certvq.assign import _prepare, _threads
warnings.simplefilter("ignore")  # threads and fork
begun, over, fold, codebook = threading.Event(), [], _prepare._fold_duplicates, np.eye(3)
def multiply():
    with _threads.no_fork():
        begun.set(), time.sleep(0.3), over.append(True)
def stay(exact):
    begun.set(), time.sleep(600)
def forked(work):
    begun.clear()
    threading.Thread(target=work, daemon=True).start()
    begun.wait()
    pid = os.fork()
    if pid == 0:
        _prepare._fold_duplicates = fold
        codes = certvq.rank(codebook, codebook, 1).codes[:, 0]
        os._exit(0 if over and (codes == range(3)).all() else 1)
    for _ in range(400):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.05)
    os.kill(pid, 9)
    return "the child hangs"
first = forked(multiply)
_prepare._fold_duplicates = stay
print(first, forked(lambda: certvq.prepare(codebook).distinct), flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, text=True)
    assert (done.stdout, done.stderr) == ("0 0\n", "")


def test_threads_check_their_float_environment():
    def work(block):
        pass

    torch.set_flush_denormal(True)
    try:
        with pytest.raises(FloatEnvironmentError, match="subnormal"):
            _threads.each_block(work, 100, 10, threads=2)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_number_of_threads_must_be_positive(monkeypatch, value):
    monkeypatch.setenv("CERTVQ_NUM_THREADS", value)
    with pytest.raises(OptionError, match=f"must be a positive integer, got '{value}'"):
        _native.thread_count()


def test_number_of_threads_is_read_in_order(monkeypatch):
    monkeypatch.delenv("CERTVQ_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    for thread_count in (_native.thread_count, _checker.thread_count):
        assert thread_count() == 5  # torch is loaded, and may have been told by its user
        with monkeypatch.context() as patch:
            patch.setenv("CERTVQ_NUM_THREADS", "4")
            assert thread_count() == 4
            patch.delenv("CERTVQ_NUM_THREADS")
            patch.delitem(sys.modules, "torch")
            assert thread_count() == 3
            patch.delenv("OMP_NUM_THREADS")
            assert thread_count() >= 1


def test_concurrent_calls_give_the_blas_its_threads_back():
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    before = [library["num_threads"] for library in controller.info()]
    rng = np.random.default_rng(0)
    latents, codebook = rng.random((4000, 8)), certvq.prepare(rng.random((1024, 8)))
    with ThreadPoolExecutor(4) as pool, controller.limit(limits=2):
        jobs = [pool.submit(certvq.assign, latents, codebook) for _ in range(12)]
        assert len({job.result().codes.tobytes() for job in jobs}) == 1
        assert {library["num_threads"] for library in controller.info()} == {2}
    assert [library["num_threads"] for library in controller.info()] == before
