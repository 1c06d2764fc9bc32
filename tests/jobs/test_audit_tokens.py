"""A token file is audited against the latents of its images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certvq import jobs
from certvq.errors import DataError, DigestMismatchError
from certvq.jobs import audit_tokens, encode_images
from certvq.models import VQVAE
from certvq.tokens import TokenRecord, read_tokens
from certvq.tokens._write import write_records


@pytest.fixture
def tokens(model_dir: Path, pictures: Path, tmp_path: Path) -> Path:
    encode_images(model_dir, [pictures], tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_what_was_encoded_here_passes(model_dir: Path, tokens: Path, pictures: Path) -> None:
    found = audit_tokens(model_dir, tokens, [pictures])
    assert found.ok
    assert found.rows == 6 * 5 + 5 * 9


def test_one_wrong_code_is_found_in_its_photograph(
    model_dir: Path, tokens: Path, pictures: Path
) -> None:
    file = read_tokens(tokens)
    first, second = file.records
    codes = second.codes.copy()
    right = int(codes[11])
    codes[11] = (right + 1) % 8
    changed = TokenRecord(second.key, second.shape, second.size, codes)
    write_records(tokens, [first, changed], file.header)
    found = audit_tokens(model_dir, tokens, [pictures])
    assert [entry.to_json() for entry in found.violations] == [
        {
            "key": "b",
            "row": 11,
            "code": (right + 1) % 8,
            "nearest": right,
            "excess": float(found.violations[0].violation.excess),
        }
    ]
    assert found.violations[0].violation.excess > 0


def test_progress_is_told_of_each_photograph(model_dir: Path, tokens: Path, pictures: Path) -> None:
    told: list[tuple[str, int, int]] = []
    audit_tokens(model_dir, tokens, [pictures], progress=lambda *call: told.append(call))
    assert [call for call in told if call[0] == "auditing"] == [
        ("auditing", 1, 2),
        ("auditing", 2, 2),
    ]


def test_a_missing_image_is_named(model_dir: Path, tokens: Path, pictures: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet: no image given has the key 'b'; give the"):
        audit_tokens(model_dir, tokens, [pictures / "a.png"])


def test_an_image_of_another_size_is_named(model_dir: Path, tokens: Path, pictures: Path) -> None:
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(pictures / "a.png")
    with pytest.raises(
        DataError, match="'a' was 24 x 20 pixels when it was encoded, .* is 24 x 24"
    ):
        audit_tokens(model_dir, tokens, [pictures])


def test_tokens_of_another_model_are_refused(
    model_dir: Path, tokens: Path, pictures: Path, tmp_path: Path
) -> None:
    other = VQVAE.from_pretrained(model_dir)
    next(other.decoder.parameters()).data.mul_(2)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        DigestMismatchError, match=r"t\.parquet: the tokens were made with the model"
    ):
        audit_tokens(tmp_path / "other", tokens, [pictures])


def test_extra_images_are_left_alone(
    model_dir: Path, tokens: Path, pictures: Path, draw_folder: Callable[..., Path]
) -> None:
    other = draw_folder("other", c=(8, 8, 3))
    assert audit_tokens(model_dir, tokens, [pictures, other]).ok


def test_unusable_files_are_reported(model_dir: Path, tokens: Path, pictures: Path) -> None:
    (pictures / "notes.txt").write_text("no image")
    found = audit_tokens(model_dir, tokens, [pictures])
    assert [entry.path.name for entry in found.skipped] == ["notes.txt"]
    assert found.ok


def test_a_missing_image_that_was_skipped_is_named_with_the_reason(
    model_dir: Path, tokens: Path, pictures: Path
) -> None:
    (pictures / "b.png").write_bytes(b"no image")
    (pictures / "ab.png").write_bytes(b"no image")
    text = r"has the key 'b'; skipped was \S*/b\.png: not a readable image [^;]*; give the images"
    with pytest.raises(DataError, match=text):
        audit_tokens(model_dir, tokens, [pictures])


def test_jobs_are_not_hidden_by_modules_of_their_names() -> None:
    """A package gets its modules as attributes, once they are imported."""
    for name in dir(jobs) * 2:
        assert callable(getattr(jobs, name))
