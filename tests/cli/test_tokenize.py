"""`certvq tokenize`, and `audit` and `decode` of token data sets; also `certvq.cli._job_bar`.

Also of `certvq.cli._export`, `certvq.cli._stats` and `certvq.cli._verify`.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from certvq.data import read_image
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokenize._audit import Differing


@pytest.fixture
def made(tmp_path, rng, monkeypatch):
    """Work in a folder with a model and five pictures, one of which is broken."""
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=16)
    VQVAE(config, generator=torch.Generator().manual_seed(2)).save_pretrained(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for number in range(5):
        pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{number}.png")
    (tmp_path / "in/3.png").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    return tmp_path


TOKENIZE = ("tokenize", "model", "in", "--out", "out", "--files-per-part", "2")


def test_it_tells_what_it_made_and_what_failed(made, certvq_command):
    done = certvq_command(*TOKENIZE)
    assert done.status == 0
    assert "The tokens are in out" in done.out
    assert "3: not a readable image" in done.out


def test_without_a_failed_input_none_is_listed(made, certvq_command):
    (made / "in/3.png").unlink()
    assert "first failed" not in certvq_command(*TOKENIZE).out


def test_json_has_a_line_for_each_part_and_then_the_figures(made, certvq_command):
    done = certvq_command(*TOKENIZE, "--json")
    lines = done.out.splitlines()
    parts = [json.loads(line) for line in lines[:3]]
    assert [part["part"] for part in parts] == [f"parts/part-0000{n}.parquet" for n in range(3)]
    assert [part["failed"] for part in parts] == [0, 1, 0]
    figures = json.loads("\n".join(lines[3:]))
    assert (figures["parts"], figures["inputs"], figures["failed"]) == (3, 5, 1)
    again = json.loads(certvq_command(*TOKENIZE, "--json").out)
    assert list(again["decided_by"]) == ["filter", "refined", "exact"]
    assert again["parts_skipped"] == 3
    assert again["tokens"] == figures["tokens"] == sum(part["tokens"] for part in parts)


def test_a_set_is_audited_and_decoded(made, certvq_command):
    certvq_command(*TOKENIZE)
    done = certvq_command("audit", "model", "out", "in", "--rows", "2")
    assert done.status == 0
    assert "2 inputs and 24 codes made again, 0 inputs differ" in done.out
    done = certvq_command("decode", "model", "out", "--out", "pictures", "--keys", "4")
    assert done.out.splitlines() == ["pictures/4.png"]
    assert read_image(made / "pictures/4.png").shape == (12, 16, 3)


def test_an_audit_that_finds_something_ends_with_1(made, certvq_command, monkeypatch):
    certvq_command(*TOKENIZE)
    monkeypatch.setattr(
        "certvq.tokenize._audit._compared",
        lambda record, *_: Differing(record.key, 1, 0, 2, 3),
    )
    done = certvq_command("audit", "model", "out", "in")
    assert done.status == 1
    assert "0: 1 codes differ, the first at 0: 2 in the set, 3 made again" in done.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("no/model", "in"), "no/model: there is no such folder, and a model is never fetched"),
        (("model", "nowhere"), "nowhere: does not exist"),
        (("model", "model"), "model: holds nothing that the model takes (image) among 2 files"),
        (("model", "in", "--strict"), "3.png: not a readable image"),
        (("model", "in", "--engine", "spark"), "must be local or ray, got spark"),
        (("model", "in", "--address", "auto"), "is for --engine ray"),
        (("model", "in", "--group", "0"), "group must be at least 1, got 0"),
        (("model", "in", "--quantizers", "2"), "quantizers must be 1 for this model, got 2"),
    ],
)
def test_bad_input_is_one_line_and_status_2(made, certvq_command, arguments, text):
    done = certvq_command("tokenize", *arguments, "--out", "new")
    assert done.status == 2
    assert text in done.err
    assert len(done.err.splitlines()) == 1


def test_a_folder_of_another_job_is_named(made, certvq_command):
    certvq_command(*TOKENIZE)
    done = certvq_command(*TOKENIZE, "--resize", "8")
    assert done.status == 2
    assert "out: holds the data set of another job: preprocessing.resize" in done.err


def test_a_damaged_part_is_made_again(made, certvq_command):
    certvq_command(*TOKENIZE)
    part = made / "out/parts/part-00001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-40] + bytes(40))
    done = certvq_command("verify", "out")
    assert done.status == 1
    assert "part-00001" in done.out
    done = certvq_command(*TOKENIZE, "--repair")
    assert done.status == 0
    assert part.read_bytes() == whole
    assert certvq_command("verify", "out").status == 0
