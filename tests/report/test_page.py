"""`write_report`: what the page of a run says, and when there is none.

Also of `certvq.report._training`.
"""

import json
import re
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image

from certvq.errors import FileFormatError
from certvq.report import missing_parts, write_report
from certvq.report._page import _script_json

_SECTIONS = [
    "Before and after",
    "What is stored: token maps",
    "How far each token is from changing",
    "Which codes are used",
    "How it was learned",
    "Against a classical codec",
    "What was certified, and how",
    "What is not claimed",
    "Configuration",
]


def test_page_lies_in_the_run_directory(run_dir):
    assert write_report(run_dir) == run_dir / "report.html"
    assert not list(run_dir.glob(".report*"))


def test_sections_tell_the_story_in_order(run_dir, outline):
    text = outline(write_report(run_dir)).text
    places = [text.index(section) for section in _SECTIONS]
    assert places == sorted(places)


def test_every_picture_is_inside_the_page_and_has_a_text(run_dir, outline):
    pictures = outline(write_report(run_dir)).all("img")
    # original, reconstruction, k-means, token map and stability map of three photographs
    assert len(pictures) == 15
    assert all(picture["src"].startswith("data:image/") for picture in pictures)
    assert all(picture["alt"] for picture in pictures)
    assert len({picture["alt"] for picture in pictures}) == 15


def test_no_element_points_outside_the_page(run_dir, outline):
    page = outline(write_report(run_dir))
    pointers = [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert {tag for tag, _, _ in pointers} == {"img"}
    assert "@import" not in (run_dir / "report.html").read_text()
    [policy] = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_plotly_is_inlined_once(run_dir):
    page = write_report(run_dir).read_text()
    assert page.count("* plotly.js v") == 1
    assert (run_dir / "report.html").stat().st_size < 10e6


def test_the_same_run_gives_the_same_page(run_dir):
    first = write_report(run_dir).read_bytes()
    assert write_report(run_dir).read_bytes() == first


def test_figures_of_the_summary_are_shown(run_dir, change_summary, outline):
    change_summary(psnr_heldout=26.04, psnr_kmeans=24.06, bits_per_pixel=0.5625, usage=0.875)
    text = outline(write_report(run_dir)).text
    assert "26.0 dB all pixels together, the PSNR of the pooled squared error; +1.98 dB " in text
    assert "; +1.98 dB against a k-means codec of the same bits per pixel (24.1 dB)" in text
    assert "Bits per pixel 0.562 the originals: 24" in text
    assert "Violations 0 in an exact audit of every code" in text
    assert "Round trip bit-exact" in text
    assert "Usage 87.5 %" in text
    assert "Training 2 min 31 s 3 min 25 s with everything after it" in text


def test_a_sound_run_is_called_certified(run_dir, outline):
    page = outline(write_report(run_dir))
    assert "Photographs as certified codes, and back" in page.text
    assert "each of the 469 codes in tokens.parquet is certified" in page.text
    assert "failed" not in page.text
    assert not any("role" in item and item["role"] == "alert" for item in page.all("div"))


def test_rows_are_counted_by_how_they_were_decided(run_dir, change_summary, outline):
    change_summary(decided_by={"filter": 458, "refined": 10, "exact": 1})
    text = outline(write_report(run_dir)).text
    assert "FILTER 458 97.7 % Its score leads every other by more than twice" in text
    assert "REFINED 10 2.1 % Too close for the filter; decided by wider arithmetic" in text
    assert "EXACT 1 0.2 % Tied, or too close for that as well; decided by exact integer" in text


def test_a_violation_takes_the_word_certified_away(run_dir, change_summary, outline):
    change_summary(audit_violations=3)
    page = outline(write_report(run_dir))
    assert page.all("div")[2] == {"class": "alarm", "role": "alert"}
    assert "This run failed its checks The audit found 3 violations." in page.text
    assert "The codes of this run are not certified: the audit found 3 violations." in page.text
    assert "as certified codes" not in page.text
    assert "is certified" not in page.text
    assert "<title>certvq: a run that failed its checks</title>" in _source(run_dir)


def test_a_round_trip_that_is_not_exact_raises_an_alarm(run_dir, change_summary, outline):
    change_summary(roundtrip_bit_exact=False)
    page = outline(write_report(run_dir))
    assert page.all("div")[2] == {"class": "alarm", "role": "alert"}
    assert "The round trip is not exact." in page.text
    assert "Round trip not exact" in page.text
    assert "bit for bit" not in page.text.replace("equal bit for bit", "")


def test_digests_are_shown(run_dir, outline):
    text = outline(write_report(run_dir)).text
    assert json.loads((run_dir / "summary.json").read_text())["codebook_sha256"] in text


def test_the_page_says_what_is_not_claimed(run_dir, outline):
    text = outline(write_report(run_dir)).text
    assert "The encoder and the decoder are ordinary floating-point networks; nothing is" in text
    assert "that the program does what they speak of is tested, not proved" in text


def test_the_check_that_the_page_offers_runs_in_the_run_directory(run_dir, monkeypatch, capsys):
    page = write_report(run_dir).read_text()
    [program] = re.findall(r'<code id="check">(.*?)</code>', page, re.DOTALL)
    monkeypatch.chdir(run_dir)
    exec(program, {})  # noqa: S102 - the very text that the page tells its reader to run
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "harbour 160 codes audited: no violation"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("heldout/hills.original.png", "Not in this run directory: original."),
        ("heldout/hills.kmeans.png", "Not in this run directory: k-means codec."),
        ("heldout/stability.npz", "Not shown: heldout/stability.npz, which holds the radii"),
        (
            "heldout/latents.npz",
            "relative to the root mean square of the norms of the code vectors",
        ),
        ("metrics.jsonl", "Not shown: metrics.jsonl, which holds the curves"),
        ("train.json", "Not in this run directory: train.json."),
    ],
)
def test_a_missing_part_is_named(run_dir, outline, name, said):
    (run_dir / name).unlink()
    text = outline(write_report(run_dir)).text
    assert said in text
    assert name in text.partition("Configuration")[2]


