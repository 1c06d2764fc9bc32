"""Token data sets, made again and compared."""

import numpy as np
import pytest
import torch
from PIL import Image

import certvq
from certvq.errors import DigestMismatchError, OptionError
from certvq.models import VQVAE
from certvq.tokenize import TokenEncoder, audit_set
from certvq.tokens import DatasetWriter, open_tokens


@pytest.fixture
def made(model_dir, pictures, tmp_path):
    """Return a source and its token data set, of three parts."""
    source, out = pictures(10, broken=[4]), tmp_path / "out"
    certvq.tokenize(model_dir, source, out, files_per_part=4, group=2)
    return source, out


def test_all_tokens_or_some_are_made_again(model_dir, made):
    source, out = made
    whole = audit_set(model_dir, out, [source])
    assert (whole.rows, whole.tokens, whole.ok) == (9, open_tokens(out).tokens, True)
    some = audit_set(model_dir, out, [source], rows=3)
    assert (some.rows, some.ok) == (3, True)
    assert 0 < some.tokens < whole.tokens


def test_a_wrong_code_is_found(model_dir, made):
    """One code of one input is changed, in a set that is whole by all its checksums."""
    source, out = made
    job = open_tokens(out).job
    victim = "0007"

    def forged():
        encoder = TokenEncoder(str(model_dir), group=2)
        found = encoder({"key": names, "data": [str(source / f"{n}.png") for n in names]})
        if victim in names:
            codes = found["codes"][names.index(victim)]
            codes[5] = (codes[5] + 1) % 64
        yield found

    (out / "parts/part-00001.parquet").unlink()
    with DatasetWriter(out, job) as writer:
        names = ["0004", "0005", "0006", "0007"]
        writer.write(1, forged())
    report = audit_set(model_dir, out, [source])
    assert [(each.key, each.codes, each.first) for each in report.differing] == [(victim, 1, 5)]
    assert (report.differing[0].found - report.differing[0].made) % 64 == 1
    assert not report.ok
    assert report.to_json()["differing"][0]["key"] == victim


def test_another_model_or_other_sources_are_refused(model_dir, made, tmp_path):
    source, out = made
    config = VQVAE.from_pretrained(model_dir).config
    other = VQVAE(config, generator=torch.Generator().manual_seed(1))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        DigestMismatchError, match="is not of this model and these sources: .*model_sha256"
    ):
        audit_set(tmp_path / "other", out, [source])
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(source / "0000.png")
    with pytest.raises(DigestMismatchError, match=r"inputs.0"):
        audit_set(model_dir, out, [source])


def test_at_least_one_row_is_tried(model_dir, made):
    with pytest.raises(OptionError, match="rows must be at least 1, got 0"):
        audit_set(model_dir, made[1], [made[0]], rows=0)
