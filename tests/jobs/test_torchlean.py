"""`certvq certify --torchlean`: the job, and the command that shows it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from certvq.errors import OptionError, ShapeError
from certvq.jobs import TorchLean, certify_file
from certvq.torchlean import check_document


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    np.save(tmp_path / "z.npy", np.array([[0.25], [0.75], [0.5]], dtype=np.float16))
    np.save(tmp_path / "c.npy", np.array([[0.0], [1.0]]))
    np.save(tmp_path / "i.npy", np.array([0, 1, 0]))
    return tmp_path / "z.npy", tmp_path / "c.npy", tmp_path / "i.npy"


def test_each_code_gets_documents_that_prove_it(paths, tmp_path):
    found = certify_file(*paths, torchlean=TorchLean(tmp_path / "out"))
    assert found.ok
    assert found.to_json()["torchlean"] == {
        "folder": str(tmp_path / "out"), "documents": 3, "refused": (),
    }  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        f"row{row:06d}.code{end}.json" for row, end in enumerate(["0.le", "1.lt", "0.le"])
    ]
    assert all(check_document(path.read_text()).accepted for path in (tmp_path / "out").iterdir())


def test_a_box_that_is_too_large_leaves_no_document_and_is_not_ok(paths, tmp_path):
    found = certify_file(*paths, torchlean=TorchLean(tmp_path / "out", radius=0.125))
    assert not found.ok
    assert found.documents.count == 2
    assert found.documents.refused == (
        (
            "row 2, code 0: inequality 0 is not proved: its upper bound in the box is 1/4, "
            "required is <= 0"
        ),
    )
    assert not list((tmp_path / "out").glob("row000002*"))


def test_wrong_codes_leave_no_folder(paths, tmp_path):
    np.save(paths[2], np.array([0, 0, 0]))
    found = certify_file(*paths, torchlean=TorchLean(tmp_path / "out"))
    assert (found.ok, found.documents, (tmp_path / "out").exists()) == (False, None, False)


def test_an_encoder_is_a_part_of_the_documents(paths, tmp_path):
    weights = {"0.weight": torch.tensor([[1.0], [-1.0]]), "2.weight": torch.tensor([[1.0, 1.0]])}
    save_file(weights, tmp_path / "abs.safetensors")
    np.save(tmp_path / "x.npy", np.array([[-0.25], [0.75], [-0.5]]))
    options = TorchLean(tmp_path / "out", 2.0**-9, tmp_path / "abs.safetensors", tmp_path / "x.npy")
    found = certify_file(*paths, torchlean=options)
    assert [line[:6] for line in found.documents.refused] == ["row 2,"]
    text = json.loads((tmp_path / "out/row000000.code0.le.json").read_text())
    assert [layer["kind"] for layer in text["layers"]] == ["linear", "relu", "linear"]
    np.save(tmp_path / "x.npy", np.zeros((2, 1)))
    with pytest.raises(ShapeError, match="must have a row for each of 3 codes, got 2"):
        certify_file(
            *paths,
            torchlean=TorchLean(
                tmp_path / "new", 0.0, *map(tmp_path.joinpath, ("abs.safetensors", "x.npy"))
            ),
        )


@pytest.mark.rows(
    ("options", "text"),
    [
        ({"radius": -1.0}, "--radius must be finite and at least 0, got -1.0"),
        ({"radius": float("nan")}, "--radius must be finite"),
        ({"encoder": Path("e")}, "--encoder FILE needs --inputs FILE"),
        ({"inputs": Path("e")}, "--encoder FILE needs --inputs FILE"),
        ({"out": Path(__file__).parent}, "must be a folder that does not exist yet or is empty"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, text, tmp_path):
    with pytest.raises(OptionError, match=text):
        TorchLean(**{"out": tmp_path / "out", **options}).claim()