def test_a_run_without_anything_optional_still_has_a_page(run_dir, change_summary, outline):
    for path in [*run_dir.glob("heldout/*"), run_dir / "metrics.jsonl", run_dir / "train.json"]:
        path.unlink()
    summary = json.loads((run_dir / "summary.json").read_text())
    images = [image | {"psnr_kmeans": None} for image in summary["images"]]
    change_summary(psnr_kmeans=None, images=images)
    page = outline(write_report(run_dir))
    assert "The k-means codec was not run" in page.text
    assert "no classical codec was run" in page.text
    assert len(page.all("img")) == 3  # the token maps


def test_an_unfinished_last_line_of_metrics_is_left_out(run_dir, outline):
    path = run_dir / "metrics.jsonl"
    path.write_text(path.read_text() + '{"split": "train", "st')
    page = outline(write_report(run_dir))
    assert "The last line of metrics.jsonl is unfinished and was left out." in page.text
    assert len([item for item in page.all("div") if item.get("class") == "chart"]) == 7


def test_metrics_without_a_finished_line_have_no_curves(run_dir, outline):
    (run_dir / "metrics.jsonl").write_text('{"split": "train", "step": 1')
    text = outline(write_report(run_dir)).text
    assert "Not shown: metrics.jsonl holds no finished line with figures." in text


def test_a_dozen_photographs_are_shown_and_the_others_counted(fabricate, tmp_path, outline):
    keys = [f"photo{place:02}" for place in range(14)]
    stages = []
    run = fabricate(tmp_path / "run", keys, sizes=((8, 8),))
    page = outline(write_report(run, progress=lambda *step: stages.append(step)))
    assert "Shown are the first 12 of 14 held-out photographs" in page.text
    assert len(page.all("img")) == 12 * 5
    assert stages == [("report", done, 12) for done in range(13)]


def test_keys_of_photographs_are_escaped(fabricate, tmp_path, outline):
    key = "a\"b<img src=x onerror=alert(1)>&'</script>"
    page = outline(write_report(fabricate(tmp_path / "run", [key.replace("/", "")])))
    assert len(page.all("img")) == 5
    assert page.all("img")[0]["alt"] == f"Original of {key.replace('/', '')}"
    [figure] = re.findall(r'id="figure-codec">(.*?)</script>', _source(tmp_path / "run"), re.DOTALL)
    assert "<" not in figure
    json.loads(figure)


def test_figures_cannot_end_their_script_element():
    text = json.dumps({"name": "</script><!--"})
    assert "<" not in _script_json(text)
    assert json.loads(_script_json(text)) == {"name": "</script><!--"}


def test_a_single_code_has_no_stability_map(run_dir, outline):
    radii = np.load(run_dir / "heldout/stability.npz")
    endless: dict[str, Any] = {key: np.full(radii[key].shape, np.inf) for key in radii.files}
    np.savez(run_dir / "heldout/stability.npz", **endless)
    page = outline(write_report(run_dir))
    assert "There is no map to draw" in page.text
    assert "the median is without bound" in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileFormatError) as error:
        write_report(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no run directory, looked for summary.json, tokens.parquet, "
        "model/model.safetensors, model/config.json and did not find summary.json, "
        "tokens.parquet, model/model.safetensors, model/config.json; name the folder that a "
        "finished run has written"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_older_page_stays_when_a_picture_is_corrupt(run_dir):
    old = write_report(run_dir).read_bytes()
    path = run_dir / "heldout/hills.reconstruction.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileFormatError, match=re.escape(f"{path}: corrupt picture (")):
        write_report(run_dir)
    assert (run_dir / "report.html").read_bytes() == old


def test_a_picture_of_another_size_is_refused(run_dir):
    path = run_dir / "heldout/hills.kmeans.png"
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(path)
    text = f"{path}: required 33 x 50 pixels (height x width) as summary.json says, got 7 x 9"
    with pytest.raises(FileFormatError, match=re.escape(text)):
        write_report(run_dir)


def _source(run_dir):
    return (run_dir / "report.html").read_text(encoding="utf-8")


def test_the_figures_of_all_photographs_are_named_as_what_they_are(run_dir, outline):
    text = outline(write_report(run_dir)).text
    assert "all pixels together (PSNR of the pooled squared error) 26.00 24.50" in text
    assert text.count("pooled squared error") == 2  # there, and beside the figure at the top
    assert "mean of all" not in text


def test_what_the_page_is_without_is_listed(run_dir):
    assert missing_parts(run_dir) == ()
    (run_dir / "heldout/latents.npz").unlink()
    assert missing_parts(run_dir) == ("heldout/latents.npz",)
    (run_dir / "train.json").unlink()
    shutil.rmtree(run_dir / "heldout")
    assert missing_parts(run_dir) == ("heldout/", "train.json")


def test_a_run_that_was_only_trained_has_a_page_of_its_own(run_dir, outline):
    """As `certvq train` leaves it; what it lacks is named, and how to get it."""
    for name in ("summary.json", "tokens.parquet"):
        (run_dir / name).unlink()
    shutil.rmtree(run_dir / "heldout")
    text = outline(write_report(run_dir)).text
    for part in ("A training run", "How it was learned", "certvq demo --out", "Configuration"):
        assert part in text
    assert "certified" not in text
    assert missing_parts(run_dir) == ("summary.json", "tokens.parquet", "heldout/")
