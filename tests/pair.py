"""Two long-lived processes in which tests of `torch.distributed` run their scenarios.

A start of torch costs seconds, so that all tests share one pair. A scenario is a function of a
test file, `scenario(rank, *arguments)`; both processes load the file and call it at the same time,
within a gloo group of their own. A scenario with one `yield` does what stands before it before
there is a group. What it returns comes back, by rank; a process that takes longer than the limit is
killed with the other one, and the test fails. Scenarios import `agree` and `load` from `pair`.
"""

import contextlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from datetime import timedelta
from pathlib import Path

LIMIT = 180.0
"""Seconds that a scenario may take."""
START = 180.0
"""Seconds that the start of the processes may take, in which they import torch."""


class Pair:
    """The two processes, started when they are first needed."""

    def __init__(self):
        self._workers = []
        self._count = 0
        self._folder = tempfile.TemporaryDirectory()

    def run(self, scenario, *arguments, limit=LIMIT, timeout=60.0):
        """Run a scenario in both processes; return what it returned in each.

        Args:
            scenario: a function at the top level of a test file.
            arguments: its arguments after the rank, which JSON can hold; results likewise.
            limit: seconds after which both processes are killed.
            timeout: seconds that a collective may take; the group's own limit.
        """
        self._start()
        self._count += 1
        job = {
            "file": scenario.__code__.co_filename,
            "name": scenario.__name__,
            "arguments": arguments,
            "store": str(Path(self._folder.name) / f"store{self._count}"),
            "timeout": timeout,
        }
        for worker in self._workers:
            worker.stdin.write(json.dumps(job) + "\n")
            worker.stdin.flush()
        found = [json.loads(answer) for answer in self._answers(limit)]
        errors = [answer["error"] for answer in found if answer["error"]]
        if errors:
            self.close()  # their group may be in any state
            raise AssertionError("\n".join(errors))
        return [answer["result"] for answer in found]

    def _answers(self, limit):
        """Read a line of each process."""
        killer = threading.Timer(limit, self._kill)
        killer.start()
        try:
            answers = [worker.stdout.readline() for worker in self._workers]
        finally:
            killer.cancel()
        if not all(answers):
            self.close()
            ended = [rank for rank, answer in enumerate(answers) if not answer]
            raise AssertionError(f"processes {ended} ended, or were killed after {limit} s")
        return answers

    def close(self):
        """End both processes."""
        self._kill()
        for worker in self._workers:
            worker.wait()
            worker.stdin.close()
            worker.stdout.close()
        self._workers = []

    def end(self):
        """End both processes for good."""
        self.close()
        self._folder.cleanup()

    def _kill(self):
        for worker in self._workers:
            worker.kill()

    def _start(self):
        if all(worker.poll() is None for worker in self._workers) and self._workers:
            return
        self.close()
        self._workers = [
            subprocess.Popen(
                [sys.executable, __file__, str(rank)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for rank in range(2)
        ]
        self._answers(START)


def _work(rank):
    import torch
    from torch import distributed

    import certvq.nn  # noqa: F401 (so that scenarios take no longer than they have to)

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        job = json.loads(line)
        answer = {"result": None, "error": ""}
        try:
            torch.manual_seed(1 + rank)
            answer["result"] = _play(job, rank)
        except BaseException:  # noqa: BLE001 (reported)
            answer["error"] = f"rank {rank}: {traceback.format_exc()}"
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        with contextlib.suppress(Exception):  # a scenario may have ended it
            distributed.destroy_process_group()


def _play(job, rank):
    from torch import distributed

    scenario, steps = getattr(load(job["file"]), job["name"]), None
    if inspect.isgeneratorfunction(scenario):
        steps = scenario(rank, *job["arguments"])
        next(steps)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{job['store']}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=job["timeout"]),
    )
    if steps is None:
        return scenario(rank, *job["arguments"])
    try:
        next(steps)
    except StopIteration as end:
        return end.value


def agree(state, where):
    """Assert that the first process has the same numbers in a state, however it is nested.

    But for generators: where one process chooses for all, the others draw nothing.
    """
    import torch
    from torch import distributed
    from torch.utils._pytree import tree_flatten_with_path

    leaves = [
        leaf
        for path, leaf in tree_flatten_with_path(state)[0]
        if isinstance(leaf, torch.Tensor) and "generator_state" not in str(path)
    ]
    mine = torch.cat([leaf.detach().double().flatten() for leaf in leaves])
    first = mine.clone()
    distributed.broadcast(first, src=0)
    assert torch.equal(mine, first), f"{where}: another process has other numbers"
    return mine


def load(path):
    """Load a file of tests as a module."""
    path = str(path)
    name = "scenarios_" + path.replace(os.sep, "_").removesuffix(".py")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


if __name__ == "__main__":
    _work(int(sys.argv[1]))
