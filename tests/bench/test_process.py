"""A search in a process of its own."""

import importlib
import os

import numpy as np
import pytest

from certvq.bench._process import Elsewhere

CODEBOOK = np.zeros((4, 2), np.float32)

OTHER = """
import os
import numpy as np

def prepare(codebook):
    if os.environ["SOME_SETTING"] == "fail":
        raise ValueError("no such setting")

    def search(latents):
        print("noise")
        return np.array([os.getpid(), int(os.environ["SOME_SETTING"]), len(latents)])

    return search
"""


@pytest.fixture
def prepare(monkeypatch, tmp_path):
    """Return a function that another process can import."""
    (tmp_path / "prepared_elsewhere.py").write_text(OTHER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("SOME_SETTING", raising=False)
    return importlib.import_module("prepared_elsewhere").prepare


def test_it_runs_elsewhere_with_its_own_environment(prepare):
    search = Elsewhere(prepare, CODEBOOK, environment={"SOME_SETTING": "7"})
    pid, setting, rows = search(CODEBOOK)
    assert (setting, rows) == (7, 4)
    assert pid != os.getpid()
    seconds, (again, _, rows) = search.timed(CODEBOOK[:2])
    assert (again, rows) == (pid, 2)
    assert seconds > 0
    assert "SOME_SETTING" not in os.environ


def test_what_fails_there_is_told_here(prepare):
    with pytest.raises(RuntimeError, match="ValueError: no such setting"):
        Elsewhere(prepare, CODEBOOK, environment={"SOME_SETTING": "fail"})


def test_a_process_that_ends_is_reported(prepare):
    search = Elsewhere(prepare, CODEBOOK, environment={"SOME_SETTING": "7"})
    search._process.kill()
    search._process.wait()
    with pytest.raises(RuntimeError, match="the other process has ended"):
        search(CODEBOOK)
