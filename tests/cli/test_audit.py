"""`certvq audit`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Command = Callable[..., Any]


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[[list[int]], tuple[object, ...]]:
    def save(codes: list[int]) -> tuple[object, ...]:
        np.save(tmp_path / "z.npy", np.array([[0.25], [0.75], [0.5]]))
        np.save(tmp_path / "c.npy", np.array([[0.0], [1.0]]))
        np.save(tmp_path / "i.npy", np.array(codes))
        names = {"--latents": "z.npy", "--codebook": "c.npy", "--codes": "i.npy"}
        return tuple(entry for name, file in names.items() for entry in (name, tmp_path / file))

    return save


def test_right_arrays_are_status_0(
    certvq_command: Command, arrays: Callable[[list[int]], tuple[object, ...]]
) -> None:
    found = certvq_command("audit", *arrays([0, 1, 0]))
    assert (found.status, found.out, found.err) == (0, "3 codes audited, 0 violations\n", "")


def test_each_violation_is_printed_and_the_status_is_1(
    certvq_command: Command, arrays: Callable[[list[int]], tuple[object, ...]]
) -> None:
    found = certvq_command("audit", *arrays([0, 0, 1]))
    assert found.status == 1
    assert found.out.splitlines() == [
        "row 1: code 0, nearest 1, excess 0.5",
        "row 2: code 1, nearest 0, excess 0",
        "3 codes audited, 2 violations",
    ]
    as_json = certvq_command("audit", *arrays([0, 0, 1]), "--json")
    assert as_json.status == 1
    assert json.loads(as_json.out)["violations"][0] == {
        "row": 1,
        "code": 0,
        "nearest": 1,
        "excess": 0.5,
    }


def test_a_token_file_is_audited_with_its_model_and_images(
    certvq_command: Command, model_dir: Path, tokens: Path, pictures: Path
) -> None:
    found = certvq_command("audit", model_dir, tokens, pictures)
    assert (found.status, found.err) == (0, "")
    assert found.out == f"{17 * 18 + 21 * 16} codes audited, 0 violations\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model"],
        ["model", "t.parquet"],
        ["--latents", "z.npy", "--codes", "i.npy"],
        ["model", "t.parquet", "a.png", "--codes", "i.npy"],
        ["model", "--latents", "z.npy", "--codebook", "c.npy", "--codes", "i.npy"],
    ],
)
def test_anything_between_the_two_forms_is_bad_usage(
    certvq_command: Command, arguments: list[str]
) -> None:
    found = certvq_command("audit", *arguments)
    assert found.status == 2
    assert (
        "give MODEL_DIR TOKENS IMAGES..., or all of --latents, --codebook and --codes" in found.err
    )


def test_files_that_cannot_be_used_are_named(
    certvq_command: Command, model_dir: Path, tokens: Path, pictures: Path
) -> None:
    (pictures / "notes.txt").write_text("no image")
    found = certvq_command("audit", model_dir, tokens, pictures)
    assert found.status == 0
    assert found.out.endswith("codes audited, 0 violations\n")
    assert found.err.startswith(f"certvq: skipped {pictures / 'notes.txt'}: ")
