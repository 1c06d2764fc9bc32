"""`parse_summary`: each field is checked, and the counts must add up."""

import json
import re
from pathlib import Path

import pytest

from certvq.errors import FileFormatError
from certvq.runs._read_file import read_json
from certvq.runs._summary import parse_summary

_PATH = Path("run/summary.json")


@pytest.fixture
def fields(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def _refused(fields, text):
    with pytest.raises(FileFormatError, match=re.escape(f"run/summary.json: {text}")):
        parse_summary(fields, _PATH)


def test_fields_are_taken_over(fields):
    summary = parse_summary(fields, _PATH)
    assert summary.codes_total == 469
    assert summary.images[1].key == "hills"
    assert (summary.images[1].height, summary.images[1].width) == (33, 50)
    assert sum(summary.decided_by.values()) == 469


def test_every_field_but_the_codecs_is_required(fields):
    for name in set(fields) - {"psnr_kmeans", "canonical"}:
        without = {key: value for key, value in fields.items() if key != name}
        _refused(without, f"required the field {name!r}, which is missing")


def test_the_codec_is_optional(fields):
    del fields["psnr_kmeans"], fields["images"][0]["psnr_kmeans"]
    summary = parse_summary(fields, _PATH)
    assert summary.psnr_kmeans is None
    assert summary.images[0].psnr_kmeans is None
    assert summary.images[1].psnr_kmeans == 24.5


def test_canonical_codes_are_optional_but_whole(fields):
    found = parse_summary(fields, _PATH).canonical
    assert (found.decided_by["exact"], found.runs["bfloat16"].other_codes) == (2, 40)
    assert parse_summary(fields | {"canonical": None}, _PATH).canonical is None
    more = fields["canonical"] | {"decided_by": {"float64": 1, "wider": 0, "exact": 0, "open": 0}}
    _refused(fields | {"canonical": more}, "the canonical tokens add up to 1, but codes_total is")
    del fields["canonical"]["runs"]["float32"]["moved"]
    _refused(fields, "required the field 'canonical.runs.float32.moved', which is missing")


def test_infinite_psnr_is_a_figure(fields):
    assert parse_summary(fields | {"psnr_heldout": float("inf")}, _PATH).psnr_heldout > 1e308


@pytest.mark.rows(
    ("name", "value", "text"),
    [
        ("psnr_heldout", "25", "'psnr_heldout' must be a number, got '25'"),
        ("psnr_heldout", float("nan"), "'psnr_heldout' must be a number, got 'NaN'"),
        ("usage", True, "'usage' must be a number, got True"),
        ("psnr_kmeans", [], "'psnr_kmeans' must be a number, got []"),
        ("audit_violations", -1, "'audit_violations' must be at least 0, got -1"),
        ("audit_violations", False, "'audit_violations' must be a whole number, got False"),
        ("codes_total", 469.0, "'codes_total' must be a whole number, got 469.0"),
        ("roundtrip_bit_exact", 1, "'roundtrip_bit_exact' must be true or false, got 1"),
        ("codebook_sha256", None, "'codebook_sha256' must be a text, got None"),
        ("decided_by", [1], "'decided_by' must be an object, got [1]"),
        ("decided_by", {"filter": 469}, "required the field 'decided_by.refined', which"),
        ("images", {}, "'images' must be a list, got {}"),
        ("images", [3], "'images[0]' must be an object, got 3"),
        ("images", [{"key": 1}], "'images[0].key' must be a text, got 1"),
    ],
)
def test_field_of_another_kind_is_refused(fields, name, value, text):
    _refused(fields | {name: value}, text)


def test_rows_must_add_up(fields):
    decided = {"filter": 468, "refined": 0, "exact": 0}
    text = "the rows of decided_by add up to 468, but codes_total is 469"
    _refused(fields | {"decided_by": decided}, text)


def test_tokens_must_add_up(fields):
    text = "the tokens of images add up to 277, but codes_total is 469"
    _refused(fields | {"images": fields["images"][:2]}, text)


def test_infinity_is_read_as_it_is_written_now_and_was_before(change_summary, run_dir):
    change_summary(psnr_heldout="Infinity", psnr_kmeans=float("inf"))
    path = run_dir / "summary.json"
    found = parse_summary(read_json(path), path)
    assert found.psnr_heldout == found.psnr_kmeans == float("inf")
