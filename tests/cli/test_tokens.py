"""`certvq verify`, `certvq stats` and `certvq export`, of a token file and of a data set."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from certvq.tokens import DatasetWriter, Job

Command = Callable[..., Any]


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A data set of two parts, each of one row of four tokens."""
    job = Job.of(
        torch.nn.Identity(), [torch.zeros(8, 2)], modality="audio", inputs=["a.wav", "b.wav"]
    )
    with DatasetWriter(tmp_path / "set", job) as writer:
        for number in writer.missing:
            row = {"key": [f"k{number}"], "shape": [(4,)], "size": [(12000, 24000)]}
            writer.write(number, [row | {"codes": [[0, 1, 2, 3]], "decided_by": [(4, 0, 0)]}])
    return tmp_path / "set"


def test_a_set_as_it_was_written_is_status_0(certvq_command: Command, data_set: Path) -> None:
    found = certvq_command("verify", data_set)
    text = "2 parts, 2 rows and 8 codes verified, 0 problems\n"
    assert (found.status, found.out, found.err) == (0, text, "")


def test_a_token_file_is_verified_too(certvq_command: Command, tokens: Path) -> None:
    assert certvq_command("verify", tokens).status == 0


def test_problems_are_named_with_status_1_and_repaired(
    certvq_command: Command, data_set: Path
) -> None:
    name = "parts/part-00001.parquet"
    (data_set / name).write_bytes(b"PAR1")
    found = certvq_command("verify", data_set, "--json")
    assert found.status == 1
    (problem,) = json.loads(found.out)["problems"]
    assert problem["part"] == name
    assert problem["text"].startswith("has 4 bytes, the manifest says ")
    found = certvq_command("verify", data_set, "--repair")
    assert found.status == 1
    assert f"{name}: removed; run the job again to make it anew\n" in found.out
    found = certvq_command("verify", data_set)
    assert found.out.startswith(f"{name}: is missing\n")
    assert found.out.endswith("1 parts, 1 rows and 4 codes verified, 1 problems\n")


def test_statistics(certvq_command: Command, data_set: Path, tmp_path: Path) -> None:
    page = tmp_path / "codes.html"
    found = certvq_command("stats", data_set, "--json", "--histogram", page)
    assert found.status == 0
    figures = json.loads(found.out)
    assert figures["tokens"] == 8
    assert figures["bits_per_second"] == 8 * 3 / 1.0
    assert figures["entropy_bits_per_token"] == 2.0
    assert figures["codebooks"][0]["usage"] == 0.5
    assert "codebook 0: 4 of 8 codes used" in page.read_text()


def test_statistics_as_a_table(certvq_command: Command, tokens: Path) -> None:
    found = certvq_command("stats", tokens)
    assert found.status == 0
    assert "bits per pixel" in found.out


@pytest.mark.parametrize("to", ["npy", "webdataset", "mds", "datasets"])
def test_exports(certvq_command: Command, data_set: Path, tmp_path: Path, to: str) -> None:
    found = certvq_command("export", data_set, "--to", to, "--out", tmp_path / "out")
    assert found.out == f"{tmp_path / 'out'}\n"
    assert (found.status, found.err) == (0, "")
    assert any((tmp_path / "out").iterdir())
    if to == "npy":
        assert np.load(tmp_path / "out/codes.npy").ravel().tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("command", ["verify", "stats"])
def test_what_is_no_set_is_one_line(certvq_command: Command, tmp_path: Path, command: str) -> None:
    found = certvq_command(command, tmp_path)
    assert (found.status, found.out) == (2, "")
    assert found.err.count("\n") == 1
    assert "manifest.json: cannot be opened" in found.err


def test_a_folder_that_holds_something_is_no_place_for_an_export(
    certvq_command: Command, data_set: Path
) -> None:
    found = certvq_command("export", data_set, "--to", "npy", "--out", data_set)
    assert found.status == 2
    assert "must be a folder that does not exist yet or is empty" in found.err
