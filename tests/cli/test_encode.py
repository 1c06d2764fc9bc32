"""`certvq encode`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certvq.jobs import EncodedImages
from certvq.jobs import encode as encoding
from certvq.tokens import open_tokens, read_tokens

Command = Callable[..., Any]


def test_files_and_folders_become_one_token_file(
    certvq_command: Command, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "t.parquet"
    found = certvq_command("encode", model_dir, pictures / "b.png", "--out", out, "--json")
    assert (found.status, found.err) == (0, "")
    assert json.loads(found.out)["images"] == 1
    assert [record.key for record in read_tokens(out).records] == ["b"]
    found = certvq_command("encode", model_dir, pictures, "--out", out)
    assert str(out) in found.out
    assert [record.key for record in read_tokens(out).records] == ["a", "b"]


def test_what_is_no_image_in_a_folder_is_named_and_counted(
    certvq_command: Command, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "notes.txt").write_text("no image")
    options = ("--out", tmp_path / "t.parquet", "--json")
    found = certvq_command("encode", model_dir, pictures, *options)
    assert found.status == 0
    assert json.loads(found.out)["skipped"] == 1
    assert "notes.txt: not a readable image" in found.err
    assert found.err.endswith("certvq: 1 files skipped\n")


def test_a_wrong_code_is_status_1(
    certvq_command: Command, model_dir: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(*_: Any, **__: Any) -> EncodedImages:
        return EncodedImages({"audit_violations": 1}, [])

    monkeypatch.setattr(encoding, "encode_images", spoiled)
    assert certvq_command("encode", model_dir, pictures, "--out", "t.parquet").status == 1


def test_held_out_originals_are_encoded_alone(
    certvq_command: Command, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    """The shell hands over `heldout/*.original.png` as names of files."""
    names = [pictures / f"{key}.png" for key in "ab"]
    originals = [path.rename(path.with_name(f"{path.stem}.original.png")) for path in names]
    found = certvq_command("encode", model_dir, *originals, "--out", tmp_path / "t.parquet")
    assert (found.status, found.err) == (0, "")
    keys = [record.key for record in read_tokens(tmp_path / "t.parquet").records]
    assert keys == ["a.original", "b.original"]
    audited = certvq_command("audit", model_dir, tmp_path / "t.parquet", *originals)
    assert audited.status == 0


def test_canonical_codes_are_encoded_counted_and_audited(
    certvq_command: Command, model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "t.parquet"
    found = certvq_command("encode", model_dir, pictures, "--out", out, "--canonical", "--json")
    assert (found.status, found.err) == (0, "")
    figures = json.loads(found.out)
    assert (figures["canonical"], list(figures["decided_by"])) == (
        True,
        ["float64", "wider", "exact"],
    )
    assert certvq_command("audit", model_dir, out, pictures).status == 0
    assert json.loads(certvq_command("stats", out, "--json").out)["canonical"]
    tokenized = certvq_command(
        "tokenize", model_dir, pictures, "--out", tmp_path / "set", "--canonical", "--json"
    )
    assert json.loads(tokenized.out.splitlines()[0])["rows"] == 2
    assert open_tokens(tmp_path / "set").canonical
    there, set_ = open_tokens(out).records(), open_tokens(tmp_path / "set").records()
    assert [one.codes.tolist() for one in there] == [other.codes.tolist() for other in set_]
