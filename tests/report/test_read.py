"""`read_run`: a run directory as one value, and files that do not belong together."""

import json
import re

import numpy as np
import pytest

from certvq.errors import DigestMismatchError, FileFormatError
from certvq.runs._read import read_run


def _rewrite_arrays(path, **changes):
    with np.load(path) as arrays:
        content = {key: arrays[key] for key in arrays.files}
    np.savez(
        path, **{key: value for key, value in (content | changes).items() if value is not None}
    )


def _refused(run_dir, name, text, kind=FileFormatError):
    with pytest.raises(kind, match=re.escape(text)) as error:
        read_run(run_dir)
    assert str(error.value).startswith(f"{run_dir / name}: ")


def test_complete_run_lacks_nothing(run_dir):
    run = read_run(run_dir)
    assert run.missing == ()
    assert [photo.figures.key for photo in run.photos] == ["harbour", "hills", "portrait"]
    assert [photo.codes.shape for photo in run.photos] == [(10, 16), (9, 13), (16, 12)]
    assert run.counts.sum() == run.summary.codes_total == 469
    assert run.counts.shape == (16,)
    assert run.codebook.shape == (16, 3)
    assert run.metrics[-1]["step"] == 40


def test_latent_norm_is_the_root_mean_square_over_all_rows(run_dir):
    with np.load(run_dir / "heldout/latents.npz") as arrays:
        rows = np.concatenate([arrays[key] for key in arrays.files]).astype(np.float64)
    expected = np.sqrt((rows**2).sum() / len(rows))
    assert abs(read_run(run_dir).latent_norm - expected) < 1e-12 * expected


def test_photograph_without_radii_is_noted(run_dir):
    _rewrite_arrays(run_dir / "heldout/stability.npz", hills=None)
    run = read_run(run_dir)
    assert run.photos[1].radius is None
    assert run.photos[2].radius is not None
    assert run.missing == ("heldout/stability.npz: hills",)


def test_photograph_without_latents_is_noted(run_dir):
    _rewrite_arrays(run_dir / "heldout/latents.npz", hills=None)
    run = read_run(run_dir)
    assert run.latent_norm is not None
    assert run.latent_norm > 0
    assert run.missing == ("heldout/latents.npz: hills",)


@pytest.mark.parametrize(
    "radius",
    [np.zeros((3, 3)), np.full((9, 13), -1.0), np.full((9, 13), np.nan), np.zeros((9, 13), int)],
)
def test_radii_that_are_none_are_refused(run_dir, radius):
    _rewrite_arrays(run_dir / "heldout/stability.npz", hills=radius)
    _refused(run_dir, "heldout/stability.npz", "'hills' must hold 9 x 13 radii of at least 0, got")


@pytest.mark.parametrize(
    "rows", [np.zeros((117, 3), int), np.zeros(117), np.zeros((5, 3)), np.full((117, 3), np.inf)]
)
def test_latents_that_are_none_are_refused(run_dir, rows):
    _rewrite_arrays(run_dir / "heldout/latents.npz", hills=rows)
    _refused(run_dir, "heldout/latents.npz", "'hills' must hold 117 rows of finite floats, got")


@pytest.mark.parametrize(
    "name", ["summary.json", "model/config.json", "train.json", "heldout/stability.npz"]
)
def test_truncated_file_is_named(run_dir, name):
    path = run_dir / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _refused(run_dir, name, str(run_dir / name))


@pytest.mark.parametrize("name", ["tokens.parquet", "model/model.safetensors"])
def test_empty_file_is_named(run_dir, name):
    (run_dir / name).write_bytes(b"")
    _refused(run_dir, name, str(run_dir / name))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"split": "test", "step": 1}, "got split 'test' and step 1"),
        ({"split": "train", "step": "1"}, "got split 'train' and step '1'"),
        ({"step": 1}, "got split None and step 1"),
    ],
)
def test_line_of_another_kind_is_named(run_dir, line, text):
    path = run_dir / "metrics.jsonl"
    path.write_text(json.dumps(line) + "\n" + path.read_text())
    _refused(run_dir, "metrics.jsonl", text)


def test_summary_of_another_codebook_is_refused(run_dir, change_summary):
    change_summary(codebook_sha256="0" * 64)
    text = f"names the codebook {'0' * 64}, but {run_dir / 'model/model.safetensors'} holds"
    _refused(run_dir, "summary.json", text, DigestMismatchError)


def test_tokens_of_another_model_are_refused(run_dir, fabricate, tmp_path):
    other = fabricate(tmp_path / "other", ["harbour", "hills", "portrait"], seed=8)
    (other / "tokens.parquet").replace(run_dir / "tokens.parquet")
    _refused(run_dir, "tokens.parquet", "the files are of different runs", DigestMismatchError)


def test_model_configuration_of_another_codebook_is_refused(run_dir):
    path = run_dir / "model/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"codebook_sha256": "f" * 64}))
    _refused(run_dir, "model/config.json", f"names the codebook {'f' * 64}", DigestMismatchError)


def test_codebook_size_of_the_summary_must_be_the_models(run_dir, change_summary):
    change_summary(codebook_size=512)
    _refused(run_dir, "summary.json", "codebook_size is 512, but")


def test_tokens_of_other_photographs_are_refused(run_dir, fabricate, tmp_path):
    other = fabricate(tmp_path / "other", ["harbour", "hills", "forest"])
    (other / "tokens.parquet").replace(run_dir / "tokens.parquet")
    text = "holds the photographs ['forest', 'harbour', 'hills'], but summary.json names"
    _refused(run_dir, "tokens.parquet", text)


def test_tokens_of_another_size_are_refused(run_dir, fabricate, tmp_path):
    other = fabricate(tmp_path / "other", ["harbour", "portrait", "hills"])
    (other / "tokens.parquet").replace(run_dir / "tokens.parquet")
    text = "'hills' has 192 tokens for 64 x 48 pixels, but summary.json says 117 for 33 x 50"
    _refused(run_dir, "tokens.parquet", text)
